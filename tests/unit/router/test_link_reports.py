"""What `weave status links` says of peers that are reached through another."""

from ipaddress import ip_address

import pytest

from weave.names import PeerName
from weave.net import PeerStatus, SegmentMtu
from weave.net.sleeve.ways import Figures
from weave.router.report import link_reports, seals
from weave.router.underlay import MODE_NONE, MODE_SLEEVE, MODE_VXLAN, LinkDecision

HELPER, PEER = PeerName("02:00:00:00:00:02"), PeerName("02:00:00:00:00:03")
LINKS = [LinkDecision(name, nickname, MODE_SLEEVE, ip_address("198.51.100.9"), "a password is set")
         for name, nickname in ((HELPER, "h2"), (PEER, "h3"))]


@pytest.mark.parametrize(("direct", "through", "says"), [
    (None, None, "the direct way is being measured"),
    (Figures(1.0, None), Figures(0.0, 0.002), "no direct way answers"),
    (Figures(0.31, 0.0011), Figures(0.0, 0.002), "directly 31% of round trips are lost, the others take 1.1 ms, via h2 "
                                                 "0% of round trips are lost, the others take 2 ms"),
    (Figures(0.31, 0.0011), None, "directly 31% of round trips are lost, the others take 1.1 ms"),
])
def test_it_is_said_through_whom_and_why_not_directly(direct: Figures | None, through: Figures | None,
                                                      says: str) -> None:
    way = PeerStatus(PEER, True, None, 0.002, 0.0, 1452, 0, 0, HELPER, direct, through)
    rows = link_reports(LINKS, {PEER: way}, {}, 1450, SegmentMtu(1450, present=1450, floor=576))
    assert rows[1]["Address"] == "via h2"
    assert rows[1]["Reason"] == f"{says}; a password is set"


@pytest.mark.parametrize(("mode", "has_password", "sealed"), [
    (MODE_VXLAN, False, False), (MODE_SLEEVE, False, False), (MODE_NONE, False, None),
    (MODE_VXLAN, True, False), (MODE_SLEEVE, True, True), ("vxlan+ipsec", True, True), (MODE_NONE, True, None),
])
def test_a_connection_tells_whether_container_traffic_is_encrypted(mode: str, has_password: bool,
                                                                   sealed: bool | None) -> None:
    assert seals(mode, has_password=has_password) is sealed
