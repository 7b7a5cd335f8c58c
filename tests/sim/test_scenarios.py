"""A few seeds of every scenario; more by command: `python -m tests.sim --seeds 50`."""

import os
import subprocess
import sys

import pytest

from tests.sim import scenarios
from tests.sim.world import InvariantBroken, World
from weave.mesh import channel, entries
from weave.mesh.entries import Entry

SIZES = [
    ("convergence", 40),
    ("churn", 12),
    ("slow-link", 8),
    ("one-way", 6),
    ("rolling-restart", 8),
    ("cloned-identity", 6),
    ("two-versions", 8),
]


@pytest.mark.parametrize(("scenario", "peers"), SIZES)
@pytest.mark.parametrize("seed", [1, 2])
def test_scenario(scenario: str, peers: int, seed: int) -> None:
    scenarios.SCENARIOS[scenario](World(seed), peers)


def test_same_seed_gives_the_same_trace_in_every_process() -> None:
    command = [sys.executable, "-m", "tests.sim", "--peers", "8", "--scenario", "churn", "--seed", "5"]
    traces = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        traces.add(ran.stdout.partition('"trace"')[2])
    assert len(traces) == 1


def test_other_seed_gives_another_trace() -> None:
    traces = []
    for seed in (1, 2):
        world = World(seed)
        scenarios.one_way(world, 4)
        traces.append(world.trace)
    assert traces[0] != traces[1]


def test_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge that takes the lower version must not survive a single seed."""

    def takes_the_lower(new: Entry, held: Entry) -> bool:
        return entries.supersedes(held, new)

    monkeypatch.setattr(channel, "supersedes", takes_the_lower)
    with pytest.raises((InvariantBroken, AssertionError)):
        scenarios.churn(World(1), 6)


def test_failure_names_its_seed_and_last_events(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.sim import __main__ as command

    def breaks(world: World, peers: int) -> scenarios.Summary:
        world.note("something", peers)
        raise InvariantBroken("as planted")

    monkeypatch.setitem(scenarios.SCENARIOS, "churn", breaks)
    assert command.run("churn", 3, seed=77) == 1
    said = capsys.readouterr().out
    assert "--seed 77" in said
    assert "something 3" in said
