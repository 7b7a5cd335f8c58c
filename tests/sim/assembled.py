"""A large mesh that is converged from the start: growing one by gossip costs O(n^2) merges for each of many rounds.

The links are those that planners choose in the end; everybody is handed everybody's topology. This module reaches into
cores, which nothing else in the simulator does; what it builds is checked like any other mesh.
"""

from collections.abc import Callable, Collection

from tests.sim.cluster import Cluster
from tests.sim.network import End
from tests.sim.node import App, Node
from tests.sim.scribe import Scribe
from tests.sim.world import World
from weave.mesh.messages import Delta, Group, Unknown
from weave.mesh.neighbours import full_mesh_bound, ring_sides, wanted_links
from weave.names import PeerName

WARM_UP_S = 8.0
"""After this the planners have nothing left to do and every pair of neighbours has compared roots."""


def assemble(world: World, size: int, make_app: Callable[[Node], App] = Scribe) -> Cluster:
    """Return a converged mesh of `size` peers, after its warm-up."""
    cluster = Cluster(world, size, seeds=0, make_app=make_app)
    for node in cluster.nodes:
        node.start()
    for here, there in _links(cluster):
        _connect(cluster, here, there)
    world.now += 0.06
    for node in cluster.nodes:
        node._run(node.core.tick(world.now))
    groups = tuple(group for node in cluster.nodes for group in _topology_of(node))
    for node in cluster.nodes:
        _hand_over(node, Delta("topology", groups), world.now)
    world.run(world.now + WARM_UP_S)
    return cluster


def _links(cluster: Cluster) -> list[tuple[Node, Node]]:
    by_name = {node.name: node for node in cluster.nodes}
    pairs = {(min(name, other), max(name, other)) for name in by_name for other in _wanted(name, by_name)}
    return [(by_name[here], by_name[there]) for here, there in sorted(pairs)]


def _wanted(name: PeerName, names: Collection[PeerName]) -> list[PeerName]:
    if len(names) <= full_mesh_bound(200):
        return [other for other in names if other != name]
    return wanted_links(ring_sides(name, names))


def _connect(cluster: Cluster, here: Node, there: Node) -> None:
    network = cluster.network
    network._connect(here, there, f"{there.ip}:6783")
    end: End = max(here.ends.values(), key=lambda each: each.conn)
    for side in (end, end.peer):
        side.node._run(side.node.core.message(side.conn, Unknown(0), cluster.world.now))


def _topology_of(node: Node) -> list[Group]:
    held = node.core._gossip.channel("topology").held(node.name)
    assert held is not None
    return [Group(node.name, node.me.identity, tuple(held.entries.values()))]


def _hand_over(node: Node, delta: Delta, now: float) -> None:
    core = node.core
    received = core._gossip.receive(-1, delta, lambda _owner, _source: [], now)
    core._tell("topology", received.changes)
    for connection in core._connections:
        connection.outbox._waiting.clear()
    node._run(core.tick(now))
