"""The simulator finds what it is for: bugs of the ring, planted here, must not survive it."""

import pytest

from tests.sim import node, scenarios
from tests.sim.allocator import Allocator
from tests.sim.world import InvariantBroken, World
from weave.ipam.effects import Persist

SEEDS = (1, 2, 3)


def churn_breaks(peers: int) -> bool:
    """Say whether any of a few seeds shows that something is broken."""
    for seed in SEEDS:
        try:
            scenarios.churn(World(seed), peers)
        except InvariantBroken:
            return True
    return False


def test_acknowledging_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def acknowledge_first(self: Allocator) -> None:
        while self._effects:
            batch = list(self._effects)
            self._effects.clear()
            rows = [change for effect in batch if isinstance(effect, Persist) for change in effect.changes]
            self._perform_all(batch)
            if rows:
                self.node.commit(rows)

    monkeypatch.setattr(node, "SYNC_S", 0.5)  # a slow disk, so that crashes fall between promise and commit
    assert not churn_breaks(12)
    monkeypatch.setattr(Allocator, "_pump", acknowledge_first)
    assert churn_breaks(12)
