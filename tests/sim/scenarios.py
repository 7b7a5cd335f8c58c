"""What befalls a mesh, one function for each story. A scenario returns a summary or raises `InvariantBroken`."""

from collections.abc import Callable
from random import Random

from tests.sim.allocator import Ledger
from tests.sim.cluster import Cluster, Tenants
from tests.sim.node import Node
from tests.sim.world import InvariantBroken, World
from weave.mesh.core import CLONED
from weave.mesh.messages import Unknown

Summary = dict[str, object]
Scenario = Callable[[World, int], Summary]
TIDYING_S = 90.0
"""How long after a split the hosts of a large mesh go on closing connections that nobody wants any more."""
SERVED_S = 60.0
"""Space that is searched at a peer's is found within rounds of asking, or when freed addresses have rested."""
BUSY_TURN_S = 5.0
BUSY_GROUPS = 4
SETTLE_S = 40.0
"""Enough for a connection to die, the longest healthy retry, and a few heartbeats."""


def convergence(world: World, peers: int) -> Summary:
    """All start at once; everybody must see everybody, and what is written then must be everywhere soon."""
    cluster = Cluster(world, peers)
    cluster.start()
    took = cluster.run_until(cluster.is_converged, 60.0)
    rng = world.rng("writes")
    world.run(world.now + 10)
    for node in rng.sample(cluster.nodes, min(10, peers)):
        cluster.scribe(node).write("dns", b"name")
    spread = cluster.run_until(cluster.is_converged, 10.0, step=0.02)
    cluster.settle(10.0)
    cluster.check_converged()
    return {"converged_s": round(took, 2), "spread_s": round(spread, 2)}


