"""Subnets keep containers apart: without a route they do not reach each other, and the host makes none for them.

    h1, exposed in blue and red      h2
    blue1   red1                     blue2   red2
"""

import signal
from collections.abc import Iterator, Mapping

import pytest

from tests.lab.world import LAB, World, world

pytestmark = LAB
BLUE, RED = "10.33.1.0/24", "10.33.2.0/24"
FROM_AND_TO_H1 = {("blue1", "red1"), ("red1", "blue1"), ("blue1", "red2"), ("red2", "blue1")}
OPTIONS = ("--ipalloc-default-subnet=10.32.0.0/16",)


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    with world("subnets", 2, OPTIONS) as made:
        yield made


@pytest.fixture(scope="module")
def containers(net: World) -> Mapping[str, str]:
    """Containers and the addresses of h1, by name."""
    found = {f"{colour}{number}": net.container(f"h{number}", f"{colour}{number}", f"net:{subnet}")
             for colour, subnet in (("blue", BLUE), ("red", RED)) for number in (1, 2)}
    for colour, subnet in (("blue", BLUE), ("red", RED)):
        found[colour] = net.weave("h1", "expose", f"net:{subnet}").strip()
    for near, far in (("blue1", "blue2"), ("red1", "red2")):
        net.until(lambda near=near, far=far: net.reaches(near, found[far]), bool, f"{near} does not reach {far}")  # type: ignore[misc]
    return found


@pytest.fixture
def routed(net: World, containers: Mapping[str, str]) -> Iterator[None]:
    """All containers send by h1 what is not in their subnet."""
    for name in ("blue1", "blue2", "red1", "red2"):
        net.inside(name, "ip", "route", "replace", "default", "via", containers[name[:-1]])
    assert net.inside("h1", "cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    yield
    for name in ("blue1", "blue2", "red1", "red2"):
        net.inside(name, "ip", "route", "del", "default")


def crossing(net: World, containers: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return which containers of one subnet reach which of the other."""
    pairs = [(f"{one}{a}", f"{other}{b}") for one, other in (("blue", "red"), ("red", "blue"))
             for a in (1, 2) for b in (1, 2)]
    return {pair for pair in pairs if net.reaches(pair[0], containers[pair[1]])}


def test_containers_of_two_subnets_have_no_way_to_each_other(net: World, containers: Mapping[str, str]) -> None:
    assert crossing(net, containers) == set()


@pytest.mark.usefixtures("routed")
def test_the_host_reaches_both_subnets_and_passes_nothing_between(net: World, containers: Mapping[str, str]) -> None:
    assert crossing(net, containers) == set()
    for name in ("blue1", "blue2", "red1", "red2"):
        assert net.reaches("h1", containers[name])
        assert net.reaches(name, containers[name[:-1]])
    assert net.reaches("blue1", "198.51.100.2"), "the world is reached as before"


def test_the_host_passes_on_what_stays_within_a_subnet(net: World, containers: Mapping[str, str]) -> None:
    net.inside("blue1", "ip", "route", "add", f"{containers['blue2']}/32", "via", containers["blue"])
    try:
        assert net.reaches("blue1", containers["blue2"])
    finally:
        net.inside("blue1", "ip", "route", "del", f"{containers['blue2']}/32")


@pytest.mark.usefixtures("routed")
def test_a_host_that_is_told_to_passes_packets_between_subnets(net: World, containers: Mapping[str, str]) -> None:
    try:
        net.lab.kill("h1", signal.SIGTERM)
        net.lab.start("h1", options=(*OPTIONS, "--route-subnets"))
        net.connected("h1", "h2")
        net.until(lambda: crossing(net, containers), lambda seen: seen >= FROM_AND_TO_H1, "nothing is passed on")
    finally:
        net.lab.kill("h1", signal.SIGTERM)
        net.lab.start("h1", options=OPTIONS)
    assert crossing(net, containers) == set(), "and no more when it is not"
