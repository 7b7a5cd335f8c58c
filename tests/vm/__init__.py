"""What only a stock kernel can show: WireGuard and ESP, with real packets, captured.

`python -m tests.vm` (`make test-vm`) boots Debian's kernel in an emulator once, with this machine's files under it, and
runs `guest` inside. It takes two to three minutes and is no part of `make test`.
"""
