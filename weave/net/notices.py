"""Which of the kernel's notices mean that something of ours was removed or altered. Pure.

We change much and remove little, so removals are the sign that is looked for, whoever did it: a look too many after a
removal of our own costs some milliseconds, a look too few costs packets. Entries go with every container, though, by
our own hand: of those a removal counts where we still hold on to the entry.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from weave.net.crypt.gate import GATE_TABLE
from weave.net.guard import GUARD_TABLE, NAT_TABLE
from weave.net.model import Mac, Packed
from weave.net.port_guard import TABLE as PORT_TABLE
from weave.netlink.codec import Reply, read_fixed
from weave.netlink.constants import (
    AF_BRIDGE,
    NUD_NOARP,
    NUD_PERMANENT,
    RT_SCOPE_LINK,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_NEWADDR,
    RTM_NEWLINK,
)
from weave.netlink.messages import ADDRESS, LINK, NEIGHBOUR, PROTOCOL, mac_octets
from weave.netlink.nftables import NFNL_SUBSYS_NFTABLES, NFT_MSG_DELSETELEM, changed_table
from weave.netlink.readings import read_forward, read_link, read_neighbour

NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET = 2, 5, 8, 11
_NFT_REMOVALS = frozenset({NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_DELSETELEM})
_OUR_TABLES = frozenset({GUARD_TABLE, NAT_TABLE, PORT_TABLE, GATE_TABLE})
_TABLES_OF_HOSTS = frozenset({GUARD_TABLE, GATE_TABLE})
"""Tables whose elements are other hosts."""


class Entries(Protocol):
    """What we wrote and did not take back."""

    def has_neighbour(self, address: Packed) -> bool:
        """Say whether there should be a neighbour of this address."""

    def has_forward(self, mac: Mac, vtep: Packed | None) -> bool:
        """Say whether there should be such a forwarding entry."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What of the kernel's devices, and of what belongs to them, is ours."""

    bridge: int
    """Index of the bridge."""
    ports: frozenset[int]
    """Indexes of the devices on it that lead to other hosts."""
    mtu: int
    """Of all of them."""
    entries: Entries

    @property
    def devices(self) -> frozenset[int]:
        """Return all of them."""
        return self.ports | {self.bridge}


def is_route_damage(notice: Reply, ours: Ours) -> bool:
    """Say whether an rtnetlink notice tells that a device, an address or an entry of ours is gone or not as it was.

    The underlay addresses of this host are ours, too, when they come and when they go.
    """
    if notice.kind in (RTM_NEWLINK, RTM_DELLINK):
        return _is_link_damage(notice, ours)
    if notice.kind in (RTM_NEWADDR, RTM_DELADDR):
        *_, scope, device = read_fixed(ADDRESS, notice.body)
        if device in ours.devices:
            return notice.kind == RTM_DELADDR and device == ours.bridge
        return scope != RT_SCOPE_LINK  # the others may have to learn where this host is now
    if notice.kind == RTM_DELNEIGH:
        return _is_entry_damage(notice, ours)
    return False


def _is_entry_damage(notice: Reply, ours: Ours) -> bool:
    family, device, state, _, _ = read_fixed(NEIGHBOUR, notice.body)
    if family == AF_BRIDGE:
        # What the bridge learned comes and goes by itself; what we wrote is permanent, or not to be asked for.
        if device not in ours.ports or not state & (NUD_PERMANENT | NUD_NOARP):
            return False
        entry = read_forward(notice.body)
        return ours.entries.has_forward(
            Mac(mac_octets(entry.mac)), None if entry.vtep is None else Packed(entry.vtep.packed))
    if device != ours.bridge:
        return False
    found = read_neighbour(notice.body)
    return (found is not None and found.protocol == PROTOCOL
            and ours.entries.has_neighbour(Packed(found.address.packed)))


def _is_link_damage(notice: Reply, ours: Ours) -> bool:
    if read_fixed(LINK, notice.body)[2] not in ours.devices:
        return False  # of a container, and those come by the hundred: not worth a closer look
    link = read_link(notice.body)
    fallen = link.index in ours.ports and link.master != ours.bridge
    resized = link.mtu not in (0, ours.mtu)  # 0: that is not said
    return notice.kind == RTM_DELLINK or not link.is_up or fallen or resized


def is_firewall_damage(notice: Reply, tables: Collection[str] = _OUR_TABLES) -> bool:
    """Say whether an nfnetlink notice tells that something in a table of ours is gone."""
    if notice.kind >> 8 != NFNL_SUBSYS_NFTABLES or notice.kind & 0xFF not in _NFT_REMOVALS:
        return False
    table = changed_table(notice)
    if notice.kind & 0xFF == NFT_MSG_DELSETELEM and table not in _TABLES_OF_HOSTS:
        return False  # the elements of the other tables go with every container, by our own hand
    return table in tables
