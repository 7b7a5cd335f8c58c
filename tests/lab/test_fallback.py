"""Plain VXLAN that does not get through is left for the sleeve, through a third host where need be, and taken up again.

    h1 ──── h2 ──── h3        no password; h1 and h3 are cut off from each other, or VXLAN between them is
"""

import re
import sys
from collections.abc import Iterator

import pytest

from tests.lab.test_sleeve import LOSE, TRANSFER
from tests.lab.world import LAB, World, names_of, world
from weave.lab import kernel, probes
from weave.lab.names import SWITCH, namespace

pytestmark = LAB

FALLS_S = 30.0
"""Probes are missed for some seconds, a sleeve is started, a direct way is looked for, then another."""
RETURNS_S = 60.0
"""A way that failed is tried again after 10 s, then 20 s, and so on."""
LOSSY_S = 120.0
"""What loses much is found out later than what is broken, and was tried and left some times before it is good again."""
MARK = "the quick brown fox jumps over the lazy dog"
BLOCK = """
table bridge blocked {
  chain forward {
    type filter hook forward priority 0;
    ip saddr { 198.51.100.1, 198.51.100.3 } ip daddr { 198.51.100.1, 198.51.100.3 } udp dport 6784 %s drop
  }
}
"""


@pytest.fixture
def net() -> Iterator[World]:
    """A lab for each test: a way that failed just before is left alone for longer."""
    with world("fallback", 3, ()) as made:
        for number in (1, 2, 3):
            made.container(f"h{number}", f"c{number}")
        direct(made)
        yield made


def link(net: World, here: str, there: str) -> dict[str, object]:
    [row] = [row for row in net.report(here)["Links"] if row["NickName"] == there]
    return dict(row)


def direct(net: World, deadline_s: float = RETURNS_S) -> None:
    """Wait until all links are plain VXLAN, and all containers reach each other."""
    for host in ("h1", "h2", "h3"):
        net.wait(host, lambda seen: [row["Mode"] for row in seen["Links"]] == ["vxlan", "vxlan"],
                 "has another link than VXLAN", deadline_s)
    everybody_talks(net)


def everybody_talks(net: World) -> None:
    addresses = names_of(net.report("h2"))
    for here in ("c1", "c2", "c3"):
        for there in {"c1", "c2", "c3"} - {here}:
            net.until(lambda here=here, there=there: net.reaches(here, addresses[there]), bool,  # type: ignore[misc]
                      f"{here} does not reach {there}", FALLS_S)


def falls_to_sleeve(net: World, here: str, there: str, address: str, deadline_s: float) -> None:
    net.wait(here, lambda seen: any(
        row["NickName"] == there and row["Mode"] == "sleeve" and row["Address"] == address for row in seen["Links"]),
        f"has no sleeve to {there} at {address}", deadline_s)


def test_hosts_that_are_cut_off_talk_through_a_third_and_return(net: World) -> None:
    net.lab.cut("h1", "h3")
    try:
        for here, there in (("h1", "h3"), ("h3", "h1")):
            falls_to_sleeve(net, here, there, "via h2", FALLS_S)
        everybody_talks(net)
        why = str(link(net, "h1", "h3")["Reason"])  # the cut may come before the first proof
        assert re.search("VXLAN does not get through: (probes are no longer answered|no probe was answered)", why), why
        assert {str(link(net, here, "h2")["Mode"]) for here in ("h1", "h3")} == {"vxlan"}
        with probes.background(net.lab, "c3", sys.executable, "-ISc", probes.ECHO, "7000"):
            net.until(lambda: net.lab.execute("c1", sys.executable, "-ISc", TRANSFER, names_of(net.report("h2"))["c3"],
                                              MARK), lambda done: done.returncode == 0, "no TCP through h2")
        broadcast_arrives_once(net)
    finally:
        net.lab.heal()
    direct(net)


def broadcast_arrives_once(net: World) -> None:
    """A third host that stands by gets no broadcast twice."""
    with probes.capture(net.lab, "c2", "ethwe", "udp port 5555") as two, \
            probes.capture(net.lab, "c3", "ethwe", "udp port 5555") as three:
        net.python("c1", SHOUT)
        net.until(lambda: net.reaches("c1", names_of(net.report("h2"))["c3"]), bool, "c3 is not reached")
    assert (len(two.lines), len(three.lines)) == (1, 1)


SHOUT = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(b"once", ("10.47.255.255", 5555))
"""


@pytest.mark.parametrize(("which", "says"), [
    ("", "probes are no longer answered"), ("meta length > 1000", "large packets vanish"),
])
def test_vxlan_that_is_blocked_is_left_for_a_direct_sleeve_and_taken_up_again(net: World, which: str,
                                                                              says: str) -> None:
    switch = namespace(net.lab.name, SWITCH)
    kernel.run("ip", "netns", "exec", switch, "nft", "-f", "-", stdin=BLOCK % which)
    try:
        for here, there, address in (("h1", "h3", "198.51.100.3:6783"), ("h3", "h1", "198.51.100.1:6783")):
            falls_to_sleeve(net, here, there, address, FALLS_S)
        everybody_talks(net)
        assert says in f"{link(net, 'h1', 'h3')['Reason']} {link(net, 'h3', 'h1')['Reason']}"
    finally:
        kernel.run("ip", "netns", "exec", switch, "nft", "delete", "table", "bridge", "blocked")
    direct(net)


@pytest.mark.timeout(240)
def test_vxlan_that_loses_much_is_left_for_the_sleeve_through_a_third_and_taken_up_again(net: World) -> None:
    switch = namespace(net.lab.name, SWITCH)
    kernel.run("ip", "netns", "exec", switch, "nft", "-f", "-", stdin=LOSE)
    try:
        with probes.background(net.lab, "c1", "ping", "-n", "-i", "0.2", names_of(net.report("h2"))["c3"]):
            for here, there in (("h1", "h3"), ("h3", "h1")):
                falls_to_sleeve(net, here, there, "via h2", LOSSY_S)
        everybody_talks(net)
        assert "VXLAN does not get through: " in str(link(net, "h1", "h3")["Reason"])
    finally:
        kernel.run("ip", "netns", "exec", switch, "nft", "delete", "table", "bridge", "lossy")
    direct(net, LOSSY_S)


def test_a_router_that_starts_anew_does_not_try_what_did_not_work(net: World) -> None:
    net.lab.cut("h1", "h3")
    try:
        net.wait("h1", lambda seen: any(row["NickName"] == "h3" and row["Mode"] == "sleeve" for row in seen["Links"]),
                 "does not fall back", FALLS_S)
        everybody_talks(net)
        net.lab.kill("h1")
        net.lab.start("h1")
        net.connected("h1", "h2")
        net.wait("h1", lambda seen: any(row["NickName"] == "h3" for row in seen["Links"]), "does not know h3")
        assert link(net, "h1", "h3")["Mode"] == "sleeve"
        everybody_talks(net)
    finally:
        net.lab.heal()
    direct(net)
