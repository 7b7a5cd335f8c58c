"""Multicast groups on the segment: which of them are pruned, and which MAC stands for a group. Pure.

The bridge learns by IGMP and MLD which ports have members of a group. A VXLAN device sends copies of a frame to the
hosts that it has entries for, by MAC; without an entry, to all. So membership is told from host to host by MAC, to
which several groups may map: what is sent for one then reaches the members of all of them, and nobody too few.

Never pruned are MACs to which a group of the link alone may map, for not everybody reports those: 224.0.0.0/24 and what
shares its last 23 bits; of IPv6, groups whose last 32 bits are those of a well-known group of `ff02::/16` (RFC 3307
leaves them the small numbers) or of a solicited-node address (`ff02::1:ff00:0/104`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net.model import Mac, Packed

PREFIX4, PREFIX6 = b"\x01\x00\x5e", b"\x33\x33"
LOCAL_BLOCK4 = b"\x00\x00"
"""The middle octets, of the last 23 bits, of what is in 224.0.0.0/24."""
FIRST_PRUNED6, LAST_PRUNED6 = 0x0002_0000, 0xFEFF_FFFF
NOWHERE = {4: Packed(bytes([127, 0, 0, 1])), 6: Packed(bytes(15) + b"\1")}
"""Where a VXLAN device sends a frame that no host behind it wants; by family of the device."""

Receivers = Mapping[Mac, frozenset[PeerName]]
"""Of each MAC that is pruned: the hosts that get copies."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Of what there are members on a host."""

    macs: frozenset[Mac]
    everything: bool
    """A router of multicast is there, or there are too many groups to tell."""


def mac_of(group: IPAddress) -> Mac:
    """Return the MAC that frames to a group are sent to (RFC 1112, 6.4; RFC 2464, 7)."""
    if group.version == 6:
        return Mac(PREFIX6 + group.packed[12:])
    return Mac(PREFIX4 + (int(group) & 0x7FFFFF).to_bytes(3))


def is_pruned(mac: Mac) -> bool:
    """Say whether copies of frames to this MAC may be held back from hosts without members."""
    if mac.startswith(PREFIX4):
        return mac[3] < 0x80 and mac[3:5] != LOCAL_BLOCK4
    return mac.startswith(PREFIX6) and FIRST_PRUNED6 <= int.from_bytes(mac[2:]) <= LAST_PRUNED6


def copies(receivers: Receivers, vteps: Mapping[PeerName, Packed], floods: Iterable[Packed]) -> set[tuple[Mac, Packed]]:
    """Return the entries for groups: one for each MAC and each place that gets a copy."""
    sizes = {len(vtep) for vtep in floods}
    nowhere = [vtep for vtep in NOWHERE.values() if len(vtep) in sizes]
    found: set[tuple[Mac, Packed]] = set()
    for mac, peers in receivers.items():
        places = {vteps[peer] for peer in peers if vteps.get(peer)}
        served = {len(place) for place in places}
        found |= {(mac, place) for place in (*places, *(item for item in nowhere if len(item) not in served))}
    return found
