"""`weave policy`: what people type, and what they get, from a directory and from a running controller."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.cli.controller import PODS, controller
from weave.cli.app import weave

WORLD = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, status: {podIP: 10.0.0.2}}
"""
SHUT = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}, ingress: []}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "world.yaml").write_text(WORLD)
    return tmp_path / "policies"


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(weave, ["policy", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_trace(directory):
    assert "tcp/5432: allowed" in run("trace", "shop/web", "shop/db", "tcp/5432", "--policy-dir", directory)
    (directory / "shut.yaml").write_text(SHUT)
    assert "isolated by NetworkPolicy shop/shut" in run("trace", "shop/web", "shop/db", "--policy-dir", directory)
    assert not json.loads(run("trace", "shop/web", "shop/db", "--policy-dir", directory, "--json"))["allowed"]


def test_trace_ends_with_0_where_it_is_denied_for_that_is_the_answer(directory):
    (directory / "shut.yaml").write_text(SHUT)
    assert "tcp/80: denied" in run("trace", "shop/web", "shop/db", "--policy-dir", directory, code=0)


def test_table(directory):
    (directory / "shut.yaml").write_text(SHUT)
    assert "nothing                  to shop/db" in run("table", "--policy-dir", directory)
    assert "-" in run("table", "tcp/80", "--policy-dir", directory)
    assert json.loads(run("table", "--policy-dir", directory, "-o", "json"))[0]["family"] == 4


def test_diff(directory, tmp_path):
    change = tmp_path / "shut.yaml"
    change.write_text(SHUT)
    assert "closes  shop/web → shop/db" in run("diff", change, "--policy-dir", directory)
    (directory / "shut.yaml").write_text(SHUT)
    assert run("diff", change, "--policy-dir", directory) == "nothing changes\n"
    change.write_text("")
    assert "opens   shop/web → shop/db" in run("diff", change, "--replace", "--policy-dir", directory)


def test_what_is_not_understood_is_told(directory, tmp_path):
    change = tmp_path / "odd.yaml"
    change.write_text(SHUT.replace("ingress: []", "ingress: [{from: [{service: web}]}]"))
    assert "! shop/shut: spec.ingress[0].from[0]" in run("diff", change, "--policy-dir", directory)


@pytest.mark.parametrize(("text", "why"), [
    ("{", "cannot be understood"), ("kind: Pod", "without kind or metadata.name")])
def test_file_that_is_none_is_refused_in_a_line(directory, text, why):
    (directory / "bad.yaml").write_text(text)
    assert why in run("table", "--policy-dir", directory, code=1)


STATUS = {"ready": True, "trouble": "", "source": {"synced": True, "well": True, "state": "1 objects in 1 files of /p"},
          "router": {"socket": "/s", "trouble": ""}, "reports": "", "pending": [], "problems": [],
          "times": {"compile_s": 0.00080271800, "enforce_s": 1.5}}
BROKEN = {"synced": True, "well": False, "state": "bad.yaml: it is broken"}


def status(tmp_path: Path, **parts: object) -> str:
    with controller(tmp_path / "npc.sock", [{**STATUS, **parts}]):
        return run("--npc-socket", tmp_path / "npc.sock", "status")


def test_status_without_trouble(tmp_path):
    assert status(tmp_path) == """\
             ready: True
           trouble: none
            source: synced=True well=True state=1 objects in 1 files of /p
            router: socket=/s trouble=none
           pending: none
             times: compile_s=0.0008 enforce_s=1.5
"""


@pytest.mark.parametrize(("parts", "trouble"), [
    ({"source": BROKEN}, "source: bad.yaml: it is broken"),
    ({"router": {"socket": "/s", "trouble": "no router answers"}}, "router: no router answers"),
    ({"trouble": "nft failed", "source": BROKEN}, "nft failed; source: bad.yaml: it is broken"),
    ({"trouble": "policy is not known yet: bad.yaml: it is broken", "source": BROKEN},
     "policy is not known yet: bad.yaml: it is broken"),
])
def test_status_tells_all_that_is_not_well_as_trouble(tmp_path, parts, trouble):
    assert f"\n           trouble: {trouble}\n" in status(tmp_path, **parts)


@pytest.mark.parametrize(("right", "wrong"), [
    ("kind: NetworkPolicy", "kind: Networkpolicy"), ("networking.k8s.io/v1", "networking.k8s.io/v2"),
    ("networking.k8s.io/v1", "extensions/v1beta1"), ("apiVersion: networking.k8s.io/v1", "")])
def test_diff_refuses_a_policy_that_is_mistyped(directory, tmp_path, right, wrong):
    change = tmp_path / "change.yaml"
    change.write_text(SHUT.replace(right, wrong))
    assert f"{change} cannot be understood: 'shut': " in run("diff", change, "--policy-dir", directory, code=1)


@pytest.mark.parametrize("words", [["table"], ["trace", "a", "b"], ["diff", "new.yaml"], ["status"]])
def test_no_controller_says_what_the_command_can_do_instead(tmp_path, words):
    told = run("--npc-socket", tmp_path / "none.sock", *words, code=1)
    has_option = "--policy-dir" in run(words[0], "--help")
    assert ("with --policy-dir" if has_option else "with --npc-socket") in told
    assert ("--policy-dir" in told) == has_option


def test_running_controller_is_asked(tmp_path):
    answers = [{"synced": True, "manifests": PODS},
               {"intact": True, "egress": {"here": True, "allowed": True}, "ingress": {"here": False}}]
    with controller(tmp_path / "npc.sock", answers) as asked:
        told = run("--npc-socket", tmp_path / "npc.sock", "trace", "shop/web", "shop/db", "udp/53")
    assert asked == ["/policy/state", "/policy/kernel?src=10.32.0.9&dst=10.40.0.1&proto=UDP&port=53"]
    assert "udp/53: allowed" in told
    assert "  egress: allowed\n  ingress: not decided here" in told
