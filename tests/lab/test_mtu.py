"""Hosts that carry less than others set the MTU of all, and containers follow while they run."""

import json
import signal
from collections.abc import Iterator

import pytest

from tests.lab.world import LAB, World, world

pytestmark = LAB

SMALL = 1300
LARGE = 1450
HEADERS = 28
"""Octets of IPv4 and ICMP headers."""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    with world("mtu", 2, ()) as made:
        yield made


def mtu_of(net: World, place: str, device: str = "ethwe") -> int:
    [link] = json.loads(net.inside(place, "ip", "-j", "link", "show", device))
    return int(link["mtu"])


def restart(net: World, host: str, *options: str) -> None:
    net.lab.kill(host, signal.SIGTERM)
    net.lab.start(host, options=options)


def test_containers_follow_the_host_that_carries_least(net: World) -> None:
    with net.containers("h1", "c1") as [here], net.box("h1", "asked") as box:
        net.weave("h1", "attach", "--mtu", "1200", box.netns)
        assert mtu_of(net, "c1") == LARGE
        restart(net, "h2", f"--mtu={SMALL}")
        net.until(lambda: mtu_of(net, "c1"), lambda mtu: mtu == SMALL, "c1 does not follow")
        assert {mtu_of(net, "h1", device) for device in ("weave", "vxlan-6784")} == {SMALL}
        assert json.loads(box.run("ip", "-j", "link", "show", "ethwe"))[0]["mtu"] == 1200
        with net.containers("h2", "c2") as [there], net.containers("h1", "late"):
            for place in ("c1", "late"):
                assert mtu_of(net, place) == SMALL
                net.until(lambda place=place: net.reaches(place, there), bool, "c2 is not reached")  # type: ignore[misc]
                net.inside(place, "ping", "-c1", "-W2", "-Mdo", f"-s{SMALL - HEADERS}", there)
            net.inside("c2", "ping", "-c1", "-W2", "-Mdo", f"-s{SMALL - HEADERS}", here)
        status = net.weave("h1", "status")
        assert f"MTU: {SMALL} (h2 carries no more; this host carries {LARGE})" in status
        assert "that host sets the MTU of all: this one carries 1450" in net.weave("h1", "status", "links")
        net.wait("h1", lambda _: {row["mtu"] for row in net.lab.client("h1").value("GET", "attachments")}
                 == {SMALL, 1200}, "shows another MTU")


def test_it_does_not_rise_while_the_weak_host_is_away_for_a_moment(net: World) -> None:
    restart(net, "h2", f"--mtu={SMALL}")
    net.connected("h1", "h2")
    with net.containers("h1", "c1"):
        net.lab.kill("h2", signal.SIGTERM)
        try:
            net.wait("h1", lambda seen: "a host that carried no more is gone" in seen["Bridge"]["MTUReason"],
                     "does not wait for h2")
            assert mtu_of(net, "c1") == SMALL
            restart(net, "h1")
            assert mtu_of(net, "h1", "weave") == SMALL, "a router that returns keeps what is there"
        finally:
            net.lab.start("h2")
