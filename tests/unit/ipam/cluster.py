"""A small cluster of allocators over a network that loses, delays, repeats and reorders, with disks that forget.

Gossip is a model of the durable channel: each host holds everybody's entries, pushes its own at once, and compares
all of them with a random host every second. A crash loses the core, what was not synced, and a second of the
replica. After every event the invariants are checked:

    no address is acknowledged to two holders, no address has two active owners in their own views,
    what was acknowledged is still held, before and after a crash
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from itertools import pairwise
from random import Random
from typing import Any

from store import MemoryDisk
from tests.sim.world import InvariantBroken, World
from weave.addresses import IPNetwork
from weave.errors import LocalError
from weave.ipam.core import IpamCore
from weave.ipam.effects import Answer, Effect, Outcome, Persist, Publish, SendTo
from weave.ipam.intervals import Intervals
from weave.ipam.modes import InitMode
from weave.ipam.ring import Segment
from weave.ipam.stored import table_names
from weave.names import PeerName

RANGE = ip_network("10.32.0.0/24")
HEAL_S = 1.0
NOTICE_S = 0.3
"""How long it takes at most until a host notices who is reachable."""


def peer(number: int) -> PeerName:
    return PeerName(f"02:00:00:00:00:{number:02x}")


@dataclass
class Faults:
    """How bad the network is."""

    loss: float = 0.0
    delay: float = 0.01
    repeat: float = 0.0
    sync: float = 0.004
    """How long a commit takes at most."""


@dataclass(eq=False)
class Host:
    name: PeerName
    init: InitMode
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    core: IpamCore | None = None
    life: int = 0
    incarnation: int = 0
    """As the mesh counts its lives: an old database sets it back."""
    effects: deque[Effect] = field(default_factory=deque)
    is_committing: bool = False
    replica: dict[tuple[PeerName, bytes], tuple[tuple[int, int], bytes | None]] = field(default_factory=dict)
    saved: dict[tuple[PeerName, bytes], tuple[tuple[int, int], bytes | None]] = field(default_factory=dict)
    counter: tuple[int, int] = (0, 0)
    reachable: frozenset[PeerName] = frozenset()
    wanted: dict[int, Callable[[Outcome], None]] = field(default_factory=dict)
    held: dict[str, set[int]] = field(default_factory=dict)
    """What was acknowledged, by ident."""
    releases: dict[str, int] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    """Idents whose release was never acknowledged."""
    tick_at: float = -1.0
    is_dead: bool = False
    is_excused: bool = False
    """Its database was replaced by an old one: it may have forgotten."""


@dataclass
class Snapshot:
    """A copy of the database of a host: the allocator's rows and the mesh's."""

    disk: MemoryDisk
    saved: dict[tuple[PeerName, bytes], tuple[tuple[int, int], bytes | None]]
    incarnation: int


def ring_of(host: Host) -> bytes:
    """Return the id of the ring that a host runs; a crashed one counts as being in every ring."""
    return b"" if host.core is None or host.core.estate is None else host.core.estate.division.ring_id


class Cluster:
    def __init__(
        self, world: World, inits: Sequence[InitMode], *, network: IPNetwork = RANGE, faults: Faults | None = None
    ) -> None:
        self.world = world
        self.network = network
        self.faults = faults or Faults()
        self.rng = world.rng("cluster")
        self.hosts = {peer(number): Host(peer(number), init) for number, init in enumerate(inits, start=1)}
        self.sides: dict[PeerName, int] = dict.fromkeys(self.hosts, 0)
        self.outcomes: dict[int, Outcome] = {}
        self._next_request = 1
        self._owned: dict[PeerName, tuple[tuple[Segment, ...], tuple[tuple[float, int, int], ...]]] = {}

    # --- hosts -----------------------------------------------------------------------------------------------------

    def __getitem__(self, number: int) -> Host:
        return self.hosts[peer(number)]

    def alive(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.core is not None]

    def start(self, *numbers: int) -> None:
        for number in numbers or range(1, len(self.hosts) + 1):
            self._start(self[number])

    def _start(self, host: Host) -> None:
        host.life += 1
        host.incarnation += 1
        mine = [version for (owner, _), (version, _) in host.saved.items() if owner == host.name]
        host.counter = max([(host.incarnation, 0), *mine])
        host.replica = dict(host.saved)
        host.reachable = frozenset()
        host.is_committing = False
        host.core = IpamCore(
            me=host.name, range_=self.network, default_subnet=None, init=host.init,
            rng=Random(f"{self.world.seed}/{host.name}/{host.life}"),
            stored={table: host.disk.read(table) for table in table_names(self.network.version)})
        self._feed(host, host.core.start(self.world.now))
        replay = [(owner, key, value) for (owner, key), (_, value) in sorted(host.replica.items())]
        if replay:
            self._feed(host, host.core.entries_changed(replay, self.world.now))
        self._heal(host, host.life)
        self._notice()

    def crash(self, number: int) -> None:
        host = self[number]
        self.world.note("crash", host.name)
        host.disk.crash(self.rng.randrange(host.disk.unsynced + 1))
        host.core = None
        host.effects.clear()
        host.wanted.clear()
        self._notice()

    def snapshot(self, number: int) -> Snapshot:
        """Copy the database of a host."""
        host = self[number]
        disk = deepcopy(host.disk)
        disk.crash()
        return Snapshot(disk, dict(host.saved), host.incarnation)

    def restore(self, number: int, snapshot: Snapshot) -> None:
        """Put an old database in the place of that of a crashed host."""
        host = self[number]
        host.disk, host.saved, host.incarnation = deepcopy(snapshot.disk), dict(snapshot.saved), snapshot.incarnation
        host.held.clear()
        host.is_excused = True

    def split(self, *groups: Iterable[int]) -> None:
        """Part the network into groups; who is in none is alone."""
        self.sides = {name: -index for index, name in enumerate(self.hosts, start=1)}
        for side, group in enumerate(groups):
            self.sides.update({peer(number): side for number in group})
        self._notice()

    def heal(self) -> None:
        self.sides = dict.fromkeys(self.hosts, 0)
        self._notice()

    def connected(self, one: PeerName, other: PeerName) -> bool:
        both = self.hosts[one].core is not None and self.hosts[other].core is not None
        return both and self.sides[one] == self.sides[other]

    def _notice(self) -> None:
        for host in self.alive():
            self.world.after(self.rng.uniform(0, NOTICE_S), self._look, host)

    def _look(self, host: Host) -> None:
        reachable = frozenset(name for name in self.hosts if self.connected(host.name, name))
        if host.core is not None and reachable != host.reachable:
            host.reachable = reachable
            self._feed(host, host.core.peers_changed(reachable, {}, self.world.now))

    # --- requests ----------------------------------------------------------------------------------------------------

    def allocate(self, number: int, ident: str, subnet: IPNetwork | None = None) -> int:
        return self._request(number, lambda core, request, now: core.allocate(request, ident, subnet, now),
                             self._holding(number, ident))

    def claim(self, number: int, ident: str, text: str) -> int:
        return self._request(number, lambda core, request, now: core.claim(request, ident, ip_interface(text), now),
                             self._holding(number, ident))

    def release(self, number: int, ident: str) -> int:
        host = self[number]
        host.held.pop(ident, None)  # from now on it may be gone
        host.releases[ident] = host.releases.get(ident, 0) + 1
        host.unsure.add(ident)
        return self._request(number, lambda core, request, now: core.release(request, ident, None, now),
                             lambda host, _outcome: host.unsure.discard(ident))

    def takeover(self, number: int, dead: int) -> int:
        return self._request(number, lambda core, request, now: core.takeover(request, peer(dead), now))

    def surrender(self, number: int) -> int:
        return self._request(number, lambda core, request, now: core.surrender(request, now))

    def prime(self, number: int) -> int:
        return self._request(number, lambda core, request, now: core.prime(request, now))

    def cancel(self, number: int, request: int) -> None:
        core = self[number].core
        assert core is not None
        self._feed(self[number], core.cancel(request, self.world.now))

    def expect_nobody(self, number: int) -> None:
        core = self[number].core
        assert core is not None
        self._feed(self[number], core.expect_nobody(self.world.now))

    def _request(self, number: int, begin: Callable[[IpamCore, int, float], list[Effect]],
                 then: Callable[[Host, Outcome], None] = lambda _host, _outcome: None) -> int:
        host, request = self[number], self._next_request
        self._next_request += 1
        assert host.core is not None
        host.wanted[request] = lambda outcome: then(host, outcome)
        self._feed(host, begin(host.core, request, self.world.now))
        return request

    # --- effects -----------------------------------------------------------------------------------------------------

    def _feed(self, host: Host, effects: list[Effect]) -> None:
        host.effects.extend(effects)
        self._pump(host)
        self._plan_tick(host)
        self.check(host)

    def _plan_tick(self, host: Host) -> None:
        if host.core is None:
            return
        due = host.core.deadline()
        if due < float("inf") and due != host.tick_at:
            host.tick_at = due
            self.world.at(due, self._tick, host, host.life, due)

    def _tick(self, host: Host, life: int, due: float) -> None:
        if host.core is not None and host.life == life and host.tick_at == due:
            host.tick_at = -1.0
            self._feed(host, host.core.tick(self.world.now))

    def _pump(self, host: Host) -> None:
        """Execute effects as the service does: one commit for all rows that have gathered, then the rest."""
        while host.effects and not host.is_committing:
            batch = list(host.effects)
            host.effects.clear()
            rows = [change for effect in batch if isinstance(effect, Persist) for change in effect.changes]
            if rows:
                host.disk.write(rows)
                host.is_committing = True
                first = next(index for index, effect in enumerate(batch) if isinstance(effect, Persist))
                for effect in batch[:first]:
                    self._perform(host, effect)
                self.world.after(self.rng.uniform(0, self.faults.sync), self._synced, host, host.life, batch[first:])
                return
            for effect in batch:
                self._perform(host, effect)

    def _synced(self, host: Host, life: int, batch: list[Effect]) -> None:
        if host.core is None or host.life != life:
            return
        host.disk.sync()
        host.is_committing = False
        for effect in batch:
            self._perform(host, effect)
        self._pump(host)
        self.check(host)

    def _perform(self, host: Host, effect: Effect) -> None:
        match effect:
            case Publish(key, value):
                old = host.replica.get((host.name, key))
                if (None if old is None else old[1]) != value:
                    host.counter = (host.counter[0], host.counter[1] + 1)
                    host.replica[host.name, key] = (host.counter, value)
                    self._spread(host, [(host.name, key, host.counter, value)])
            case SendTo(name, payload):
                self._send(host.name, name, self._deliver, payload)
            case Answer(request, outcome):
                self.outcomes[request] = outcome
                act = host.wanted.pop(request, None)
                self.world.note("answer", host.name, request, outcome)
                if act is not None:
                    act(outcome)
            case Persist():
                pass

    # --- network -----------------------------------------------------------------------------------------------------

    def _send(self, source: PeerName, target: PeerName, receive: Callable[..., None], *args: Any) -> None:
        for _ in range(1 + (self.rng.random() < self.faults.repeat)):
            if self.rng.random() >= self.faults.loss:
                delay = self.rng.uniform(0.001, 0.001 + self.faults.delay)
                self.world.after(delay, self._arrive, source, target, receive, args)

    def _arrive(self, source: PeerName, target: PeerName, receive: Callable[..., None], args: Any) -> None:
        if self.connected(source, target):
            receive(self.hosts[target], source, *args)

    def _deliver(self, host: Host, source: PeerName, payload: bytes) -> None:
        assert host.core is not None
        self._feed(host, host.core.message(source, payload, self.world.now))

    def _spread(self, host: Host, entries: list[Any]) -> None:
        for name in sorted(self.hosts):
            if name != host.name:
                self._send(host.name, name, self._learn, entries)

    def _learn(self, host: Host, _source: PeerName, entries: list[Any]) -> None:
        assert host.core is not None
        news = []
        for owner, key, version, value in entries:
            old = host.replica.get((owner, key))
            if old is None or old[0] < version:
                host.replica[owner, key] = (version, value)
                if owner == host.name:
                    host.counter = max(host.counter, version)  # it met what an earlier life wrote
                if (None if old is None else old[1]) != value:
                    news.append((owner, key, value))
        if news:
            self._feed(host, host.core.entries_changed(news, self.world.now))

    def _heal(self, host: Host, life: int) -> None:
        """Compare everything with a random host, every second."""
        if host.core is None or host.life != life:
            return
        host.saved = dict(host.replica)
        others = [name for name in self.hosts if name != host.name and self.connected(host.name, name)]
        if others:
            other = self.rng.choice(others)
            for source, target in ((host.name, other), (other, host.name)):
                entries = [(owner, key, version, value)
                           for (owner, key), (version, value) in sorted(self.hosts[source].replica.items())]
                self._send(source, target, self._learn, entries)
        self.world.after(HEAL_S * self.rng.uniform(0.5, 1.0), self._heal, host, life)

    # --- what must always be true -----------------------------------------------------------------------------------

    def check(self, host: Host) -> None:
        """See what must be true after whatever this host did."""
        self._check_held(host)
        self._check_owners()

    def _check_held(self, host: Host) -> None:
        """See that a host has forgotten nothing."""
        if host.core is None:
            return
        for ident, addresses in host.held.items():
            if not addresses <= host.core.space.of(ident).keys():
                raise InvariantBroken(f"{host.name} forgot one of {sorted(addresses)} of {ident}")

    def _holding(self, number: int, ident: str) -> Callable[[Host, Outcome], None]:
        """Return what notes an acknowledgement, unless the ident was released since."""
        count = self[number].releases.get(ident, 0)
        return lambda host, outcome: (
            self._hold(host, ident, outcome) if host.releases.get(ident, 0) == count else None)

    def _hold(self, host: Host, ident: str, outcome: Outcome) -> None:
        """Take note of an acknowledged address; nobody else may hold it."""
        if isinstance(outcome, LocalError | int | None):
            return
        address = int(outcome.ip)
        if outcome.ip not in self.network:
            return
        for other in self.hosts.values():
            if other.is_dead or ring_of(other) not in (b"", ring_of(host)):
                continue
            for holder, addresses in other.held.items():
                if address in addresses and (other, holder) != (host, ident):
                    raise InvariantBroken(f"{outcome} of {ident} on {host.name} is held by {holder} on {other.name}")
        host.held.setdefault(ident, set()).add(address)

    def _check_owners(self) -> None:
        views = {
            host.name: (host.core.estate.mine, host.core.space.fences) for host in self.alive()
            if host.core is not None and host.core.estate is not None and host.core.is_active()}
        if views == self._owned:
            return
        self._owned = dict(views)
        owners: list[tuple[bytes, int, int, PeerName]] = []
        for name, (mine, fences) in views.items():
            owned = Intervals((segment.start, segment.end) for segment in mine)
            for _, start, end in fences:
                owned.remove(start, end)
            owners += [(ring_of(self.hosts[name]), start, end, name) for start, end in owned]
        owners.sort()
        for one, other in pairwise(owners):
            if one[0] == other[0] and other[1] < one[2]:
                raise InvariantBroken(f"{one} and {other} own the same addresses")

    def check_converged(self) -> None:
        """See that all views are equal, and that nothing is lost."""
        rings = {}
        for host in self.alive():
            assert host.core is not None
            assert host.core.estate is not None, f"{host.name} has no ring: {host.core.status()}"
            rings[host.name] = (host.core.estate.division, host.core.estate.ring.ranges())
        first = next(iter(rings.values()))
        for name, ring in rings.items():
            if ring != first:
                difference = set(ring[1]) ^ set(first[1])
                raise InvariantBroken(f"{name} sees another ring: {first[0] == ring[0]} {difference}")
