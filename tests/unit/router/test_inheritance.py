from dataclasses import replace
from ipaddress import ip_address, ip_interface

from weave.names import PeerName
from weave.net import Endpoint, Remote
from weave.router.inheritance import GREETING_S, KEPT_S, Inheritance
from weave.router.underlay import MODE_SLEEVE, MODE_VXLAN, LinkDecision

#   we returned; h2 (192.0.2.2) is known again, nobody has heard of h3 (192.0.2.3)
H2, H3 = ip_address("192.0.2.2"), ip_address("192.0.2.3")
P2, P3 = PeerName("02:00:00:00:00:02"), PeerName("02:00:00:00:00:03")
C2 = Endpoint("0a:00:00:00:00:02", (ip_interface("10.32.0.2"),), "", "", None)
C3 = Endpoint("0a:00:00:00:00:03", (ip_interface("10.32.0.3"),), "", "", None)
LINK2 = LinkDecision(P2, "h2", MODE_VXLAN, H2, "")


def found() -> Inheritance:
    return Inheritance({H2: [C2], H3: [C3]}, now=0.0)


def test_nobody_is_known_and_everything_stays() -> None:
    left = found()
    left.settle([], now=1.0)
    assert [remote.vtep for remote in left.remotes([])] == [H2, H3]
    assert [endpoint.mac for endpoint in left.endpoints([], [])] == [C2.mac, C3.mac]
    peers = {remote.peer for remote in left.remotes([])}
    assert {endpoint.peer for endpoint in left.endpoints([], [])} == peers


def test_a_known_peer_speaks_for_itself_after_a_greeting() -> None:
    left, remotes = found(), [Remote(P2, H2)]
    left.settle([LINK2], now=1.0)
    assert left.deadline() == 1.0 + GREETING_S
    assert [remote.vtep for remote in left.remotes(remotes)] == [H2, H3]
    assert left.endpoints([], remotes)[0] == replace(C2, peer=P2)
    left.settle([LINK2], now=1.0 + GREETING_S)
    assert [endpoint.mac for endpoint in left.endpoints([], remotes)] == [C3.mac]


def test_peers_that_come_and_go_greet_once() -> None:
    left = found()
    left.settle([LINK2], now=1.0)
    left.settle([], now=3.0)
    left.settle([LINK2], now=4.0)
    assert left.deadline() == 1.0 + GREETING_S


def test_who_announces_a_mac_or_an_address_is_believed() -> None:
    moved = Endpoint(C3.mac, (ip_interface("10.32.0.9/12"),), "c", "ethwe", P2)
    renewed = Endpoint("0a:00:00:00:00:99", (ip_interface("10.32.0.2/12"),), "c", "ethwe", P2)
    assert found().endpoints([moved, renewed], [Remote(P2, H2)]) == [moved, renewed]


def test_nothing_is_kept_for_ever_nor_where_plain_traffic_may_not_go() -> None:
    left = found()
    left.drop([H2, None])
    assert left.vteps() == [H3]
    left.settle([], now=KEPT_S)
    assert not left
    assert left.deadline() == float("inf")
    assert (left.remotes([]), left.endpoints([], [])) == ([], [])


def test_what_is_behind_the_sleeve_stays_with_its_peer_until_that_speaks() -> None:
    left = Inheritance({}, now=0.0, sleeve={P2: [C2], P3: [C3]})
    link = LinkDecision(P2, "h2", MODE_SLEEVE, H2, "")
    left.settle([link], now=1.0)
    named = [Remote(P2, None)]
    assert left.remotes(named) == [Remote(P2, None), Remote(P3, None)]
    assert left.endpoints([], named) == [replace(C2, peer=P2), replace(C3, peer=P3)]
    left.settle([link], now=1.0 + GREETING_S)
    assert left.endpoints([], named) == [replace(C3, peer=P3)]
    left.drop([P3])
    assert left.remotes(named) == named
