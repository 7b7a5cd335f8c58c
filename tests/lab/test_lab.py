"""`weave lab`: the sandbox that the README promises, command by command; and what a crashed run leaves."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lab.world import LAB
from weave.lab import kernel
from weave.lab.lab import all_labs, temporary
from weave.lab.names import UNDERLAY, namespace
from weave.lab.state import directory

pytestmark = LAB
CRASH = """
import os, signal
from weave.lab.lab import temporary
with temporary("crash") as lab:
    lab.up(1)
    print(lab.name, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def name() -> Iterator[str]:
    """The name of a lab that this module may have."""
    with temporary("sandbox") as lab:
        yield lab.name


def weave_lab(name: str, *words: str, status: int = 0) -> str:
    """Run `weave lab` and return what it printed, on standard error where it must fail."""
    done = subprocess.run([sys.executable, "-m", "weave", "lab", "--lab", name, *words], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == status, f"{words}: {done.stderr or done.stdout}"
    return done.stderr if status else done.stdout


def test_the_story_of_the_readme(name: str) -> None:
    assert weave_lab(name, "up", "2", "--password", "secret", "--trusted-subnets", str(UNDERLAY)).strip() == "h1 h2 up"
    assert weave_lab(name, "up", "2").strip() == "2 hosts are up already"
    web = weave_lab(name, "run", "h1", "web").strip()
    weave_lab(name, "run", "h2", "client")
    assert "1 received" in weave_lab(name, "exec", "client", "--", "ping", "-c", "1", "web")
    assert "Service: router" in weave_lab(name, "exec", "h1", "--", "weave", "status")
    rows = json.loads(weave_lab(name, "ls", "--json"))
    assert [(row["name"], row["containers"]) for row in rows] == [("h1", ["web"]), ("h2", ["client"])]
    assert web in weave_lab(name, "exec", "h2", "--", "weave", "status", "dns")
    assert "secret" not in weave_lab(name, "logs", "h1")


def test_a_router_is_killed_and_started(name: str) -> None:
    weave_lab(name, "kill", "h2")
    assert "stopped" in weave_lab(name, "ls")
    assert "weave lab start h2" in weave_lab(name, "kill", "h2", status=1)
    weave_lab(name, "start", "h2")
    assert "stopped" not in weave_lab(name, "ls")


def test_the_underlay_is_cut_and_heals(name: str) -> None:
    ping = ["exec", "h1", "--", "ping", "-c", "1", "-W", "1", str(UNDERLAY.network_address + 2)]
    weave_lab(name, "cut", "h1", "h2")
    weave_lab(name, *ping, status=1)
    weave_lab(name, "heal")
    assert "1 received" in weave_lab(name, *ping)


def test_what_is_not_there_is_said_in_one_line(name: str) -> None:
    for words, complaint in ((("run", "h9", "web"), "no host h9"), (("run", "h1", "Web"), "cannot name a container"),
                             (("exec", "nobody", "--", "true"), "no host or container nobody"),
                             (("run", "h1", "web"), "in this lab already")):
        said = weave_lab(name, *words, status=1)
        assert complaint in said
        assert said.count("\n") == 1


def test_down_leaves_nothing(name: str) -> None:
    weave_lab(name, "rm", "client")
    assert namespace(name, "h2", "client") not in kernel.namespaces("")
    weave_lab(name, "down")
    assert name not in all_labs()
    assert not directory(name).exists()


def test_labs_whose_names_begin_alike_do_not_touch_each_other() -> None:
    with temporary("alike") as one, temporary("alike") as two:
        assert one.name != two.name
        for lab in (one, two):
            lab.up(1, options=("--no-dns",))
        one.down()
        assert two.report("h1")["Ready"]


def test_what_a_crashed_run_left_goes_with_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", CRASH], capture_output=True, text=True, timeout=60, check=False)
    left = done.stdout.strip()
    assert left in all_labs()
    with temporary("crash") as lab:
        assert lab.name == left
        assert lab.hosts() == []
        assert not [netns for netns in kernel.namespaces("") if netns.startswith(namespace(left, "h"))]
    assert left not in all_labs()
