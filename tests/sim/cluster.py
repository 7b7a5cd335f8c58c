"""Many nodes, the faults that befall them, and what must be true of them in the end."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import cast

from tests.sim.allocator import CHANNEL as ALLOCATION
from tests.sim.allocator import Allocator, Ledger
from tests.sim.network import Network
from tests.sim.node import App, Disk, Node
from tests.sim.scribe import CHANNELS, DURABLE, Scribe
from tests.sim.world import InvariantBroken, World
from weave.mesh.effects import PeersChanged
from weave.mesh.entries import ChannelChange
from weave.mesh.network import Memo
from weave.mesh.peers import MeshConfig
from weave.names import PeerName

HARMLESS = ("unicast without a route", "unicast over a congested link", "message of a later version")


def name_of(number: int) -> PeerName:
    raw = bytearray(blake2b(b"%d" % number, digest_size=6).digest())
    raw[0] = raw[0] & 0xFC | 2
    return PeerName(bytes(raw).hex(":"))


def ip_of(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


class Tenants:
    """A scribe and an allocator on one node, as a router has names and addresses."""

    def __init__(self, node: Node, ledger: Ledger) -> None:
        self.scribe = Scribe(node)
        self.allocator = Allocator(node, ledger)

    def start(self) -> None:
        self.scribe.start()
        self.allocator.start()

    def changed(self, channel: str, changes: tuple[ChannelChange, ...]) -> None:
        (self.allocator if channel == ALLOCATION else self.scribe).changed(channel, changes)

    def delivered(self, source: PeerName, kind: str, payload: bytes) -> None:
        self.allocator.delivered(source, kind, payload)

    def peers_changed(self, effect: PeersChanged) -> None:
        self.scribe.peers_changed(effect)
        self.allocator.peers_changed(effect)


class Cluster:
    """`size` nodes on one network; each is told the addresses of `seeds` others."""

    def __init__(
        self,
        world: World,
        size: int,
        *,
        make_app: Callable[[Node], App] = Scribe,
        config: MeshConfig | None = None,
        seeds: int = 2,
        protocol: Callable[[int], tuple[int, int]] = lambda _number: (3, 3),
    ) -> None:
        self.world = world
        self.network = Network(world)
        self.memo = Memo.shared()
        self.config = config or MeshConfig(channels=(*CHANNELS, ALLOCATION), durable=frozenset({DURABLE, ALLOCATION}))
        self._make_app = make_app
        rng = world.rng("targets")
        self.nodes = [
            self.make_node(number, targets=_targets(rng, number, seeds), protocol=protocol(number))
            for number in range(size)
        ]

    def make_node(
        self,
        number: int,
        *,
        targets: tuple[str, ...],
        name: PeerName | None = None,
        disk: Disk | None = None,
        protocol: tuple[int, int] = (3, 3),
    ) -> Node:
        return Node(
            world=self.world,
            network=self.network,
            name=name or name_of(number),
            ip=ip_of(number),
            make_app=self._make_app,
            config=self.config,
            targets=targets,
            memo=self.memo,
            disk=disk,
            protocol=protocol,
        )

    def start(self, within: float = 0.1) -> None:
        """Start everybody, at random within some seconds."""
        rng = self.world.rng("start")
        for node in self.nodes:
            self.world.after(rng.uniform(0, within), node.start)

    @property
    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.is_up]

    def scribe(self, node: Node) -> Scribe:
        return node.app.scribe if isinstance(node.app, Tenants) else cast(Scribe, node.app)

    # --- judging

    def is_connected(self) -> bool:
        """Say whether everybody sees everybody."""
        everybody = frozenset(node.name for node in self.up)
        return all(node.core.reachable() == everybody for node in self.up)

    def is_converged(self) -> bool:
        """Say whether all see each other and hold the same in every channel."""
        return len(self._roots()) == 1 and self.is_connected() and self._is_published()

    def _roots(self) -> set[tuple[tuple[str, str], ...]]:
        return {tuple((view.channel, view.root) for view in node.core.counters()) for node in self.up}

    def _is_published(self) -> bool:
        """Say whether the links of all, as another sees them, are those that they have."""
        if len(self.up) < 2:
            return True
        published = {view.name: view.links for view in self.up[0].core.peers()}
        (first,) = (view for view in self.up[1].core.peers() if view.name == self.up[0].name)
        published[first.name] = first.links
        return all(
            {view.peer for view in node.core.connections() if view.established}
            == {link.peer for link in published[node.name] if link.established}
            for node in self.up
        )

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 0.1) -> float:
        """Run until a condition holds; return how long it took, or raise."""
        start = self.world.now
        while not condition():
            if self.world.now - start >= limit:
                raise InvariantBroken(f"not within {limit:g} s: {self.disagreement()}")
            self.world.run(self.world.now + step)
        return self.world.now - start

    def settle(self, limit: float) -> float:
        """Run until all have agreed for two seconds: nothing is on its way any more; return when they first did."""
        start = self.world.now
        while True:
            self.run_until(self.is_converged, limit - (self.world.now - start))
            agreed_at, agreed_on = self.world.now, self._roots()
            self.world.run(agreed_at + 2)
            if self.is_converged() and self._roots() == agreed_on:
                return agreed_at - start

    def disagreement(self) -> str:
        """Say in words how far the nodes are apart."""
        everybody = len(self.up)
        partial = sum(len(node.core.reachable()) != everybody for node in self.up)
        apart = []
        for channel in ("topology", *CHANNELS):
            roots = {view.root for node in self.up for view in node.core.counters() if view.channel == channel}
            apart.append(f"{channel} has {len(roots)} roots")
        return f"{partial} of {everybody} nodes do not reach everybody; {', '.join(apart)}"

    def check_converged(self, *, refused: tuple[str, ...] = ()) -> None:
        """Check everything that must be true after healing; nothing may have been refused but for these reasons."""
        if not self.is_converged():
            raise InvariantBroken(self.disagreement())
        for channel in CHANNELS:
            self._check_truth(channel)
        self._check_routes()
        for node in self.up:
            _check_refused(node, {*HARMLESS, *refused})

    def _check_truth(self, channel: str) -> None:
        """Check that everybody heard exactly what the owners that are up have published."""
        truth = {
            (node.name, key): value for node in self.up for key, value in self.scribe(node).truth[channel].items()
        }
        up = {node.name for node in self.up}
        for node in self.up:
            heard = {key: value for key, value in self.scribe(node).heard[channel].items() if key[0] in up}
            heard = {key: value for key, value in heard.items() if key[0] != node.name}
            wanted = {key: value for key, value in truth.items() if key[0] != node.name}
            if heard != wanted:
                odd = sorted(set(heard.items()) ^ set(wanted.items()))[:4]
                raise InvariantBroken(f"{node.ip} differs from the truth in {channel}: {odd}")

    def _check_routes(self) -> None:
        """Check that unicast paths end, and that every broadcast reaches everybody once."""
        vias = {
            node.name: {route.destination: route.via for route in node.core.unicast_routes()} for node in self.up
        }
        relays = {
            node.name: {route.source: route.via for route in node.core.broadcast_routes()} for node in self.up
        }
        for destination in vias:
            for source in vias:
                _follow(vias, source, destination)
        for source in relays:
            reached = [child for relay in relays.values() for child in relay[source]]
            if sorted([*reached, source]) != sorted(relays):
                raise InvariantBroken(f"a broadcast of {source} reaches {len(set(reached))} peers")


def _check_refused(node: Node, expected: set[str]) -> None:
    odd = {reason: count for reason, count in node.core.refused.items() if reason not in expected}
    if odd:
        raise InvariantBroken(f"{node.ip} refused {odd}")


def _follow(vias: dict[PeerName, dict[PeerName, PeerName]], source: PeerName, destination: PeerName) -> None:
    here = source
    for _ in vias:
        if here == destination:
            return
        here = vias[here][destination]
    raise InvariantBroken(f"the route from {source} to {destination} does not end")


def _targets(rng: Random, number: int, seeds: int) -> tuple[str, ...]:
    """Every node knows node 0 or an earlier one, so that the whole can find together."""
    known = {rng.randrange(number) if number else 0 for _ in range(seeds)}
    return tuple(f"{ip_of(other)}:6783" for other in sorted(known) if other != number)


