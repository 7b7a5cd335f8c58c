"""The mesh at sizes that no machine can run for real: the cores of many peers in one process, on a virtual clock.

The mesh is put together as it is after years (`tests.sim.assembled`), rests (what does an idle peer send?), works, and
works while connections break. While it works, peers publish changes at random, and it is noted when each was
everywhere. With `--form` it forms from nothing instead, which takes a simulator long. Everything follows from the
seed; only the events per second are this machine's. Bytes are those of messages and of the record around each, without
TCP and IP.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isinf
from typing import TYPE_CHECKING

from bench.harness import CannotMeasure, run
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median, percentile

if TYPE_CHECKING:
    from random import Random

    from tests.sim.cluster import Cluster
    from tests.sim.node import App, Node
    from tests.sim.world import World
    from weave.mesh.effects import PeersChanged
    from weave.mesh.entries import ChannelChange
    from weave.names import PeerName

NAME = "mesh-sim"
MEASURED = "1,000 peers simulated: a change is everywhere (p99); idle bytes per peer per second; most connections"
GOAL = "≤ 2 s; ≤ 2 kB/s; ≤ 30"

FORM_LIMIT_S = 300.0
AFTERWARDS_S = 5.0
QUIET_S = 10.0
"""When no connection came or went for so long, a mesh that formed by itself is settled."""
QUIET_LIMIT_S = 240.0
CHANNEL = "dns"
VALUE_BYTES = 60
"""Size of a name with its address, as the router announces it."""


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--form", action="store_true", help="let all start together and find each other")
    parser.add_argument("--seconds", type=float, default=10.0, help="virtual length of each part")
    parser.add_argument("--changes", type=int, default=100, help="changes published in each part with changes")
    parser.add_argument("--breaks", type=int, default=10, help="connections that break while links change")


@dataclass(slots=True)
class Spread:
    """How far each change has come."""

    receivers: int
    began: dict[bytes, float] = field(default_factory=dict)
    heard: dict[bytes, int] = field(default_factory=dict)
    took: dict[bytes, float] = field(default_factory=dict)
    """Seconds from publication until the last peer had it; infinity until then."""

    def publish(self, node: Node, key: bytes) -> None:
        """Let a node publish one more thing."""
        self.began[key] = node.world.now
        self.heard[key] = 0
        self.took[key] = inf
        node.publish(CHANNEL, key, b"x" * VALUE_BYTES)

    def hear(self, key: bytes, now: float) -> None:
        """Take note that one more peer has it."""
        if key in self.heard:
            self.heard[key] += 1
            if self.heard[key] == self.receivers:
                self.took[key] = now - self.began[key]


@dataclass(slots=True)
class Listener:
    """The application on every peer: it only listens."""

    node: Node
    spread: Spread

    def start(self) -> None:
        """Begin with nothing."""

    def changed(self, channel: str, changes: tuple[ChannelChange, ...]) -> None:
        """Note what others published."""
        for change in changes:
            if channel == CHANNEL and change.owner != self.node.name:
                self.spread.hear(change.key, self.node.world.now)

    def delivered(self, source: PeerName, kind: str, payload: bytes) -> None:
        """Take no mail."""

    def peers_changed(self, effect: PeersChanged) -> None:
        """Leave it to the core."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one part of the run cost."""

    virtual_s: float
    events: int
    cpu_s: float
    sent_bytes: int


def measure(given: argparse.Namespace) -> Result:
    """Put together, rest, work, work while links change."""
    from tests.sim.assembled import assemble
    from tests.sim.world import World

    spread = Spread(given.peers - 1)
    world = World(given.seed)
    began = time.process_time()
    cluster = (_form if given.form else assemble)(world, given.peers, lambda node: Listener(node, spread))
    making = Stretch(world.now, world.events, time.process_time() - began, _sent(cluster))
    if not cluster.is_converged():
        raise CannotMeasure(f"the simulated mesh does not come to rest: {cluster.disagreement()}")
    resting = _stretch(cluster, lambda: world.run(world.now + given.seconds))
    degrees = [len(node.core.connections()) for node in cluster.nodes]
    working = _stretch(cluster, lambda: _change(cluster, spread, b"settled", given))
    settled = list(spread.took.values())
    _break(cluster, given)
    _change(cluster, spread, b"unsettled", given)
    unsettled = list(spread.took.values())[len(settled):]
    return _result(given, (settled, unsettled), degrees, (making, resting, working))


