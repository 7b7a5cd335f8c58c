"""`weave trace`: what is printed, what policy adds, how it ends."""

import json
import os
import socket
from pathlib import Path

import pytest

from tests.unit.api.fake import FakeControl, a_trace
from tests.unit.cli.conftest import Run
from tests.unit.cli.controller import PODS, controller
from weave.api.trace import render_trace

SHUT = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "shut", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": []}}


@pytest.fixture
def npc_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Say where a controller would listen."""
    path = tmp_path / "npc.sock"
    monkeypatch.setenv("WEAVE_NPC_SOCKET", str(path))
    return path


def test_prints_what_the_router_tells(router: FakeControl, npc_socket: Path, run: Run) -> None:
    result = run("trace", "c1", "c2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, render_trace(a_trace("c1", "c2", "ok")), "")


def test_ends_with_1_where_something_is_in_the_way(router: FakeControl, npc_socket: Path, run: Run) -> None:
    result = run("trace", "c1", "c3")
    assert (result.exit_code, result.stdout) == (1, render_trace(a_trace("c1", "c3", "broken")))
    assert result.stderr == "weave: c1 and c3 do not reach each other; see what is BROKEN\n"


def test_what_the_router_does_not_know_may_be_a_container_of_this_host(router: FakeControl, npc_socket: Path,
                                                                       run: Run) -> None:
    result = run("trace", str(os.getpid()), "c2")
    assert (result.exit_code, result.stdout) == (0, render_trace(a_trace(str(os.getpid()), "c2", "ok")))


def test_what_nobody_knows_is_refused(router: FakeControl, npc_socket: Path, run: Run) -> None:
    result = run("trace", "4194305", "c2")
    assert (result.exit_code, result.stderr) == (1, "weave: 4194305 is nothing on this network\n")


def test_prints_json_for_programs(router: FakeControl, npc_socket: Path, run: Run) -> None:
    result = run("trace", "c1", "c3", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, a_trace("c1", "c3", "broken"))


@pytest.mark.parametrize(("policies", "words", "code"), [
    ([], "ok      policy      tcp/5432 is allowed; `weave policy trace` says why", 0),
    ([SHUT], "isolated by NetworkPolicy shop/shut; no rule of it opens it", 1),
])
def test_policy_has_its_say_where_a_controller_runs(policies: list[object], words: str, code: int, router: FakeControl,
                                                    npc_socket: Path, run: Run) -> None:
    with controller(npc_socket, [{"synced": True, "manifests": [*PODS, *policies]}]):
        result = run("trace", "c1", "c2", "tcp/5432")
    assert result.exit_code == code
    assert words in result.stdout
    assert ("BROKEN  policy      tcp/5432: ingress of shop/db (10.40.0.1) is denied" in result.stdout) == bool(code)


def test_a_port_that_nobody_can_judge_is_told_of(router: FakeControl, npc_socket: Path, run: Run) -> None:
    result = run("trace", "c1", "c2", "tcp/5432")
    assert result.exit_code == 0
    assert (f"  ?       policy      policy was not asked about tcp/5432: no weave-npc listens on this host at "
            f"{npc_socket}\n") in result.stdout
    assert result.stdout.endswith("Nothing is known to be in the way, but see what is marked ?.\n")


def test_a_controller_that_died_is_told_of(router: FakeControl, npc_socket: Path, run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(npc_socket))
    result = run("trace", "c1", "c2")
    assert result.exit_code == 0
    assert "?       policy      weave-npc of this host cannot be asked: cannot reach" in result.stdout


def test_what_is_no_port_is_refused(router: FakeControl, npc_socket: Path, run: Run) -> None:
    result = run("trace", "c1", "c2", "http")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "weave: 'http' is no port; write it like tcp/80, udp/53, sctp/9000 or icmp\n"
