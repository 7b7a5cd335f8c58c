"""VXLAN in WireGuard: one device, a peer for each host, each with an address of its own inside.

`plan` decides what to change, `device` does it.
"""
