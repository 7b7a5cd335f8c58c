"""Probes of plain VXLAN: frames that one router sends to another just as the kernel sends those of containers. Pure.

    VXLAN  flags u8 (8) | 0 (3) | VNI (3) | 0
    frame  MAC of the other bridge | MAC of ours | EtherType 0x88B5 | body
    body   kind u8 (1 ask, 2 answer) | flags u8 | token (8) | padding

A peer's bridge has its name as MAC, so the frame says from whom to whom, and the other kernel delivers it to its
bridge, which proves the whole way: the network, the firewalls, the VXLAN device. 0x88B5 is set aside for what is
private to a network (IEEE 802). Nothing is authenticated, as nothing is in plain VXLAN; an answer repeats a token that
is hard to guess. Flag 1: the sender has proven the way too. Padding makes a probe as large as a packet can be.
"""

from dataclasses import dataclass
from struct import Struct

from weave.names import PeerName
from weave.wire import WireError

ETHERTYPE = 0x88B5
ASK, ANSWER = 1, 2
PROVEN = 1
TOKEN_BYTES = 8
_HEAD = Struct(">B3xI 6s6sH BB8s")
_FRAME = Struct(">6s6sH BB8s")
_VNI_PRESENT = 8
_ETHERNET_BYTES, _VXLAN_BYTES = 14, 8


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe or its answer."""

    kind: int
    proven: bool
    token: bytes


def encode(probe: Probe, target: PeerName, source: PeerName, *, vni: int, packet: int = 0) -> bytes:
    """Return the datagram; `packet` is the size of the container's packet that it stands for."""
    data = _HEAD.pack(_VNI_PRESENT, vni << 8, _octets(target), _octets(source), ETHERTYPE, probe.kind,
                      PROVEN if probe.proven else 0, probe.token)
    return data.ljust(_VXLAN_BYTES + _ETHERNET_BYTES + packet, b"\0")


def decode(frame: bytes) -> tuple[PeerName, Probe]:
    """Return from whom a frame says to be, and what it says; raise `WireError` for what is no probe."""
    if len(frame) < _FRAME.size:
        raise WireError(f"a probe of {len(frame)} octets")
    _, source, ethertype, kind, flags, token = _FRAME.unpack_from(frame)
    if ethertype != ETHERTYPE or kind not in (ASK, ANSWER):
        raise WireError(f"a probe of kind {kind}")
    return PeerName(source.hex(":")), Probe(kind, bool(flags & PROVEN), token)


def _octets(name: PeerName) -> bytes:
    return bytes.fromhex(name.replace(":", ""))