def churn(world: World, peers: int) -> Summary:
    """10% of all messages are lost, connections break, hosts crash, the network splits; then all heals.

    Meanwhile names are written, and containers come and go: after every step no address has two holders and
    no range two owners, and in the end all views of the ring are equal.
    """
    ledger = Ledger(electors=peers)
    cluster = Cluster(world, peers, make_app=lambda node: Tenants(node, ledger))
    cluster.start(within=2.0)
    world.run(5.0)
    _writes(cluster, peers * 2, until=32.0)
    _containers(cluster, peers * 5, until=32.0)
    _breaks(cluster, peers // 2, until=32.0)
    _crashes(cluster, max(2, peers // 10), until=27.0)
    cluster.network.loss = 0.1
    world.at(10.0, _split, cluster)
    world.at(22.0, cluster.network.partition)
    world.run(32.0)
    cluster.network.heal()
    took = cluster.settle(SETTLE_S + TIDYING_S)
    cluster.check_converged()
    cluster.run_until(ledger.is_served, SERVED_S)
    cluster.settle(SETTLE_S + TIDYING_S)  # a quiet moment between two closings does not end the tidying
    ledger.check_agreed()
    return {"healed_s": round(took, 2), "lost": cluster.network.messages_lost, "addresses": ledger.granted}


def slow_link(world: World, peers: int) -> Summary:
    """A leaf hangs on a link of 10 kB/s while everybody writes a lot: it falls behind, lives on, and catches up."""
    cluster = Cluster(world, peers)
    cluster.start()
    world.run(20.0)
    leaf, others = cluster.nodes[-1], cluster.nodes[:-1]
    for other in others:
        cluster.network.bandwidth[frozenset((leaf.ip, other.ip))] = 10_000.0
    rng = world.rng("writes")
    for number in range(peers * 60):
        world.at(20.0 + number * 0.5 / peers, cluster.scribe(rng.choice(others)).scribble, rng, 500)
    connected = len(leaf.core.connections())
    world.run(60.0)
    if not leaf.core.connections():
        raise InvariantBroken(f"the slow link died; there were {connected} connections")
    took = cluster.settle(120.0)
    cluster.check_converged()
    return {"caught_up_s": round(took, 2)}


def one_way(world: World, peers: int) -> Summary:
    """One direction between two hosts fails: their connection ends, they reach each other through others."""
    cluster = Cluster(world, peers)
    cluster.start()
    cluster.run_until(cluster.is_converged, 30.0)
    here, there = cluster.nodes[0], cluster.nodes[1]
    cluster.network.cut(here.ip, there.ip)
    world.run(world.now + 25)
    if any(view.peer == there.name for view in here.core.connections()):
        raise InvariantBroken("a connection with a dead direction is still there")
    here.send(there.name, "test", b"round about")
    world.run(world.now + 1)
    if peers > 2 and cluster.scribe(there).mail != [(here.name, b"round about")]:
        raise InvariantBroken("unicast did not find the way through others")
    cluster.network.heal()
    took = cluster.settle(SETTLE_S)
    cluster.check_converged()
    return {"healed_s": round(took, 2)}


def rolling_restart(world: World, peers: int) -> Summary:
    """Every host restarts in turn while others write; what a host wrote in its earlier life must vanish."""
    cluster = Cluster(world, peers)
    cluster.start()
    cluster.run_until(cluster.is_converged, 60.0)
    start = world.now
    _writes(cluster, peers * 3, until=start + peers * 2.0)
    for number, node in enumerate(cluster.nodes):
        world.at(start + number * 2.0, _restart, node, 1.0)
    world.run(start + peers * 2.0 + 1.5)
    took = cluster.settle(SETTLE_S)
    cluster.check_converged()
    return {"settled_s": round(took, 2)}


def cloned_identity(world: World, peers: int) -> Summary:
    """Two machines run with one key: it is noticed and named, and costs the others little."""
    cluster = Cluster(world, peers)
    cluster.start()
    cluster.run_until(cluster.is_converged, 30.0)
    original = cluster.nodes[0]
    clone = cluster.make_node(peers, targets=(f"{cluster.nodes[-1].ip}:6783",), name=original.name)
    clone.start()
    before = sum(node.sent_bytes for node in cluster.nodes)
    world.run(world.now + 60)
    rate = (sum(node.sent_bytes for node in cluster.nodes) - before) / 60 / peers
    if not any("another machine" in text for node in (original, clone) for text in node.core.warnings()):
        raise InvariantBroken("nobody noticed the clone")
    clone.crash()
    took = cluster.settle(2 * SETTLE_S)
    cluster.check_converged(refused=("two contents of one version", CLONED))
    return {"bytes_per_second": round(rate), "settled_s": round(took, 2)}


def two_versions(world: World, peers: int) -> Summary:
    """Half the hosts speak a later version, with messages and fields that the others do not know."""
    cluster = Cluster(world, peers, protocol=lambda number: (3, 3 + number % 2))
    _make_later_versions_talkative(cluster)
    cluster.start()
    _writes(cluster, peers, until=15.0)
    world.run(16.0)
    took = cluster.settle(30.0)
    cluster.check_converged()
    if not any(node.core.refused["message of a later version"] for node in cluster.nodes):
        raise InvariantBroken("the later version said nothing new")
    return {"converged_s": round(took, 2)}


SCENARIOS: dict[str, Scenario] = {
    "convergence": convergence,
    "churn": churn,
    "slow-link": slow_link,
    "one-way": one_way,
    "rolling-restart": rolling_restart,
    "cloned-identity": cloned_identity,
    "two-versions": two_versions,
}


def _writes(cluster: Cluster, count: int, until: float) -> None:
    rng = cluster.world.rng("writes")
    for _ in range(count):
        cluster.world.at(rng.uniform(cluster.world.now, until), _scribble, cluster, rng)


def _scribble(cluster: Cluster, rng: Random) -> None:
    node = rng.choice(cluster.nodes)
    if node.is_up:
        cluster.scribe(node).scribble(rng)


def _containers(cluster: Cluster, count: int, until: float) -> None:
    """Let containers come and go, most of them on a few hosts that take turns: space has to follow them."""
    rng = cluster.world.rng("containers")
    for number in range(count):
        cluster.world.at(rng.uniform(cluster.world.now, until), _come_or_go, cluster, rng, f"c{number}")


def _come_or_go(cluster: Cluster, rng: Random, ident: str) -> None:
    turn = int(cluster.world.now / BUSY_TURN_S) % BUSY_GROUPS
    is_busy = rng.random() < 0.8
    node = rng.choice(cluster.nodes[turn::BUSY_GROUPS] if is_busy else cluster.nodes)
    if node.is_up and isinstance(node.app, Tenants):
        if rng.random() < (0.75 if is_busy else 0.1):
            node.app.allocator.allocate(ident)
        else:
            node.app.allocator.release_one(rng.random())


def _breaks(cluster: Cluster, count: int, until: float) -> None:
    rng = cluster.world.rng("breaks")
    for _ in range(count):
        cluster.world.at(rng.uniform(cluster.world.now, until), _break, cluster, rng)


def _break(cluster: Cluster, rng: Random) -> None:
    node = rng.choice(cluster.nodes)
    if node.is_up and node.ends:
        cluster.network.break_connection(node.ends[rng.choice(sorted(node.ends))])


def _crashes(cluster: Cluster, count: int, until: float) -> None:
    rng = cluster.world.rng("crashes")
    for _ in range(count):
        node = rng.choice(cluster.nodes)
        cluster.world.at(rng.uniform(cluster.world.now, until), _restart, node, rng.uniform(0.1, 8.0))


def _restart(node: Node, pause: float) -> None:
    if node.is_up:
        node.crash()
        node.world.after(pause, node.start)


def _split(cluster: Cluster) -> None:
    rng = cluster.world.rng("partition")
    ips = [node.ip for node in cluster.nodes]
    rng.shuffle(ips)
    cut = rng.randrange(1, len(ips))
    cluster.network.partition(ips[:cut], ips[cut:])


def _make_later_versions_talkative(cluster: Cluster) -> None:
    """Let hosts of the later version say things that this version has never heard of."""
    def chat(node: Node) -> None:
        for conn in sorted(node.ends):
            cluster.network.send(node.ends[conn], Unknown(77))
        cluster.world.after(1.0, chat, node)

    for node in cluster.nodes[1::2]:
        cluster.world.after(2.0, chat, node)