def _form(world: World, size: int, make_app: Callable[[Node], App]) -> Cluster:
    """Let all start within a second and find each other, until the links rest."""
    from tests.sim.cluster import Cluster
    from weave.mesh.peers import MeshConfig
    from weave.settings import DEFAULT_CONNECTION_LIMIT

    cluster = Cluster(world, size, make_app=make_app, config=MeshConfig(connection_limit=DEFAULT_CONNECTION_LIMIT))
    cluster.start(within=1.0)
    cluster.run_until(cluster.is_converged, FORM_LIMIT_S, step=0.5)
    before, since, until = -1, world.now, world.now + QUIET_LIMIT_S
    while world.now - since < QUIET_S and world.now < until:
        links = sum(len(node.ends) for node in cluster.nodes)
        if links != before:
            before, since = links, world.now
        world.run(world.now + 1.0)
    return cluster


def _stretch(cluster: Cluster, act: Callable[[], object]) -> Stretch:
    world = cluster.world
    now, events, sent, cpu = world.now, world.events, _sent(cluster), time.process_time()
    act()
    return Stretch(world.now - now, world.events - events, time.process_time() - cpu, _sent(cluster) - sent)


def _sent(cluster: Cluster) -> int:
    return sum(node.sent_bytes for node in cluster.nodes)


def _change(cluster: Cluster, spread: Spread, part: bytes, given: argparse.Namespace) -> None:
    world = cluster.world
    rng = world.rng(f"changes {part!r}")
    end = world.now + given.seconds
    for number in range(given.changes):
        key = b"%s %d" % (part, number)
        world.at(rng.uniform(world.now, end), spread.publish, rng.choice(cluster.nodes), key)
    world.run(end + AFTERWARDS_S)


def _break(cluster: Cluster, given: argparse.Namespace) -> None:
    """Let connections be reset during the part that follows; their peers make them again."""
    world = cluster.world
    rng = world.rng("breaks")
    for _ in range(given.breaks):
        world.at(rng.uniform(world.now, world.now + given.seconds), _break_one, cluster, rng)


def _break_one(cluster: Cluster, rng: Random) -> None:
    node = rng.choice(cluster.nodes)
    if node.ends:
        cluster.network.break_connection(node.ends[rng.choice(sorted(node.ends))])


def _result(given: argparse.Namespace, took: tuple[list[float], list[float]], degrees: Sequence[int],
            stretches: tuple[Stretch, Stretch, Stretch]) -> Result:
    making, resting, working = stretches
    settled, unsettled = took
    everywhere = percentile([*settled, *unsettled], 99)
    idle = resting.sent_bytes / given.peers / resting.virtual_s / 1000
    rows = [
        Row("peers", given.peers),
        Row("formed, virtual" if given.form else "put together, virtual", making.virtual_s, "s",
            note=f"{making.cpu_s:.0f} s of CPU"),
        Row("connections, mean", sum(degrees) / len(degrees)),
        Row("connections, most", max(degrees)),
        Row("idle, per peer", idle, "kB/s"),
        Row("a change is everywhere, median", median(settled), "s"),
        Row("a change is everywhere, p99", percentile(settled, 99), "s"),
        Row("a change costs, per peer", _cost(resting, working) / len(settled) / given.peers, "bytes"),
        Row("a change is everywhere, links changing, median", median(unsettled), "s"),
        Row("a change is everywhere, links changing, p99", percentile(unsettled, 99), "s"),
        Row("simulated events", (resting.events + working.events) / (resting.cpu_s + working.cpu_s), "/s"),
    ]
    if given.form:
        rows.append(Row("sent while forming, per peer", making.sent_bytes / given.peers / 1000, "kB"))
    verdicts = [Verdict("everywhere", everywhere, 2, AT_MOST, "s"), Verdict("idle", idle, 2, AT_MOST, "kB/s"),
                Verdict("degree", max(degrees), 30, AT_MOST)]
    missing = sum(map(isinf, [*settled, *unsettled]))
    notes = [f"everywhere: the p99 of {len(settled) + len(unsettled)} changes, a half of them while links change"]
    notes += [f"{missing} changes did not get everywhere"] if missing else []
    return Result(NAME, rows, verdicts, notes)


def _cost(resting: Stretch, working: Stretch) -> float:
    """Return the bytes that changes added to what is sent anyway."""
    return working.sent_bytes - resting.sent_bytes / resting.virtual_s * working.virtual_s
