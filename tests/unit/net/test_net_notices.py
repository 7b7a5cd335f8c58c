"""What the kernel tells is damage only where something of ours is gone or switched off."""

import pytest

from weave.net.model import Mac, Packed
from weave.net.notices import Ours, is_firewall_damage, is_route_damage
from weave.netlink.codec import Reply, attribute, u8, u32
from weave.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    IFF_UP,
    IFLA_MASTER,
    IFLA_MTU,
    NDA_DST,
    NDA_LLADDR,
    NDA_PROTOCOL,
    NUD_NOARP,
    RT_SCOPE_LINK,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
)
from weave.netlink.messages import ADDRESS, LINK, NEIGHBOUR, PROTOCOL
from weave.netlink.nftables import NFNL_SUBSYS_NFTABLES, NFTA_TABLE_NAME

BRIDGE, VXLAN, OTHER = 7, 8, 99
MTU = 1410
HELD, RELEASED = Packed(bytes([10, 32, 0, 1])), Packed(bytes([10, 32, 0, 2]))
PEER, FORMER_PEER = Packed(bytes([192, 0, 2, 1])), Packed(bytes([192, 0, 2, 2]))
OWNED, FORGOTTEN = Mac(bytes.fromhex("020000000001")), Mac(bytes.fromhex("020000000002"))
LEARNED, FAILED = 0x02, 0x20
NFT_MSG_NEWRULE, NFT_MSG_DELRULE, NFT_MSG_DELTABLE, NFT_MSG_DELSETELEM = 6, 8, 2, 14


def link(kind: int, index: int, flags: int = IFF_UP, master: int = BRIDGE, mtu: int = MTU) -> Reply:
    return Reply(kind, 0, 0, LINK.pack(0, 0, index, flags, 0) + u32(IFLA_MASTER, master) + u32(IFLA_MTU, mtu))


class Entries:
    """What is held: one neighbour, and one MAC behind one peer, of which there is half an entry in each table."""

    def has_neighbour(self, address: Packed) -> bool:
        return address == HELD

    def has_forward(self, mac: Mac, vtep: Packed | None) -> bool:
        return mac == OWNED and vtep in (None, PEER)


OURS = Ours(BRIDGE, frozenset({VXLAN}), MTU, Entries())


def forward(kind: int, device: int, state: int, mac: Mac = OWNED, vtep: Packed | None = None) -> Reply:
    body = NEIGHBOUR.pack(AF_BRIDGE, device, state, 0, 0) + attribute(NDA_LLADDR, mac)
    return Reply(kind, 0, 0, body if vtep is None else body + attribute(NDA_DST, vtep))


def address(kind: int, device: int, protocol: int, ip: Packed = HELD) -> Reply:
    """Return a notice of the neighbour table; the kernel marks an entry as failed before it removes it."""
    body = NEIGHBOUR.pack(AF_INET, device, FAILED, 0, 0)
    return Reply(kind, 0, 0, body + attribute(NDA_DST, ip) + u8(NDA_PROTOCOL, protocol))


def firewall(kind: int, table: str, subsystem: int = NFNL_SUBSYS_NFTABLES) -> Reply:
    return Reply(subsystem << 8 | kind, 0, 0, bytes(4) + attribute(NFTA_TABLE_NAME, table.encode() + b"\0"))


@pytest.mark.parametrize(("notice", "damage"), [
    (link(RTM_DELLINK, BRIDGE), True), (link(RTM_DELLINK, VXLAN), True), (link(RTM_DELLINK, OTHER), False),
    (link(RTM_NEWLINK, VXLAN), False), (link(RTM_NEWLINK, VXLAN, flags=0), True),
    (link(RTM_NEWLINK, VXLAN, master=0), True), (link(RTM_NEWLINK, BRIDGE, master=0), False),
    (link(RTM_NEWLINK, OTHER, flags=0), False),
    (link(RTM_NEWLINK, BRIDGE, mtu=1300), True), (link(RTM_NEWLINK, VXLAN, mtu=1500), True),
    (link(RTM_NEWLINK, OTHER, mtu=1300), False),
    (Reply(RTM_DELADDR, 0, 0, ADDRESS.pack(AF_INET, 12, 0, 0, BRIDGE)), True),
    (Reply(RTM_NEWADDR, 0, 0, ADDRESS.pack(AF_INET, 12, 0, 0, BRIDGE)), False),
    (Reply(RTM_DELADDR, 0, 0, ADDRESS.pack(AF_INET, 24, 0, 0, OTHER)), True),
    (Reply(RTM_NEWADDR, 0, 0, ADDRESS.pack(AF_INET, 24, 0, 0, OTHER)), True),
    (Reply(RTM_NEWADDR, 0, 0, ADDRESS.pack(AF_INET, 24, 0, RT_SCOPE_LINK, OTHER)), False),
    (forward(RTM_DELNEIGH, VXLAN, NUD_NOARP), True), (forward(RTM_DELNEIGH, VXLAN, NUD_NOARP, vtep=PEER), True),
    (forward(RTM_DELNEIGH, VXLAN, NUD_NOARP, FORGOTTEN), False),
    (forward(RTM_DELNEIGH, VXLAN, NUD_NOARP, vtep=FORMER_PEER), False),
    (forward(RTM_DELNEIGH, VXLAN, LEARNED), False),
    (forward(RTM_DELNEIGH, OTHER, NUD_NOARP), False),
    (address(RTM_DELNEIGH, BRIDGE, PROTOCOL), True), (address(RTM_DELNEIGH, BRIDGE, PROTOCOL, RELEASED), False),
    (address(RTM_DELNEIGH, OTHER, PROTOCOL), False),
    (address(RTM_DELNEIGH, BRIDGE, 0), False),
    (forward(RTM_NEWNEIGH, VXLAN, NUD_NOARP), False),
])
def test_of_devices_and_entries_only_losses_of_ours_count(notice: Reply, damage: bool) -> None:
    assert is_route_damage(notice, OURS) is damage


@pytest.mark.parametrize(("notice", "damage"), [
    (firewall(NFT_MSG_DELTABLE, "weave"), True), (firewall(NFT_MSG_DELRULE, "weave_nat"), True),
    (firewall(NFT_MSG_NEWRULE, "weave"), False), (firewall(NFT_MSG_DELTABLE, "filter"), False),
    (firewall(NFT_MSG_DELTABLE, "weave", subsystem=1), False), (firewall(NFT_MSG_DELTABLE, "weave_ports"), True),
    (firewall(NFT_MSG_DELSETELEM, "weave"), True), (firewall(NFT_MSG_DELSETELEM, "weave_ports"), False),
    (firewall(NFT_MSG_DELRULE, "weave_links"), True), (firewall(NFT_MSG_DELSETELEM, "weave_links"), True),
])
def test_of_the_firewall_only_losses_in_our_tables_count(notice: Reply, damage: bool) -> None:
    assert is_firewall_damage(notice) is damage
