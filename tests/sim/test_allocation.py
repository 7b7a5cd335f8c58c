"""The simulator finds what it is for: a promise made before the disk had it, planted here, must not survive it."""

import pytest

from tests.sim import node as node_module
from tests.sim.allocator import Allocator, Ledger
from tests.sim.cluster import Cluster, Tenants
from tests.sim.node import Node
from tests.sim.world import InvariantBroken, World
from weave.ipam.effects import Persist

SLOW_SYNC_S = 0.5
"""A slow disk, so that crashes fall between a promise and its commit."""


def power_cuts(world: World, peers: int = 5, cuts: int = 20) -> None:
    """Cut the power of random hosts shortly after they were asked for an address."""
    ledger = Ledger(electors=peers)
    cluster = Cluster(world, peers, make_app=lambda node: Tenants(node, ledger))
    cluster.start()
    world.run(30.0)
    rng = world.rng("cuts")
    for number in range(cuts):
        node = rng.choice(cluster.up)
        assert isinstance(node.app, Tenants)
        node.app.allocator.allocate(f"c{number}")
        world.after(rng.uniform(0, 2 * SLOW_SYNC_S), cut_power, node)
        world.run(world.now + 3.0)
    world.run(world.now + 10.0)


def cut_power(node: Node) -> None:
    node.crash()
    node.world.after(0.5, node.start)


def acknowledge_first(self: Allocator) -> None:
    while self._effects:
        batch = list(self._effects)
        self._effects.clear()
        rows = [change for effect in batch if isinstance(effect, Persist) for change in effect.changes]
        self._perform_all(batch)
        if rows:
            self.node.commit(rows)


def test_power_cuts_lose_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "SYNC_S", SLOW_SYNC_S)
    power_cuts(World(1))


def test_acknowledging_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "SYNC_S", SLOW_SYNC_S)
    monkeypatch.setattr(Allocator, "_pump", acknowledge_first)
    with pytest.raises(InvariantBroken, match=r"forgot|is held by"):
        power_cuts(World(1))
