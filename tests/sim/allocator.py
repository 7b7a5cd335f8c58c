"""Allocation on a simulated host: the real core on the real mesh, a disk that forgets, and a ledger that does not.

The ledger stands outside the world. It notes what every host was promised, and after every step sees that nobody was
promised an address that somebody else holds, that no two hosts own an address in their own views, and that a host
forgot nothing that it had acknowledged, not even over a crash.
"""

from __future__ import annotations

from collections import deque
from ipaddress import ip_network
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.sim.world import InvariantBroken
from weave.errors import LocalError
from weave.ipam.core import IpamCore
from weave.ipam.effects import Answer, Effect, Outcome, Persist, Publish, SendTo
from weave.ipam.intervals import Intervals
from weave.ipam.modes import Consensus
from weave.ipam.stored import table_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.node import Node
    from weave.mesh.effects import PeersChanged
    from weave.mesh.entries import ChannelChange
    from weave.names import PeerName

CHANNEL = "ipam"
KIND = "ipam"
ADDRESSES_PER_HOST = 6
"""Few enough that busy hosts run out and have to ask others for space."""


class Ledger:
    """What must be true of all allocators together."""

    def __init__(self, electors: int) -> None:
        self.electors = electors
        self.range = ip_network(f"10.32.0.0/{32 - (electors * ADDRESSES_PER_HOST - 1).bit_length()}")
        self.holders: dict[int, tuple[PeerName, str]] = {}
        """Who was promised an address."""
        self.hosts: dict[PeerName, Allocator] = {}
        self.granted = 0
        self.released = 0
        self._owned: dict[PeerName, tuple[object, object]] = {}

    def promise(self, host: PeerName, ident: str, address: int) -> None:
        """Note an acknowledged address; nobody else may hold it."""
        holder = self.holders.get(address)
        if holder not in (None, (host, ident)):
            raise InvariantBroken(f"address {address:#x} of {ident} on {host} is held by {holder}")
        self.granted += holder is None
        self.holders[address] = (host, ident)

    def held_by(self, host: PeerName) -> dict[int, str]:
        """Return what a host was promised."""
        return {address: ident for address, (holder, ident) in self.holders.items() if holder == host}

    def check(self, host: Allocator) -> None:
        """See what must be true after whatever a host did."""
        name, core = host.node.name, host.core
        estate = core.estate
        view = (estate.mine, core.space.fences) if estate is not None and core.is_active() else ((), ())
        if self._owned.get(name) == view:
            return
        self._owned[name] = view
        self._check_owners()

    def _check_owners(self) -> None:
        owners: list[tuple[int, int, PeerName]] = []
        for name, (mine, fences) in self._owned.items():
            if not self.hosts[name].node.is_up:
                continue
            owned = Intervals((segment.start, segment.end) for segment in mine)  # type: ignore[attr-defined]
            for _, start, end in fences:  # type: ignore[attr-defined]
                owned.remove(start, end)
            owners += [(start, end, name) for start, end in owned]
        owners.sort()
        for one, other in pairwise(owners):
            if other[0] < one[1]:
                raise InvariantBroken(f"{one} and {other} own the same addresses")

    def check_memory(self, host: Allocator) -> None:
        """See that a host that has just started remembers what it had promised."""
        for address, ident in self.held_by(host.node.name).items():
            if address not in host.core.space.of(ident):
                raise InvariantBroken(f"{host.node.ip} forgot {address:#x} of {ident}")

    def is_served(self) -> bool:
        """Say whether nobody waits for an address any more; there are always enough for all."""
        return not any(host.waiting() for host in self.hosts.values() if host.node.is_up)

    def check_agreed(self) -> None:
        """See that all views of the ring are equal, and that every address has an owner."""
        up = [host for host in self.hosts.values() if host.node.is_up]
        rings = {}
        for host in up:
            if host.core.estate is None:
                raise InvariantBroken(f"{host.node.ip} has no ring: {host.core.status()}")
            rings[host.node.ip] = (host.core.estate.division, host.core.estate.ring.ranges())
        if len(set(map(str, rings.values()))) != 1:
            raise InvariantBroken(f"{len(set(map(str, rings.values())))} views of the ring")
        assert up[0].core.estate is not None
        owned = sum(segment.size for segment in up[0].core.estate.ring.segments())
        if owned != self.range.num_addresses:
            raise InvariantBroken(f"{self.range.num_addresses - owned} addresses belong to nobody")


