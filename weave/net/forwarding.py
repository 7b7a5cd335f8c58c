"""Program forwarding entries and neighbours, and remember what the kernel has. Blocking, hot.

For a remote endpoint three entries stand together (the kernel answers ARP for it only with all three):

    fdb of the VXLAN device   MAC -> underlay address
    fdb of the bridge         MAC -> port of the VXLAN device, marked as learned from outside so that it never ages
    neighbour of the bridge   address -> MAC, marked with our protocol number

For an endpoint behind the sleeve the last two do: its TAP device is a port like any other.

A MAC of zeros stands for everything unknown: one entry for each peer (head-end replication). The MAC of a multicast
group has an entry for each peer with members; where it has none at all, what is sent to it is unknown, too.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from weave.net.groups import NOWHERE
from weave.net.limits import PROGRAM_SLICE
from weave.net.model import SLEEVE, SLEEVE_VERSION, Forwarding, Mac, Packed
from weave.net.plan import ForwardingChange
from weave.netlink import messages
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.constants import NTF_EXT_LEARNED
from weave.netlink.readings import read_forward, read_neighbour

T = TypeVar("T")
OCTETS = {SLEEVE_VERSION: len(SLEEVE), 4: messages.IPV4_OCTETS, 6: messages.IPV6_OCTETS}
FLOOD = Mac(bytes(6))
_NOWHERE = {version: Packed(bytes(octets)) for version, octets in OCTETS.items()}
"""Stands for the underlay address of an entry that lacks one of its halves: it is set, or removed, altogether."""
_GROUP_BIT = 1
"""In the first octet of a MAC."""
_BLACK_HOLES = frozenset(NOWHERE.values())
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})


class ForwardingTable:
    """Own the forwarding entries of the VXLAN devices, those for the sleeve, and the neighbours of the bridge."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._bridge = 0
        self._tunnels: dict[int, int] = {}
        self._floods: set[Packed] = set()
        self._copies: set[tuple[Mac, Packed]] = set()
        self._macs: dict[Mac, Packed] = {}
        self._neighbours: dict[Packed, Mac] = {}

    @property
    def actual(self) -> Forwarding:
        """Return what the kernel has, to the best of our knowledge."""
        return Forwarding(frozenset(self._floods), self._macs, self._neighbours, frozenset(self._copies))

    def has_neighbour(self, address: Packed) -> bool:
        """Say whether the kernel should have a neighbour of this address."""
        return address in self._neighbours

    def has_forward(self, mac: Mac, vtep: Packed | None) -> bool:
        """Say whether the kernel should have such an entry: of a VXLAN device or, without VTEP, of the bridge."""
        if mac == FLOOD:
            return vtep in self._floods
        if mac[0] & _GROUP_BIT:
            return (mac, vtep) in self._copies
        held = self._macs.get(mac)
        return held is not None and vtep in (None, held)

    def read(self, bridge: int, tunnels: Mapping[int, int]) -> None:
        """Read everything from the kernel; `tunnels` are the devices by family of their underlay."""
        self._bridge = bridge
        self._tunnels = {OCTETS[version]: device for version, device in tunnels.items()}
        self._floods, self._macs, self._neighbours, self._copies = set(), {}, {}, set()
        for version, device in sorted(tunnels.items()):
            self._read_tunnel(version, device)
        for version in (4, 6):
            bodies = self._netlink.dump(messages.dump_neighbours(version), "list neighbours")
            for found in map(read_neighbour, bodies):
                if found is not None and found.device == bridge and found.protocol == messages.PROTOCOL:
                    self._neighbours[Packed(found.address.packed)] = Mac(messages.mac_octets(found.mac))

    def _read_tunnel(self, version: int, device: int) -> None:
        halves: dict[Mac, list[Packed | None]] = {}
        for body in self._netlink.dump(messages.dump_forwarding(device), "list forwarding entries"):
            found = read_forward(body)
            if found.device != device:
                continue
            mac = Mac(messages.mac_octets(found.mac))
            vtep = None if found.vtep is None else Packed(found.vtep.packed)
            if mac == FLOOD and vtep is not None:
                self._floods.add(vtep)
            elif mac[0] & _GROUP_BIT and vtep is not None:
                self._copies.add((mac, vtep))
            elif vtep is not None or (found.in_bridge and found.flags & NTF_EXT_LEARNED):
                halves.setdefault(mac, []).append(vtep)
        for mac, vteps in halves.items():
            known = [vtep for vtep in vteps if vtep is not None]
            self._macs[mac] = known[0] if len(known) == 1 and len(vteps) == 2 else _NOWHERE[version]

    def apply(self, change: ForwardingChange) -> Iterator[int]:
        """Apply a change in slices, yielding after each how many messages it was.

        The memory follows the kernel slice by slice, before anybody else can hear of it; after an error, `read` before
        the next change.
        """
        for vteps in _slices(change.floods):
            done = self._set([messages.add_flood(self._tunnels[len(vtep)], FLOOD, vtep) for vtep in vteps])
            self._floods.update(vteps)
            yield done
        for copies in _slices(change.copies):
            done = self._set([self._copy(mac, vtep) for mac, vtep in copies])
            self._copies.update(copies)
            yield done
        for copies in _slices(change.gone_copies):
            done = self._remove([self._no_copy(mac, vtep) for mac, vtep in copies])
            self._copies.difference_update(copies)
            yield done
        for tunnels in _slices(change.tunnels):
            done = self._set([message for mac, vtep in tunnels for message in self._tunnel(mac, vtep)])
            self._macs.update(tunnels)
            yield done
        for neighbours in _slices(change.neighbours):
            done = self._set([messages.set_neighbour(self._bridge, ip, mac) for ip, mac in neighbours])
            self._neighbours.update(neighbours)
            yield done
        for neighbours in _slices(change.gone_neighbours):
            done = self._remove([messages.delete_neighbour(self._bridge, ip, mac) for ip, mac in neighbours])
            for ip, _ in neighbours:
                del self._neighbours[ip]
            yield done
        for tunnels in _slices(change.gone_tunnels):
            done = self._remove([message for mac, vtep in tunnels for message in self._no_tunnel(mac, vtep)])
            for mac, vtep in tunnels:
                if self._macs.get(mac) == vtep:
                    del self._macs[mac]
            yield done
        for vteps in _slices(change.gone_floods):
            done = self._remove([messages.delete_tunnel(self._tunnels[len(vtep)], FLOOD, vtep) for vtep in vteps])
            self._floods.difference_update(vteps)
            yield done

    def _tunnel(self, mac: Mac, vtep: Packed) -> tuple[Message, ...]:
        device = self._tunnels[len(vtep)]
        if vtep == SLEEVE:
            return (messages.set_port_of(device, mac),)
        return messages.set_tunnel(device, mac, vtep), messages.set_port_of(device, mac)

    def _no_tunnel(self, mac: Mac, vtep: Packed) -> tuple[Message, ...]:
        device = self._tunnels[len(vtep)]
        if vtep == SLEEVE:
            return (messages.delete_port_of(device, mac),)
        return messages.delete_port_of(device, mac), messages.delete_tunnel(device, mac, vtep)

    def _copy(self, mac: Mac, vtep: Packed) -> Message:
        device = self._tunnels[len(vtep)]
        return (messages.add_nowhere if vtep in _BLACK_HOLES else messages.add_flood)(device, mac, vtep)

    def _no_copy(self, mac: Mac, vtep: Packed) -> Message:
        device = self._tunnels[len(vtep)]
        return (messages.delete_nowhere if vtep in _BLACK_HOLES else messages.delete_tunnel)(device, mac, vtep)

    def _set(self, batch: Sequence[Message]) -> int:
        return self._run(batch, "program forwarding", frozenset({errno.EEXIST}))

    def _remove(self, batch: Sequence[Message]) -> int:
        return self._run(batch, "remove forwarding", _GONE)

    def _run(self, batch: Sequence[Message], subject: str, harmless: frozenset[int]) -> int:
        for refusal in self._netlink.attempt(batch):
            if refusal.code not in harmless:
                raise NetlinkFailure(subject, refusal.code, refusal.reason)
        return len(batch)


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start:start + PROGRAM_SLICE] for start in range(0, len(items), PROGRAM_SLICE))
