"""Container Network Interface: what a runtime asks of a plugin, and what it is told. Pure.

The executables `weave-net` and `weave-ipam` beside this file import nothing of ours: they pass the request on to the
router, which reads it with these modules and does the work. Words and rules are those of the CNI specification 1.1.0.
"""