class Allocator:
    """The application of one node."""

    def __init__(self, node: Node, ledger: Ledger, is_elector: Callable[[Node], bool] = lambda _node: True) -> None:
        self.node = node
        self.ledger = ledger
        self.core = IpamCore(
            me=node.name, range_=ledger.range, default_subnet=None, init=Consensus(ledger.electors),
            rng=node.world.rng(f"allocator {node.ip} {node.life}"),
            stored={table: node.disk.read(table) for table in table_names(ledger.range.version)})
        self._effects: deque[Effect] = deque()
        self._early: list[tuple[PeerName, bytes, bytes | None]] = []
        self._waiting: dict[int, str] = {}
        self._next_request = 1
        self._is_committing = False
        self._is_started = False
        self._wakes_at = -1.0
        self._life = node.life
        ledger.hosts[node.name] = self

    # --- what the node tells

    def start(self) -> None:
        self._is_started = True
        self.ledger.check_memory(self)
        self._feed(self.core.start(self.node.world.now))
        if self._early:
            self._feed(self.core.entries_changed(self._early, self.node.world.now))

    def changed(self, channel: str, changes: tuple[ChannelChange, ...]) -> None:
        if channel != CHANNEL:
            return
        entries = [(change.owner, change.key, change.value) for change in changes]
        if self._is_started:
            self._feed(self.core.entries_changed(entries, self.node.world.now))
        else:
            self._early += entries

    def delivered(self, source: PeerName, kind: str, payload: bytes) -> None:
        if kind == KIND:
            self._feed(self.core.message(source, payload, self.node.world.now))

    def peers_changed(self, effect: PeersChanged) -> None:
        reachable = self.node.core.reachable()
        self._feed(self.core.peers_changed(reachable, {}, self.node.world.now))

    # --- what containers want

    def allocate(self, ident: str) -> None:
        request = self._new_request(ident)
        self._feed(self.core.allocate(request, ident, None, self.node.world.now))

    def release_one(self, choice: float) -> None:
        """Release one of the containers of this host."""
        held = sorted(self.ledger.held_by(self.node.name).items())
        if not held:
            return
        address, ident = held[int(choice * len(held))]
        del self.ledger.holders[address]  # from now on it may be gone
        self.ledger.released += 1
        self._feed(self.core.release(self._new_request(""), ident, None, self.node.world.now))

    def waiting(self) -> list[str]:
        """Return who waits for an address."""
        return sorted(ident for ident in self._waiting.values() if ident)

    def _new_request(self, ident: str) -> int:
        request, self._next_request = self._next_request, self._next_request + 1
        self._waiting[request] = ident
        return request

    # --- effects, as the service carries them out

    def _feed(self, effects: list[Effect]) -> None:
        self._effects.extend(effects)
        self._pump()
        self.ledger.check(self)
        self._sleep()

    def _pump(self) -> None:
        while self._effects and not self._is_committing:
            batch = list(self._effects)
            self._effects.clear()
            rows = [change for effect in batch if isinstance(effect, Persist) for change in effect.changes]
            if rows:
                self._is_committing = True
                self.node.commit(rows, lambda batch=batch: self._committed(batch))  # type: ignore[misc]
                return
            self._perform_all(batch)

    def _committed(self, batch: list[Effect]) -> None:
        self._is_committing = False
        self._perform_all(batch)
        self._pump()
        self.ledger.check(self)

    def _perform_all(self, batch: list[Effect]) -> None:
        for effect in batch:
            if not self.node.is_up or self.node.life != self._life:
                return
            match effect:
                case Publish(key, value):
                    self.node.publish(CHANNEL, key, value)
                case SendTo(peer, payload):
                    self.node.send(peer, KIND, payload)
                case Answer(request, outcome):
                    self._answered(request, outcome)
                case Persist():
                    pass

    def _answered(self, request: int, outcome: Outcome) -> None:
        ident = self._waiting.pop(request, None)
        if ident and outcome is not None and not isinstance(outcome, LocalError | int):
            self.ledger.promise(self.node.name, ident, int(outcome.ip))

    # --- time

    def _sleep(self) -> None:
        due = self.core.deadline()
        if due < float("inf") and due != self._wakes_at:
            self._wakes_at = due
            self.node.world.at(due, self._wake, due)

    def _wake(self, due: float) -> None:
        if self.node.is_up and self.node.life == self._life and due == self._wakes_at:
            self._wakes_at = -1.0
            self._feed(self.core.tick(self.node.world.now))
