"""What a packet depends on, from what gossip says and what the kernel has.

    c1 10.32.0.9 on h1 (here)   h1 itself 10.32.0.1   c2 10.40.0.1 on h2, by VXLAN to 10.0.0.9
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from tests.unit.api.fake import ME, report
from weave.api.report import QualityReport, Report
from weave.net import InsideState, Route, WayState
from weave.router.trace.ends import find_ends
from weave.router.trace.legs import Look, steps

C1, C2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
INSIDE = InsideState(C1, 1450, True, frozenset({ip_interface("10.32.0.9/12"), ip_interface("10.32.0.10/12")}),
                     frozenset(), "vethwe12345678", "02:00:00:00:00:77", True)
WAY = WayState(C2, "vxlan-6784", ip_address("10.0.0.9"))
LOOK = Look(INSIDE, WAY)


def network() -> Report:
    told = report()
    told["Endpoints"].append({"MAC": "7a:00:00:00:00:01", "Addresses": ["10.32.0.1/12"], "ContainerID": "weave:expose",
                              "Interface": "weave", "Peer": ME, "NickName": "h1", "Local": True, "Labels": {}})
    return told


def found(look: Look, source: str = "10.32.0.9", destination: str = "c2",
          told: Report | None = None) -> dict[str, tuple[str, str]]:
    """Return state and text of each step."""
    told = told or network()
    return {step["Step"]: (step["State"], step["Text"])
            for step in steps(told, look, *find_ends(told, source, destination))}


def inside(**changes: Any) -> Look:
    return replace(LOOK, inside=replace(INSIDE, **changes))


def way(**changes: Any) -> Look:
    return replace(LOOK, way=replace(WAY, **changes))


def test_every_step_holds_where_the_kernel_has_what_gossip_says() -> None:
    assert found(LOOK) == {
        "container": ("ok", f"ethwe is up, on the bridge, with 10.32.0.9, {C1} and MTU 1450"),
        "route": ("ok", "10.40.0.1 is on its link, 10.32.0.0/12"),
        "neighbour": ("ok", f"this host answers ARP: 10.40.0.1 is at {C2}"),
        "forwarding": ("ok", f"{C2} leaves by vxlan-6784 to 10.0.0.9"),
        "link": ("ok", "vxlan to 10.0.0.9, MTU 1450"),
    }


def test_addresses_of_the_other_family_do_not_matter() -> None:
    both = inside(addresses=INSIDE.addresses | {ip_interface("fd00::9/64")},
                  routes=frozenset({Route(ip_network("fe80::/64")), Route(ip_network("224.0.0.0/4"))}))
    told = network()
    told["Bridge"]["Addresses"].append("fd00::1/64")
    assert found(both, told=told) == found(LOOK)
    assert found(Look(None, WAY), "host", told=told)["route"] == ("ok", "10.40.0.1 is on its link, 10.32.0.0/12")


def test_between_containers_of_one_host_there_is_the_bridge_alone() -> None:
    assert list(found(LOOK, "10.32.0.9", "host")) == ["container", "route", "forwarding"]


def test_a_host_sends_from_its_bridge() -> None:
    assert found(Look(None, WAY), "host")["host"] == ("ok", "the bridge weave has 10.32.0.1 and MTU 1450")
    told = network()
    told["Bridge"]["Addresses"] = []
    assert found(Look(None, WAY), "host", told=told)["host"][0] == "broken"


CONTAINERS = [
    (replace(LOOK, inside=None), "broken", "ethwe is not there, or its cable leads elsewhere; detach 10.32.0.9"),
    (replace(LOOK, inside=None, hidden="no such file"), "doubt", "cannot look into 10.32.0.9: no such file"),
    (inside(is_up=False), "broken", "ethwe is down"),
    (inside(on_bridge=False), "broken", "vethwe12345678, its end on the host, is no port of the bridge"),
    (inside(addresses=frozenset()), "broken", "ethwe lacks 10.32.0.9; somebody removed it in the container"),
    (inside(mac=C2), "broken", f"has the MAC {C2}, and what does not come from {C1} is dropped"),
    (inside(mtu=1500), "broken", "has MTU 1500, and what is larger than the bridge's 1450 is lost"),
    (inside(mtu=1400), "ok", "MTU 1400"),
    (inside(is_up=False, on_bridge=False), "broken", "down; somebody switched it off in the container; vethwe12345678"),
]


@pytest.mark.parametrize(("look", "state", "words"), CONTAINERS, ids=[words for _, _, words in CONTAINERS])
def test_what_is_wrong_in_a_container(look: Look, state: str, words: str) -> None:
    step = found(look)["container"]
    assert step[0] == state
    assert words in step[1]


def test_a_container_that_policy_does_not_know_yet_is_closed() -> None:
    assert found(replace(LOOK, is_admitted=False))["admission"][0] == "broken"
    assert "admission" not in found(LOOK)


def gateway(destination: str, address: str | None, **changes: Any) -> Look:
    route = Route(ip_network(destination), None if address is None else ip_address(address))
    return replace(inside(addresses=frozenset({ip_interface("10.32.0.9/16")}), routes=frozenset({route})), **changes)


ROUTES = [
    (gateway("0.0.0.0/0", "10.32.0.1"), "c2", "broken", "hosts keep subnets apart unless they run"),
    (gateway("0.0.0.0/0", "10.32.0.1", routes_subnets=True), "c2", "ok", "goes by the gateway 10.32.0.1, this host"),
    (gateway("0.0.0.0/0", "10.32.0.66"), "c2", "doubt", "by the gateway 10.32.0.66, which is not this host"),
    (gateway("0.0.0.0/0", "10.32.0.1"), "192.0.2.1", "ok", "192.0.2.1 goes by the gateway 10.32.0.1, this host"),
    (gateway("10.40.0.0/16", None), "c2", "ok", "on its link, 10.40.0.0/16"),
    (gateway("224.0.0.0/4", None), "c2", "broken", "does not reach 10.40.0.1 by ethwe"),
    (LOOK, "192.0.2.1", "doubt", "does not reach 192.0.2.1 by ethwe"),
    (replace(LOOK, inside=None, hidden="?"), "c2", "ok", "on its link, 10.32.0.0/12"),
]


@pytest.mark.parametrize(("look", "destination", "state", "words"), ROUTES, ids=[words for *_, words in ROUTES])
def test_where_a_container_sends_it(look: Look, destination: str, state: str, words: str) -> None:
    step = found(look, destination=destination)["route"]
    assert step[0] == state
    assert words in step[1]


def test_a_host_without_an_address_in_the_subnet_cannot_send_there() -> None:
    told = network()
    told["Bridge"]["Addresses"] = told["Endpoints"][-1]["Addresses"] = ["10.32.0.1/16"]
    state, words = found(Look(None, WAY), "host", told=told)["route"]
    assert state == "broken"
    assert "weave expose net:SUBNET" in words


@pytest.mark.parametrize("has_ring", [True, False])
@pytest.mark.parametrize("address", ["198.51.100.1", "2001:db8::1"])
def test_what_a_host_reaches_by_its_own_routes_is_not_said_to_be_broken(address: str, has_ring: bool) -> None:
    told = network()
    told["Endpoints"][-1]["Addresses"].append("fd00::1/64")
    if not has_ring:
        told["IPAM"] = None
    steps_found = found(Look(None, None), "host", address, told)
    assert steps_found["route"] == (
        "doubt", f"{address} is reached not by this network; the host's own routes decide")
    assert steps_found["address"][0] == "ok"
    assert found(Look(None, None), "host", "fd00::99", told)["address"][0] == "broken"


@pytest.mark.parametrize(("address", "state", "words"), [
    ("10.32.0.99", "broken", "is one of those that h1 gives out"),
    ("10.40.0.99", "broken", "is one of those that h2 gives out"),
    ("192.0.2.1", "ok", "is outside 10.32.0.0/12"),
])
def test_an_address_that_nobody_has_is_told_whose_it_would_be(address: str, state: str, words: str) -> None:
    steps_found = found(replace(LOOK, way=None), destination=address)
    assert steps_found["address"][0] == state
    assert words in steps_found["address"][1]
    assert "link" not in steps_found


def test_without_a_ring_nobody_gives_addresses_out() -> None:
    told = network()
    told["IPAM"] = None
    assert found(replace(LOOK, way=None), destination="10.32.0.99", told=told)["address"] == (
        "broken", "nothing on the network has 10.32.0.99")


WAYS = [
    (way(neighbour=None), "neighbour", "doubt", "does not answer ARP for 10.40.0.1; every host is asked"),
    (way(neighbour=C1), "neighbour", "broken", f"answers ARP that 10.40.0.1 is at {C1}, and c2 has {C2}"),
    (way(device=None, vtep=None), "forwarding", "doubt", f"no entry for {C2}; what is for it goes to every host"),
    (way(device="weave-sleeve", vtep=None), "forwarding", "doubt", "leaves by weave-sleeve, but the link is vxlan"),
]


@pytest.mark.parametrize(("look", "name", "state", "words"), WAYS, ids=[words for *_, words in WAYS])
def test_what_the_kernel_has_of_the_other_end(look: Look, name: str, state: str, words: str) -> None:
    step = found(look)[name]
    assert step[0] == state
    assert words in step[1]


def quality(rtt_ms: float | None, loss: float) -> QualityReport:
    return {"RTTms": rtt_ms, "LossPercent": loss, "DatagramBytes": 1472, "SentBytes": 1, "ReceivedBytes": 1}


def unheard(told: Report) -> None:
    told["Router"]["Peers"][0]["Reachable"] = False


def unknown(told: Report) -> None:
    told["Links"].clear()


def link(**changes: object) -> Callable[[Report], None]:
    def change(told: Report) -> None:
        told["Links"][0].update(changes)  # type: ignore[typeddict-item]

    return change


LINKS = [
    (unheard, "doubt", "the router of h2 is not heard of; what was programmed stays: vxlan to 10.0.0.9"),
    (unknown, "broken", "h2 is not known on the mesh any more"),
    (link(Mode="none", Reason="that peer cannot"), "broken", "there is no link to h2: that peer cannot"),
    (link(Mode="sleeve"), "doubt", "sleeve to 10.0.0.9, MTU 1450, no answer yet"),
    (link(Mode="sleeve", Quality=quality(None, 0)), "doubt", "loss 0%, no answer yet"),
    (link(Mode="sleeve", Address="via h3", Quality=quality(0.25, 0.5)), "ok",
     "sleeve via h3, MTU 1450, RTT 0.25 ms, loss 0.5%"),
    (link(Quality=quality(0.25, 5)), "doubt", "loss 5%"),
    (link(Reason="no password is set"), "ok", "vxlan to 10.0.0.9, MTU 1450; no password is set"),
]


@pytest.mark.parametrize(("change", "state", "words"), LINKS, ids=[words for *_, words in LINKS])
def test_how_the_link_is(change: Callable[[Report], None], state: str, words: str) -> None:
    told = network()
    change(told)
    step = found(LOOK, told=told)["link"]
    assert step[0] == state
    assert words in step[1]


def test_the_sleeve_has_no_host_to_send_to() -> None:
    told = network()
    link(Mode="sleeve", Quality=quality(0.25, 0))(told)
    assert found(way(device="weave-sleeve", vtep=None), told=told)["forwarding"] == (
        "ok", f"{C2} leaves by weave-sleeve")
