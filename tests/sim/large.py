"""A large mesh that has converged: what it costs when nothing happens, and how fast a change or a death is known.

The figures of the bench `mesh-sim`; as a scenario it also checks that everybody agrees in the end.
"""

from tests.sim.assembled import assemble
from tests.sim.cluster import Cluster
from tests.sim.node import Node
from tests.sim.scribe import Scribe
from tests.sim.world import InvariantBroken, World
from weave.mesh.entries import ChannelChange

IDLE_S = 15.0
CHANGES = 20


class Listener(Scribe):
    """A scribe that notes when it heard of each value first."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.heard_at: list[float] = []

    def changed(self, channel: str, changes: tuple[ChannelChange, ...]) -> None:
        super().changed(channel, changes)
        self.heard_at += [self.node.world.now for _ in changes]


def large(world: World, peers: int) -> dict[str, object]:
    """Idle, change, crash: everybody must notice."""
    cluster = assemble(world, peers, Listener)
    degrees = [len(node.core.connections()) for node in cluster.nodes]
    idle = _idle_bytes(cluster)
    delays = sorted(delay for _ in range(CHANGES) for delay in _change(cluster))
    if len(delays) != CHANGES * (peers - 1):
        raise InvariantBroken(f"{CHANGES} changes were heard {len(delays)} times by {peers} peers")
    noticed = _crash(cluster)
    cluster.settle(30.0)
    cluster.check_converged()
    return {
        "change_p50_s": round(delays[len(delays) // 2], 3),
        "change_p99_s": round(delays[len(delays) * 99 // 100], 3),
        "death_noticed_s": round(noticed, 2),
        "idle_bytes_per_second_mean": round(sum(idle) / peers),
        "idle_bytes_per_second_most": round(max(idle)),
        "degree_mean": round(sum(degrees) / peers, 1),
        "degree_most": max(degrees),
    }


def _idle_bytes(cluster: Cluster) -> list[float]:
    """Return the octets that each peer sends in a second while nothing happens."""
    before = [node.sent_bytes for node in cluster.nodes]
    cluster.world.run(cluster.world.now + IDLE_S)
    return [(node.sent_bytes - sent) / IDLE_S for node, sent in zip(cluster.nodes, before, strict=True)]


def _change(cluster: Cluster) -> list[float]:
    """Let somebody write, and return after how long each of the others heard of it."""
    world = cluster.world
    listeners = [node.app for node in cluster.nodes if isinstance(node.app, Listener)]
    for listener in listeners:
        listener.heard_at.clear()
    writer = world.rng(f"writer {world.now}").choice(listeners)
    written_at = world.now
    writer.write("dns", b"name")
    world.run(world.now + 4)
    return [at - written_at for listener in listeners for at in listener.heard_at]


def _crash(cluster: Cluster) -> float:
    """Let somebody die, and return after how long everybody has noticed."""
    victim = cluster.world.rng("victim").choice(cluster.nodes)
    victim.crash()
    return cluster.run_until(lambda: not any(node.core.is_reachable(victim.name) for node in cluster.up), 30.0)
