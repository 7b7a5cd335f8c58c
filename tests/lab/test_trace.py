"""`weave trace` tells what is in the way, wherever it is: seen by the host at either end.

    h1                 h2
    web  other         client        `other` is in a subnet of its own
"""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.lab.world import LAB, World, world

pytestmark = LAB
RED = "10.33.2.0/24"
STEPS = ["container", "route", "neighbour", "forwarding", "link"]
Legs = list[Mapping[str, tuple[str, str]]]


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    with world("trace", 2, ("--ipalloc-default-subnet=10.32.0.0/16",)) as made:
        made.container("h1", "web")
        made.container("h1", "other", f"net:{RED}")
        made.container("h2", "client")
        made.agreed("h1", "h2")
        made.until(lambda: trace(made, "h2", "client", "web", code=None),
                   lambda legs: all(state == "ok" for leg in legs for state, _ in leg.values()),
                   "there is no way between the containers")
        yield made


def trace(net: World, host: str, source: str, destination: str, code: int | None = 0) -> Legs:
    """Return state and text of every step of each leg."""
    done = net.lab.execute(host, "weave", "trace", source, destination, "--json", timeout=30.0)
    assert code in (None, done.returncode), done.stderr or done.stdout
    return [{step["Step"]: (step["State"], step["Text"]) for step in leg["Steps"]}
            for leg in json.loads(done.stdout)["Legs"]]


def text(net: World, host: str, *words: str) -> str:
    return net.lab.execute(host, "weave", "trace", *words, timeout=30.0).stdout


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_both_ends_tell_the_same_on_every_host(net: World, host: str) -> None:
    legs = trace(net, host, "client", "web")
    assert [list(leg) for leg in legs] == [STEPS, STEPS]
    assert {state for leg in legs for state, _ in leg.values()} == {"ok"}
    assert "leaves by vxlan-6784 to 198.51.100.1" in legs[0]["forwarding"][1]
    assert "leaves by vxlan-6784 to 198.51.100.2" in legs[1]["forwarding"][1]
    assert text(net, host, "client", "web").endswith("\nNothing is in the way.\n")


@contextmanager
def changed(net: World, place: str, change: str, back: str) -> Iterator[None]:
    net.inside(place, *change.split())
    yield
    net.inside(place, *back.split())


@pytest.mark.parametrize("asked", ["h1", "h2"])
def test_an_interface_that_is_down_is_found_by_the_host_it_is_on(net: World, asked: str) -> None:
    with changed(net, "web", "ip link set ethwe down", "ip link set ethwe up"):
        there, back = trace(net, asked, "client", "web", code=1)
        assert "In the way: h1, container." in text(net, asked, "client", "web")
    assert {state for state, _ in there.values()} == {"ok"}
    assert back["container"] == ("broken", "ethwe is down; somebody switched it off in the container")
    assert trace(net, asked, "client", "web")


def test_an_address_that_somebody_removed_is_missed(net: World) -> None:
    [address] = [item["Address"] for item in net.report("h1")["DNS"]["Entries"] if item["Hostname"].startswith("web.")]
    with changed(net, "web", f"ip address del {address}/16 dev ethwe", f"ip address add {address}/16 dev ethwe"):
        assert trace(net, "h2", "client", "web", code=1)[1]["container"] == (
            "broken", f"ethwe lacks {address}; somebody removed it in the container")


def test_what_the_kernel_was_made_to_believe_is_told(net: World) -> None:
    """The router puts it back; until then the trace names it, and it names nothing afterwards."""
    [row] = [row for row in net.report("h1")["Endpoints"] if row["ContainerID"].endswith(".web")]
    pid = net.pid("h2")
    os.kill(pid, signal.SIGSTOP)
    try:
        net.inside("h2", "bridge", "fdb", "del", row["MAC"], "dev", "vxlan-6784", "master")
        net.inside("h2", "bridge", "fdb", "del", row["MAC"], "dev", "vxlan-6784", "self")
    finally:
        os.kill(pid, signal.SIGCONT)
    net.until(lambda: trace(net, "h2", "client", "web", code=None)[0]["forwarding"],
              lambda step: step[0] == "ok", "the entry is not put back")


def test_subnets_have_no_way_to_each_other(net: World) -> None:
    there, back = trace(net, "h2", "client", "other", code=1)
    for leg in (there, back):
        assert leg["route"][0] == "broken"
        assert "no address of that subnet, no route" in leg["route"][1]


def test_an_address_that_nobody_has_is_told_whose_it_would_be(net: World) -> None:
    report = net.report("h1")
    entry = next(row for row in report["IPAM"]["Entries"] if row["Nickname"] == "h1")
    free = f"{entry['Token'].rpartition('.')[0]}.99"
    [leg] = trace(net, "h2", "client", free, code=1)
    assert "is one of those that h1 gives out" in leg["address"][1]


def test_a_router_that_does_not_answer_is_told(net: World) -> None:
    pid = net.pid("h1")
    os.kill(pid, signal.SIGSTOP)
    try:
        there, back = trace(net, "h2", "client", "web")
        assert there["container"][0] == "ok"
        assert back == {"router": ("doubt", "h1 did not answer within 3 s; is its router of an older version?")}
    finally:
        os.kill(pid, signal.SIGCONT)
    net.connected("h1", "h2")


def test_after_a_restart_the_containers_are_still_looked_into(net: World) -> None:
    net.lab.kill("h1", signal.SIGKILL)
    assert trace(net, "h2", "client", "web")[1]["router"][0] == "doubt"
    net.lab.start("h1")
    net.connected("h1", "h2")
    net.until(lambda: trace(net, "h2", "client", "web", code=None)[1], lambda leg: list(leg) == STEPS and all(
        state == "ok" for state, _ in leg.values()), "h1 does not see its container")


def test_words_that_mean_nothing_are_refused(net: World) -> None:
    assert "'nobody' is no address, host, pod, container or name" in net.refused("h1", "trace", "nobody", "web")
    assert "web and web are the same" in net.refused("h1", "trace", "web", "web")
