"""The sleeve in a container of its own: what happens to the router's is nothing to it.

    h1                                      h2
    router --sleeve-apart, weave-sleeve     the same
    c1                                      c2
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.test_sleeve import RECOVERY_S, pinging, sleeve_pid, sleeve_pids, sleeved
from tests.lab.world import LAB, SECRET, World, names_of, world
from weave.lab import kernel
from weave.lab.names import namespace

pytestmark = LAB
HOSTS = ("h1", "h2")
END_S = 10.0


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    with world("apart", 2, (*SECRET, "--sleeve-apart")) as made:
        for number in (1, 2):
            made.container(f"h{number}", f"c{number}")
        yield made


@contextmanager
def apart(net: World, host: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have `weave-sleeve` on a host while the block runs."""
    socket = net.lab.socket(host)
    words = kernel.inside(namespace(net.lab.name, host), sys.executable, "-m", "weave.net.sleeve.apart", "--socket",
                          str(socket.with_name(f"{socket.stem}-sleeve.sock")))
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(END_S)


@pytest.fixture
def sleeves(net: World) -> Iterator[None]:
    with apart(net, "h1"), apart(net, "h2"):
        sleeved(net, *HOSTS)
        net.until(lambda: net.reaches("c1", names_of(net.report("h1"))["c2"]), bool, "c2 is not reached")
        yield


def test_a_router_says_that_the_sleeve_is_missing(net: World) -> None:
    status = net.until(lambda: net.weave("h1", "status"), lambda text: "WARNING" in text, "nothing is said")
    assert "was told to start none (--sleeve-apart); does weave-sleeve run on this host?" in status
    with apart(net, "h1"), apart(net, "h2"):
        sleeved(net, *HOSTS)
        assert "WARNING" not in net.weave("h1", "status")


@pytest.mark.usefixtures("sleeves")
def test_what_ends_a_router_and_all_it_started_does_not_end_the_sleeve(net: World) -> None:
    before = sleeve_pid(net, "h2")
    assert parent_of(before) != net.pid("h2")
    with pinging(net, "c1", names_of(net.report("h1"))["c2"]) as outages:
        net.lab.kill("h2")
        net.lab.start("h2")
        net.connected(*HOSTS)
        sleeved(net, *HOSTS)
    assert sleeve_pid(net, "h2") == before
    assert sum(outages) < 0.2


@pytest.mark.usefixtures("sleeves")
def test_a_sleeve_that_is_killed_is_started_again(net: World) -> None:
    before = sleeve_pid(net, "h2")
    with pinging(net, "c1", names_of(net.report("h1"))["c2"]) as outages:
        os.kill(before, signal.SIGKILL)
        net.until(lambda: sleeve_pids(net, "h2"), lambda found: len(found) == 1 and found != [before],
                  "no other sleeve comes")
        sleeved(net, *HOSTS)
        net.until(lambda: net.reaches("c1", names_of(net.report("h1"))["c2"]), bool, "c2 is not reached")
    assert max(outages) < RECOVERY_S


def test_a_sleeve_ends_with_whoever_runs_it(net: World) -> None:
    with apart(net, "h1"):
        net.until(lambda: sleeve_pids(net, "h1"), bool, "no sleeve comes")
    assert not sleeve_pids(net, "h1")


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])
