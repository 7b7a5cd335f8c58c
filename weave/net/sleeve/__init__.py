"""The sleeve: container traffic sealed and carried over UDP by a process of its own, on any kernel.

A pure core (`core`, `peer`, `handshake`, `session`, `reassembly`, `recovery`, `merging`) decides; `process` and what it
is made of do the I/O in one poll loop without trio, where every microsecond counts; `client` is the router's end. The
wire format is told in docs/sleeve.md. Nothing here is imported before the first link needs it.
"""
