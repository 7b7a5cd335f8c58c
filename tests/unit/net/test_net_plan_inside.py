"""What a container's interface lacks."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from weave.net.model import AttachRequest, Route
from weave.net.plan import MULTICAST, Inside, plan_inside

ONE, TWO = ip_interface("10.32.0.1/12"), ip_interface("10.33.0.2/16")
REQUEST = AttachRequest("c1", 1, (ONE,), gateway=ip_address("10.47.255.254"))
DEFAULT = Route(ip_network("0.0.0.0/0"), ip_address("10.47.255.254"))


def test_a_new_interface_gets_everything() -> None:
    assert plan_inside(REQUEST, (), ()) == Inside((ONE,), (Route(MULTICAST), DEFAULT))


def test_asking_again_needs_nothing() -> None:
    assert plan_inside(REQUEST, (ONE,), (Route(MULTICAST), DEFAULT)) == Inside((), ())


def test_an_additional_address_is_all_that_is_added() -> None:
    more = replace(REQUEST, addresses=(ONE, TWO))
    assert plan_inside(more, (ONE,), (DEFAULT, Route(MULTICAST))) == Inside((TWO,), ())


def test_a_gateway_outside_every_subnet_gets_a_route_of_its_own_first() -> None:
    far = replace(REQUEST, gateway=ip_address("192.0.2.1"), multicast_route=False)
    assert plan_inside(far, (), ()).routes == (
        Route(ip_network("192.0.2.1/32")), Route(ip_network("0.0.0.0/0"), ip_address("192.0.2.1")))


def test_a_gateway_on_a_requested_link_route_needs_no_other() -> None:
    link = Route(ip_network("192.0.2.0/24"))
    far = replace(REQUEST, gateway=ip_address("192.0.2.1"), routes=(link,), multicast_route=False)
    assert plan_inside(far, (), ()).routes[0] == link
    assert len(plan_inside(far, (), ()).routes) == 2


def test_multicast_needs_no_route_without_ipv4() -> None:
    only_v6 = AttachRequest("c1", 1, (ip_interface("fd00::1/64"),))
    assert plan_inside(only_v6, (), ()).routes == ()
