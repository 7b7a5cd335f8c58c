"""The power goes at any moment: what was acknowledged is there afterwards, and nothing is there by half.

The same driver must find every planted mistake, or it proves nothing.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from store.changes import Change
from store.engine import Engine

from .disk import Disk
from .power import LostWrites, Machine, commit, open_engine

SMALL_LOG = "wal_autocheckpoint = 6"
"""Fold the log into the file after every few commits, so that the cuts fall into that, too."""
SEEDS, CUTS = 40, 8


def open_with(*pragmas: str) -> Callable[[Disk], Engine]:
    return lambda disk: open_engine(disk, *pragmas)


@pytest.mark.parametrize("pragmas", [(), (SMALL_LOG,)], ids=["long log", "short log"])
def test_no_acknowledged_commit_is_lost(pragmas: tuple[str, ...]) -> None:
    machines = []
    for seed in range(SEEDS):
        machines.append(Machine(random.Random(seed), open_on=open_with(*pragmas)))
        try:
            machines[-1].run(CUTS)
        except LostWrites as exc:
            pytest.fail(f"seed {seed}: {exc}")
    assert sum(machine.cuts for machine in machines) == SEEDS * CUTS
    assert sum(machine.acknowledged for machine in machines) > SEEDS * CUTS
    assert min(sum(machine.happened for machine in machines), sum(machine.vanished for machine in machines)) > 10


def acknowledge_first(machine: Machine, engine: Engine, groups: Sequence[Sequence[Change]]) -> None:
    """The mistake: the caller is told before the disk is."""
    assert machine.under_way is not None
    machine.promised = machine.under_way
    commit(engine, groups)


def commit_piecemeal(machine: Machine, engine: Engine, groups: Sequence[Sequence[Change]]) -> None:
    """The mistake: each change is a transaction of its own."""
    for change in (change for group in groups for change in group):
        commit(engine, [[change]])


def mistakes(plant: Callable[[Machine], None]) -> int:
    """Count the seeds, of forty, in which the driver finds a planted mistake."""
    found = 0
    for seed in range(SEEDS):
        machine = Machine(random.Random(seed))
        plant(machine)
        try:
            machine.run(CUTS)
        except LostWrites:
            found += 1
    return found


@pytest.mark.parametrize("mode", ["OFF", "NORMAL"])
def test_a_store_that_does_not_sync_each_commit_is_found_out(mode: str) -> None:
    def plant(machine: Machine) -> None:
        machine.open_on = open_with(f"synchronous = {mode}")

    assert mistakes(plant) > 10


@pytest.mark.parametrize("mistake", [acknowledge_first, commit_piecemeal])
def test_a_store_that_acknowledges_too_early_or_by_half_is_found_out(mistake: Callable[..., None]) -> None:
    def plant(machine: Machine) -> None:
        machine.commit_with = partial(mistake, machine)

    assert mistakes(plant) > 10
