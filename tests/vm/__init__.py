"""What only a stock kernel can show: WireGuard and ESP, with real packets, captured.

`python -m tests.vm` (`make test-vm`) boots Debian's kernel in an emulator once, with this machine's files under it, and
runs three stories inside: `tunnels` has stand-ins for the routers and looks closely at keys and switches, `routers` has
the real programs and the sleeve, `relays` three of them, and a NAT. It takes a quarter of an hour and is no part of
`make test`.
"""
