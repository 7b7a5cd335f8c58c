"""Peer names: 48 bits, written like a MAC address.

A name is for display and for sorting; identity is the key it is derived from (`weave.mesh.identity`).
"""

import re
from typing import NewType

from weave.errors import LocalError, RemoteError

PeerName = NewType("PeerName", str)
"""Six lower-case hexadecimal octets separated by colons: `7a:9f:eb:b6:0c:6e`."""

PEER_NAME_BYTES = 6
_TEXT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def peer_name_from_bytes(raw: bytes) -> PeerName:
    """Return the name that six octets stand for; raise `RemoteError` for any other length."""
    if len(raw) != PEER_NAME_BYTES:
        raise RemoteError(f"a peer name has {PEER_NAME_BYTES} octets, this one has {len(raw)}")
    return PeerName(raw.hex(":"))


def peer_name_to_bytes(name: PeerName) -> bytes:
    """Return the six octets of a name."""
    return bytes.fromhex(name.replace(":", ""))


def parse_peer_name(text: str) -> PeerName:
    """Return the name a person typed; raise `LocalError` where it is none."""
    lowered = text.strip().lower()
    if not _TEXT.fullmatch(lowered):
        raise LocalError(f"{text!r} is not a peer name; it should look like 7a:9f:eb:b6:0c:6e")
    return PeerName(lowered)
