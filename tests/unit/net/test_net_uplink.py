"""Which of a host's addresses others reach it at, and how large its frames may be."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from weave.net.uplink import segment_mtu, underlay_addresses, underlay_mtu
from weave.netlink.readings import Address, Link, Route

LO = Link(1, "lo", "", True, True, 65536, "", 0, 0, None, "", None, {}, {})
ETH = replace(LO, index=2, name="eth0", is_loopback=False, mtu=1500)
OTHER = replace(ETH, index=3, name="eth1", mtu=9000)
DOCKER = replace(ETH, index=4, name="docker0", kind="bridge")
WEAVE = replace(ETH, index=5, name="weave", kind="bridge", mtu=1450)
LINKS = [LO, ETH, OTHER, DOCKER, WEAVE]
ADDRESSES = [Address(1, ip_interface("127.0.0.1/8"), 254), Address(2, ip_interface("192.0.2.1/24"), 0),
             Address(2, ip_interface("fe80::1/64"), 253), Address(3, ip_interface("198.51.100.1/24"), 0),
             Address(4, ip_interface("172.17.0.1/16"), 0), Address(5, ip_interface("10.32.0.1/12"), 0)]
OWN = {"weave"}


def default(device: int, mtu: int = 0, net: str = "0.0.0.0/0", via: str = "192.0.2.254") -> Route:
    return Route(254, ip_network(net), ip_address(via), device, mtu)


def texts(*routes: Route) -> list[str]:
    return [str(ip) for ip in underlay_addresses(LINKS, ADDRESSES, routes, OWN)]


def test_bridges_of_others_and_our_own_devices_are_no_underlay() -> None:
    assert texts() == ["192.0.2.1", "198.51.100.1"]


def test_the_address_on_the_way_of_the_default_route_comes_first() -> None:
    assert texts(default(3)) == ["198.51.100.1", "192.0.2.1"]
    assert texts(default(4)) == ["172.17.0.1", "192.0.2.1", "198.51.100.1"]


@pytest.mark.parametrize(("routes", "mtu"), [
    ([], 1450), ([default(2)], 1450), ([default(3)], 8950), ([default(3, 1400)], 1350),
    ([default(3, 1400), default(3)], 1350), ([default(3), default(3, 1400)], 1350),
    ([default(3, 1400), default(3, 1300), default(3, 0, "::/0", "fe80::ff")], 1250), ([default(2, 9000)], 1450),
])
def test_the_segment_is_as_large_as_the_underlay_less_the_headers(routes: list[Route], mtu: int) -> None:
    assert segment_mtu(LINKS, ADDRESSES, routes, OWN) == mtu


def test_an_underlay_of_ipv6_alone_costs_twenty_octets_more() -> None:
    only_v6 = [Address(2, ip_interface("2001:db8::1/64"), 0)]
    assert segment_mtu([LO, ETH], only_v6, [default(2, 0, "::/0", "2001:db8::ff")], OWN) == 1430


@pytest.mark.parametrize(("told", "sealing", "mtu"), [
    ([], 0, 1430), (["192.0.2.1"], 0, 1450), (["192.0.2.1", "2001:db8::1"], 0, 1430), ([], 100, 1350), ([], 10, 1430),
])
def test_a_host_that_peers_may_reach_by_ipv6_leaves_room_for_that(told: list[str], sealing: int, mtu: int) -> None:
    both = [*ADDRESSES, Address(2, ip_interface("2001:db8::1/64"), 0)]
    for routes in ([], [default(2)]):
        assert segment_mtu([LO, ETH], both, routes, OWN, told=[*map(ip_address, told)], sealing=sealing) == mtu
    assert underlay_mtu([LO, ETH], both, [], OWN) == 1500


def test_a_host_without_any_network_gets_the_usual_size() -> None:
    assert segment_mtu([LO], [], [], OWN) == 1450
