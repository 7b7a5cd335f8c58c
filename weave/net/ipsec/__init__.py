"""VXLAN in ESP: associations and policies of XFRM for the addresses of two hosts.

`plan` decides what to change, `kernel` does it and hears what the kernel has to say.
"""
