"""What the kernel answers, read back from what it would have packed; garbage raises one error only."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_interface
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.netlink import codec, messages, readings
from weave.netlink import constants as nl
from weave.netlink.codec import GarbledNetlink

MAC = "02:11:22:33:44:55"
LINK = (messages.LINK.pack(0, 0, 12, nl.IFF_UP, 0) + codec.text(nl.IFLA_IFNAME, "vethwe1")
        + codec.u32(nl.IFLA_MTU, 1450) + codec.attribute(nl.IFLA_ADDRESS, messages.mac_octets(MAC))
        + codec.u32(nl.IFLA_MASTER, 3)
        + codec.u32(nl.IFLA_LINK, 2) + codec.u32(nl.IFLA_LINK_NETNSID, 4) + codec.text(nl.IFLA_IFALIAS, "c1 eth0")
        + codec.nested(nl.IFLA_AF_SPEC, codec.nested(nl.AF_INET6, codec.u8(nl.IFLA_INET6_ADDR_GEN_MODE, 1)))
        + codec.nested(nl.IFLA_LINKINFO, codec.attribute(nl.IFLA_INFO_KIND, b"veth"),
                       codec.mapping(nl.IFLA_INFO_SLAVE_DATA, {nl.IFLA_BRPORT_MODE: b"\1"})))
READERS: list[Callable[[bytes], object]] = [
    readings.read_link, readings.read_address, readings.read_forward, readings.read_neighbour, readings.read_route,
    readings.read_namespace_id, readings.read_groups,
]


def test_a_link_is_read_with_its_port_and_its_far_end() -> None:
    link = readings.read_link(LINK)
    assert (link.index, link.name, link.kind, link.is_up) == (12, "vethwe1", "veth", True)
    assert (link.mtu, link.mac) == (1450, MAC)
    assert (link.master, link.peer, link.peer_namespace, link.alias, link.address_mode) == (3, 2, 4, "c1 eth0", 1)
    assert link.port == {nl.IFLA_BRPORT_MODE: b"\1"}


def test_a_link_cut_anywhere_is_read_or_refused() -> None:
    for end in range(len(LINK)):
        try:
            readings.read_link(LINK[:end])
        except GarbledNetlink:
            continue


@pytest.mark.parametrize("text", ["10.32.0.1/12", "fd00::1/64"])
def test_an_address_is_read_as_it_was_added(text: str) -> None:
    found = readings.read_address(messages.add_address(4, ip_interface(text)).body)
    assert found == readings.Address(4, ip_interface(text), nl.RT_SCOPE_UNIVERSE)


def test_forwarding_entries_of_device_and_bridge_are_told_apart() -> None:
    vtep = ip_address("2001:db8::9")
    own = readings.read_forward(messages.set_tunnel(5, messages.mac_octets(MAC), vtep.packed).body)
    assert (own.device, own.mac, own.vtep, own.in_bridge) == (5, MAC, vtep, False)
    bridge = readings.read_forward(messages.set_port_of(5, messages.mac_octets(MAC)).body + codec.u32(nl.NDA_MASTER, 3))
    assert (bridge.vtep, bridge.in_bridge, bridge.flags & nl.NTF_EXT_LEARNED) == (None, True, nl.NTF_EXT_LEARNED)


def test_a_neighbour_is_read_with_our_mark() -> None:
    address = IPv6Address("fd00::2")
    found = readings.read_neighbour(messages.set_neighbour(4, address.packed, messages.mac_octets(MAC)).body)
    assert found == readings.Neighbour(4, address, MAC, nl.NUD_PERMANENT, messages.PROTOCOL)


def test_a_route_is_read_as_it_was_added() -> None:
    found = readings.read_route(messages.add_route(4, IPv4Network("0.0.0.0/0"), ip_address("10.0.0.1")).body)
    assert found == readings.Route(nl.RT_TABLE_MAIN, IPv4Network("0.0.0.0/0"), ip_address("10.0.0.1"), 4, 0)


def test_a_namespace_without_an_id_is_none() -> None:
    assert readings.read_namespace_id(bytes(4) + codec.u32(nl.NETNSA_NSID, 0xFFFFFFFF)) is None
    assert readings.read_namespace_id(bytes(4) + codec.u32(nl.NETNSA_NSID, 3)) == 3


@given(st.binary(max_size=120), st.sampled_from(READERS))
def test_garbage_raises_one_error_only(data: bytes, reader: Callable[[bytes], object]) -> None:
    try:
        reader(data)
    except GarbledNetlink:
        return


def group_of(port: int, address: str, protocol: int) -> bytes:
    """Return a list of groups with one entry, as the kernel lays it out."""
    packed = ip_address(address).packed.ljust(16, b"\0")
    entry = Struct("=IBBH16s").pack(port, 0, 0, 0, packed) + protocol.to_bytes(2) + bytes(2)
    return listed(1, entry + codec.u32(1, 100))


def listed(kind: int, entry: bytes) -> bytes:
    inside = codec.attribute(1, entry)
    return messages.BRIDGE_PORT.pack(7, 3) + codec.nested(kind, codec.nested(1, inside) if kind == 1 else inside)


@pytest.mark.parametrize(("body", "members", "routers"), [
    (group_of(5, "239.1.2.3", 0x0800), ((5, ip_address("239.1.2.3")),), ()),
    (group_of(5, "ff15::8000:1", 0x86DD), ((5, ip_address("ff15::8000:1")),), ()),
    (group_of(5, "239.1.2.3", 0), (), ()),
    (listed(2, Struct("=I").pack(6) + codec.u32(1, 100)), (), (6,)),
])
def test_groups_are_read_by_port_and_routers_too(body: bytes, members: tuple[object, ...],
                                                 routers: tuple[int, ...]) -> None:
    found = readings.read_groups(body)
    assert (found.bridge, found.members, found.routers) == (3, members, routers)


def test_a_member_that_is_cut_is_refused() -> None:
    with pytest.raises(GarbledNetlink):
        readings.read_groups(listed(1, bytes(20)))
