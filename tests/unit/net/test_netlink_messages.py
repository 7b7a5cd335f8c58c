"""Our requests as another implementation reads them: pyroute2 decodes what we packed."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import Any

import pytest

from weave.netlink import codec, messages
from weave.netlink import constants as nl

MAC = messages.mac_octets("02:11:22:33:44:55")
V4, V6 = ip_address("192.0.2.7").packed, ip_address("2001:db8::7").packed


def decoded(name: str, message: codec.Message) -> Any:
    from importlib import import_module

    layout = getattr(import_module(f"pyroute2.netlink.rtnl.{name}"), name)
    body = message.body
    found = layout(codec.HEADER.pack(16 + len(body), message.kind, message.flags, 1, 0) + body)
    found.decode()
    return found


def test_a_veth_is_made_with_its_far_end_in_the_container() -> None:
    found = decoded("ifinfmsg", messages.create_veth("vethwe1", "02:00:00:00:00:07", master=5, mtu=1400, peer="eth0",
                                                     peer_mac="02:11:22:33:44:55", namespace=9))
    peer = found.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert [found.get_attr(f"IFLA_{name}") for name in ("IFNAME", "MASTER", "MTU")] == ["vethwe1", 5, 1400]
    assert found.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "veth"
    assert [peer.get_attr(f"IFLA_{name}") for name in ("IFNAME", "ADDRESS", "NET_NS_FD")] == [
        "eth0", "02:11:22:33:44:55", 9]


def test_options_of_a_port_and_its_alias_travel_together() -> None:
    found = decoded("ifinfmsg", messages.set_port(7, {nl.IFLA_BRPORT_MODE: b"\1"}, alias="c1 eth0"))
    assert found["index"] == 7
    assert found.get_attr("IFLA_IFALIAS") == "c1 eth0"
    assert found.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_MODE") == 1


@pytest.mark.parametrize(("build", "vtep"), [
    (messages.add_flood, V4), (messages.set_tunnel, V6), (messages.delete_tunnel, V4),
])
def test_a_tunnel_entry_belongs_to_the_device(build: Callable[..., codec.Message], vtep: bytes) -> None:
    found = decoded("ndmsg", build(3, MAC, vtep))
    assert (found["family"], found["ifindex"], found["flags"]) == (nl.AF_BRIDGE, 3, nl.NTF_SELF)
    assert found.get_attr("NDA_LLADDR") == "02:11:22:33:44:55"
    assert ip_address(found.get_attr("NDA_DST")).packed == vtep


def test_an_entry_of_the_bridge_never_ages() -> None:
    found = decoded("ndmsg", messages.set_port_of(3, MAC))
    assert (found["family"], found["ifindex"], found["flags"]) == (nl.AF_BRIDGE, 3, nl.NTF_MASTER | nl.NTF_EXT_LEARNED)


@pytest.mark.parametrize("address", [V4, V6])
def test_a_neighbour_is_permanent_and_marked_as_ours(address: bytes) -> None:
    found = decoded("ndmsg", messages.set_neighbour(4, address, MAC))
    assert (found["ifindex"], found["state"]) == (4, nl.NUD_PERMANENT)
    assert ip_address(found.get_attr("NDA_DST")).packed == address
    assert found.get_attr("NDA_PROTOCOL") == messages.PROTOCOL


def test_an_address_keeps_its_prefix_and_is_not_probed_for() -> None:
    found = decoded("ifaddrmsg", messages.add_address(6, ip_interface("fd00::5/64")))
    assert (found["prefixlen"], found["index"]) == (64, 6)
    assert found.get_attr("IFA_LOCAL") == "fd00::5"
    assert found.get_attr("IFA_FLAGS") == nl.IFA_F_NODAD


@pytest.mark.parametrize(("destination", "gateway"), [
    (IPv4Network("0.0.0.0/0"), "10.0.0.1"), (IPv6Network("::/0"), "fd00::1"), (IPv4Network("224.0.0.0/4"), None),
])
def test_a_route_names_gateway_and_device(destination: IPv4Network | IPv6Network, gateway: str | None) -> None:
    found = decoded("rtmsg", messages.add_route(6, destination, None if gateway is None else ip_address(gateway)))
    assert found["dst_len"] == destination.prefixlen
    assert (found.get_attr("RTA_GATEWAY"), found.get_attr("RTA_OIF")) == (gateway, 6)
    assert found["scope"] == (nl.RT_SCOPE_LINK if gateway is None else nl.RT_SCOPE_UNIVERSE)
