"""`weave policy` asks a running controller: what it explains is what the kernel does.

      h1: router, controller
        web   shop             app labels are the names
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.lab.policy import Controllers, controllers, from_app, policy
from tests.lab.world import LAB
from weave.cli.app import weave

pytestmark = LAB
SHUT = policy("shut", "web", ingress=[])
OPEN = policy("shut", "web", ingress=[from_app("shop")])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controllers]:
    with controllers("npcx", 1, tmp_path_factory.mktemp("policies")) as made:
        for name in ("web", "shop"):
            made.world.container("h1", name, "--label", f"app={name}")
        made.until("h1", lambda status: status["pods"] >= 2, "does not know the containers")
        yield made


def ask(running: Controllers, *words: object) -> str:
    result = CliRunner().invoke(weave, ["policy", "--npc-socket", str(running.socket("h1")), *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def pods(running: Controllers) -> dict[str, str]:
    """Return what containers are called as pods, by their label."""
    ends = [end for table in json.loads(ask(running, "table", "--json")) for end in table["ends"]]
    members = {name for end in ends if end["kind"] == "pods" for name in end["members"]}
    return {label: name for label in ("web", "shop") for name in members if name.endswith(label)}


@pytest.mark.parametrize(("policies", "allowed"), [((), True), ((SHUT,), False), ((OPEN,), True)])
def test_trace_says_what_the_kernel_does(running: Controllers, policies: tuple[object, ...], allowed: bool) -> None:
    running.set(*policies)
    found = pods(running)
    told = json.loads(ask(running, "trace", found["shop"], found["web"], "tcp/80", "--json"))
    assert told["allowed"] is allowed
    assert told["kernel"]["intact"]
    assert (told["kernel"]["egress"]["allowed"], told["kernel"]["ingress"]["allowed"]) == (True, allowed)
    assert running.world.reaches("shop", told["destination"]["address"]) is allowed
    assert f"tcp/80: {'allowed' if allowed else 'denied'}" in ask(running, "trace", found["shop"], found["web"])


@pytest.mark.parametrize(("policies", "state"), [((), "ok"), ((SHUT,), "broken"), ((OPEN,), "ok")])
def test_the_trace_of_a_packet_has_what_policy_says(running: Controllers, policies: tuple[object, ...],
                                                    state: str) -> None:
    running.set(*policies)
    done = running.world.lab.execute("h1", "weave", "trace", "shop", "web", "--json", "--npc-socket",
                                     str(running.socket("h1")))
    assert done.returncode == (state == "broken"), done.stderr
    steps = {step["Step"]: step["State"] for step in json.loads(done.stdout)["Legs"][0]["Steps"]}
    assert steps == {"container": "ok", "route": "ok", "forwarding": "ok", "policy": state}


def test_diff_is_against_what_is_enforced(running: Controllers, tmp_path: Path) -> None:
    running.set(SHUT)
    found = pods(running)
    change = tmp_path / "open.json"
    change.write_text(json.dumps(OPEN))
    assert f"opens   {found['shop']} → {found['web']}" in ask(running, "diff", change)
    running.set(OPEN)
    assert "opens" not in ask(running, "diff", change)


def test_status_tells_what_was_not_understood(running: Controllers) -> None:
    running.set(policy("odd", "web", ingress=[{"from": [{"service": "shop"}]}]))
    told = ask(running, "status")
    assert "ready: True" in told
    assert "spec.ingress[0].from[0] has the field 'service'" in told
