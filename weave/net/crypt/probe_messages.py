"""Probes: small datagrams that two routers exchange through a tunnel. Pure.

    kind u8 (1 ask, 2 answer) | mode u8 | flags u8 | 0 | epoch (8) | token (8) | MAC (16) | padding

The epoch says by which keys the MAC was made, and thereby who speaks: each direction has a key of its own. An answer
repeats the token of what it answers. Flag 1: the sender has proven this tunnel too. Padding makes a probe as large as a
packet can be; it means nothing. A datagram that is no probe of a known epoch is dropped after one look-up.
"""

from dataclasses import dataclass
from hmac import compare_digest, digest
from struct import Struct

from weave.wire import WireError

ASK, ANSWER = 1, 2
EPOCH_BYTES = 8
TOKEN_BYTES = 8
PROVEN = 1
_HEADER = Struct("=BBBx8s8s")
_MAC_BYTES = 16
PROBE_BYTES = _HEADER.size + _MAC_BYTES
MAX_BYTES = 65535
UDP_OVERHEAD = {4: 28, 6: 48}
"""IP and UDP header of a probe, by family."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe or its answer."""

    kind: int
    mode: int
    proven: bool
    epoch: bytes
    token: bytes


def encode(probe: Probe, key: bytes, size: int = 0) -> bytes:
    """Return the datagram, padded to `size` octets."""
    header = _HEADER.pack(probe.kind, probe.mode, PROVEN if probe.proven else 0, probe.epoch, probe.token)
    return (header + _mac(key, header)).ljust(size, b"\0")


def decode(data: bytes) -> Probe:
    """Return what a datagram says to be; nothing of it is true before `is_genuine`."""
    if not PROBE_BYTES <= len(data) <= MAX_BYTES:
        raise WireError(f"a probe of {len(data)} octets")
    kind, mode, flags, epoch, token = _HEADER.unpack_from(data)
    if kind not in (ASK, ANSWER):
        raise WireError(f"a probe of kind {kind}")
    return Probe(kind, mode, bool(flags & PROVEN), epoch, token)


def is_genuine(data: bytes, key: bytes) -> bool:
    """Say whether a datagram was made with this key."""
    return compare_digest(data[_HEADER.size:PROBE_BYTES], _mac(key, data[:_HEADER.size]))


def _mac(key: bytes, header: bytes) -> bytes:
    return digest(key, header, "sha256")[:_MAC_BYTES]
