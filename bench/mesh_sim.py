"""The mesh at sizes that no machine can run for real: the cores of many peers in one process, on a virtual clock.

It forms a mesh from nothing, lets it settle, lets it rest (what does an idle peer send?), and lets it work. While it
settles and while it works, peers publish changes at random, and it is noted when each was everywhere. Everything
follows from the seed; only the events per second are this machine's. Bytes are those of the messages and of the
record around each; TCP and IP headers come on top.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isinf
from typing import TYPE_CHECKING

from bench.harness import run
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median, percentile

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.node import Node
    from weave.mesh.effects import PeersChanged
    from weave.mesh.entries import ChannelChange
    from weave.names import PeerName

NAME = "mesh-sim"
MEASURED = "1,000 peers simulated: a change is everywhere (p99); idle bytes per peer per second; most connections"
GOAL = "≤ 2 s; ≤ 2 kB/s; ≤ 30"

FORM_LIMIT_S = 120.0
SETTLE_S = 40.0
"""A mass start makes more connections than are needed; the surplus is given up half a minute later."""
QUIET_S = 10.0
"""When no connection came or went for so long, the mesh is settled."""
SETTLE_LIMIT_S = 240.0
AFTERWARDS_S = 5.0
CHANNEL = "dns"
VALUE_BYTES = 60
"""Size of a name with its address, as the router announces it."""


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--within", type=float, default=1.0, help="virtual seconds in which all peers start")
    parser.add_argument("--idle", type=float, default=12.0, help="virtual seconds of rest")
    parser.add_argument("--changes", type=int, default=100, help="changes published while it settles, and again later")


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
    """Form, rest, change."""
    from tests.sim.cluster import Cluster
    from tests.sim.world import World
    from weave.mesh.peers import MeshConfig
    from weave.settings import DEFAULT_CONNECTION_LIMIT

    world = World(given.seed)
    spread = Spread(given.peers - 1)
    cluster = Cluster(world, given.peers, config=MeshConfig(connection_limit=DEFAULT_CONNECTION_LIMIT),
                      make_app=lambda node: Listener(node, spread))
    cluster.start(within=given.within)
    forming = _stretch(cluster, lambda: cluster.run_until(cluster.is_converged, FORM_LIMIT_S, step=0.5))
    settling = _stretch(cluster, lambda: _change(cluster, spread, b"settling", given.changes, SETTLE_S))
    unsettled = dict(spread.took)
    settling_s = settling.virtual_s + _until_quiet(cluster)
    resting = _stretch(cluster, lambda: world.run(world.now + given.idle))
    degrees = [len(node.core.connections()) for node in cluster.up]
    working = _stretch(cluster, lambda: _change(cluster, spread, b"working", given.changes, given.idle))
    settled = [took for key, took in spread.took.items() if key not in unsettled]
    return _result(given.peers, (list(unsettled.values()), settled), degrees, settling_s,
                   (forming, resting, working))


def _stretch(cluster: Cluster, act: Callable[[], object]) -> Stretch:
    world = cluster.world
    now, events, sent, cpu = world.now, world.events, _sent(cluster), time.process_time()
    act()
    return Stretch(world.now - now, world.events - events, time.process_time() - cpu, _sent(cluster) - sent)


def _sent(cluster: Cluster) -> int:
    return sum(node.sent_bytes for node in cluster.nodes)


def _change(cluster: Cluster, spread: Spread, phase: bytes, count: int, within: float) -> None:
    world = cluster.world
    rng = world.rng(f"changes {phase!r}")
    end = world.now + within
    for number in range(count):
        key = b"%s %d" % (phase, number)
        world.at(rng.uniform(world.now, end), spread.publish, rng.choice(cluster.nodes), key)
    world.run(end + AFTERWARDS_S)


def _until_quiet(cluster: Cluster) -> float:
    """Run until the links rest; return how long it took."""
    world, began = cluster.world, cluster.world.now
    before, since = -1, began
    while world.now - since < QUIET_S and world.now - began < SETTLE_LIMIT_S:
        links = sum(len(node.ends) for node in cluster.nodes)
        if links != before:
            before, since = links, world.now
        world.run(world.now + 1.0)
    return since - began


def _result(peers: int, took: tuple[list[float], list[float]], degrees: Sequence[int],
            settling_s: float, stretches: tuple[Stretch, Stretch, Stretch]) -> Result:
    forming, resting, working = stretches
    unsettled, settled = took
    everywhere = percentile([*unsettled, *settled], 99)
    idle = resting.sent_bytes / peers / resting.virtual_s / 1000
    rows = [
        Row("peers", peers),
        Row("from the start to all equal, virtual", forming.virtual_s, "s", note=f"{forming.cpu_s:.0f} s of CPU"),
        Row("then until the links rest, virtual", settling_s, "s"),
        Row("sent while forming, per peer", forming.sent_bytes / peers / 1000, "kB"),
        Row("a change is everywhere, links changing, median", median(unsettled), "s"),
        Row("a change is everywhere, links changing, p99", percentile(unsettled, 99), "s"),
        Row("a change is everywhere, settled, median", median(settled), "s"),
        Row("a change is everywhere, settled, p99", percentile(settled, 99), "s"),
        Row("a change costs, settled, per peer", _cost(resting, working) / len(settled) / peers, "bytes"),
        Row("idle, per peer", idle, "kB/s"),
        Row("connections, mean", sum(degrees) / len(degrees)),
        Row("connections, most", max(degrees)),
        Row("simulated events, settled", (resting.events + working.events) / (resting.cpu_s + working.cpu_s), "/s"),
        Row("simulated events, forming", forming.events / forming.cpu_s, "/s"),
    ]
    verdicts = [Verdict("everywhere", everywhere, 2, AT_MOST, "s"), Verdict("idle", idle, 2, AT_MOST, "kB/s"),
                Verdict("degree", max(degrees), 30, AT_MOST)]
    missing = sum(map(isinf, [*unsettled, *settled]))
    notes = [f"everywhere: the p99 of {len(unsettled) + len(settled)} changes, also those published while links change"]
    notes += [f"{missing} changes did not get everywhere"] if missing else []
    return Result(NAME, rows, verdicts, notes)


def _cost(resting: Stretch, working: Stretch) -> float:
    """Return the bytes that changes added to what is sent anyway."""
    return working.sent_bytes - resting.sent_bytes / resting.virtual_s * working.virtual_s
