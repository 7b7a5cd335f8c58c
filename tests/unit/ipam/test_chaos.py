"""Clusters that live through everything at once, and proof that the checks would notice what is wrong.

More lives: `python -m tests.unit.ipam.chaos FIRST LAST`.
"""

from collections.abc import Callable
from unittest.mock import patch

import pytest

from tests.unit.ipam.chaos import live
from weave.ipam.donor import Donor
from weave.ipam.effects import Effect, Persist
from weave.ipam.outbox import Outbox
from weave.ipam.recall import Recall
from weave.ipam.ring import Range, Ring

LIVES = 12
SEEDS_TO_FIND = 40


@pytest.mark.parametrize("seed", range(LIVES))
def test_cluster_survives(seed: int) -> None:
    live(seed)


@pytest.mark.parametrize(("hosts", "lateness"), [(2, 0), (3, 2), (8, 3)])
def test_cluster_of_any_size_survives(hosts: int, lateness: int) -> None:
    live(1, hosts=hosts, lateness=lateness, steps=30)


def lower_version_wins(self: Ring, new: Range) -> bool:
    old = self.get(new.block)
    if old is not None and (old.rank == new.rank or (old.version > 0 and old.rank < new.rank)):
        return False
    self.written += old is None or old.version == 0
    self._put(new)
    return True


def answer_before_commit(self: Outbox) -> list[Effect]:
    effects: list[Effect] = [*self._effects, *([Persist(tuple(self._rows))] if self._rows else [])]
    self._rows, self._effects = [], []
    return effects


def give_without_giving(self: Donor, peer: object, ask: object) -> object:
    """Grant space, but go on to use it: the record is not merged."""
    merge = self._estate.merge
    self._estate.merge = lambda ranges: []  # type: ignore[method-assign]
    try:
        return GIVE(self, peer, ask)  # type: ignore[arg-type]
    finally:
        self._estate.merge = merge  # type: ignore[method-assign]


def trust_memory(self: Recall, now: float) -> None:
    self.is_done = True


GIVE = Donor._give
PLANTED: dict[str, tuple[object, str, Callable[..., object]]] = {
    "merge takes the lower version": (Ring, "merge", lower_version_wins),
    "acknowledge before commit": (Outbox, "drain", answer_before_commit),
    "donor keeps what it gave": (Donor, "_give", give_without_giving),
    "a restarted peer trusts its memory": (Recall, "begin", trust_memory),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(bug: str) -> None:
    owner, name, wrong = PLANTED[bug]
    with patch.object(owner, name, wrong):
        assert any(is_broken(seed) for seed in range(SEEDS_TO_FIND)), f"{bug}: not found"


def is_broken(seed: int) -> bool:
    try:
        live(seed)
    except (AssertionError, KeyError):
        return True
    return False


def test_lives_are_replayed_from_their_seed() -> None:
    assert live(3, steps=15).trace == live(3, steps=15).trace

