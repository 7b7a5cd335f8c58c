"""Two hosts with encrypted links, and between them a mesh and an underlay that can be cut, tunnel by tunnel.

A probe arrives where the kernels would let it: through WireGuard when each end has the other with the same pre-shared
key, by ESP when the sender steers to an association that both have.
"""

from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from ipaddress import ip_address
from random import Random

from weave.names import PeerName
from weave.net.crypt.candidates import Claim, Mode, claim_of
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.core import CryptCore, Found
from weave.net.crypt.effects import Drop, Effect, Emit, Install, Settle, Tell
from weave.net.crypt.keys import inner_address, wireguard_keys
from weave.net.crypt.pact import Party
from weave.net.crypt.pact_messages import Way
from weave.net.crypt.peer import Counterpart, Host
from weave.net.wireguard.plan import PeerWish
from weave.netlink.xfrm import Association
from weave.noise.keys import KeyPair

A, B = PeerName("02:00:00:00:00:01"), PeerName("02:00:00:00:00:02")
ADDRESS = {A: ip_address("192.0.2.1"), B: ip_address("192.0.2.2")}
STATIC = {name: KeyPair.from_private(bytes([index]) * 32) for index, name in enumerate((A, B), 1)}
ABLE = KernelAbility("", "", "")
NO_WIREGUARD = KernelAbility("this kernel has no WireGuard", "", "")
NO_ESP = KernelAbility("", "this kernel has no ESP", "this kernel has no ESP")
UNABLE = KernelAbility("this kernel has no WireGuard", "this kernel has no ESP", "this kernel has no ESP")
PASSWORD = b"p" * 32
DELAY_S = 0.01
SETTLED_S = 15.0
MTU = 1350


@dataclass
class Node:
    """A host: its core, and the kernel that did what it was told."""

    core: CryptCore
    associations: dict[tuple[object, int], Association] = field(default_factory=dict)
    steered: dict[Way, int] = field(default_factory=dict)
    wireguard: dict[bytes, PeerWish] = field(default_factory=dict)
    largest: int = 1500
    seen: list[Mode | None] = field(default_factory=list)


class Hosts:
    """Both hosts and a clock."""

    def __init__(self, seed: int = 1, **abilities: KernelAbility) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.abilities = {A: abilities.get("a", ABLE), B: abilities.get("b", ABLE)}
        self.cut: set[Mode] = set()
        self.large_cut: set[Mode] = set()
        self.mesh_cut = False
        self.translated = False
        self.away: set[PeerName] = set()
        """Hosts whose router is down, as the other one knows."""
        self.lives = {A: 0, B: 0}
        self._events: list[tuple[float, int, PeerName, object]] = []
        self._count = 0
        self.nodes: dict[PeerName, Node] = {}
        for name in (A, B):
            self.start(name)

    def other(self, name: PeerName) -> PeerName:
        return B if name == A else A

    def claim(self, name: PeerName) -> Claim:
        return claim_of(self.abilities[name], wireguard_keys(STATIC[name].private).public, 6785, 6786)

    def start(self, name: PeerName, *, reboot: bool = True) -> None:
        """Start a host's router; without `reboot` it finds its kernel as it was."""
        self.lives[name] += 1
        kept = None if reboot else self.nodes[name]
        found = Found() if kept is None else Found(frozenset(kept.wireguard), dict(kept.steered))
        host = Host(Party(name, STATIC[name], self.lives[name], (PASSWORD,)), self.abilities[name], self.claim(name),
                    MTU, 1420)
        core = CryptCore(host, wireguard_keys(STATIC[name].private), found, rng=Random(self.rng.random()),
                         entropy=self.rng.randbytes, now=self.now)
        self.nodes[name] = Node(core) if kept is None else replace(kept, core=core)

    def want(self, *names: PeerName) -> None:
        for name in names or (A, B):
            other = self.other(name)
            wish = Counterpart(other, STATIC[other].public, self.claim(other), Way(ADDRESS[name], ADDRESS[other]),
                               self.translated, self.other(name) not in self.away)
            self.perform(name, self.nodes[name].core.want([wish], self.now))

    def perform(self, name: PeerName, effects: list[Effect]) -> None:
        node = self.nodes[name]
        for effect in effects:
            match effect:
                case Tell(peer, payload):
                    if not self.mesh_cut:
                        self._post(peer, payload)
                case Install(_, association):
                    node.associations[association.destination, association.spi] = association
                case Drop(association):
                    node.associations.pop((association.destination, association.spi), None)
                case Settle():
                    wish = node.core.wireguard_wish()
                    kept = {key: peer for key, peer in node.wireguard.items() if key in wish.kept}
                    node.wireguard = kept | {peer.public_key: peer for peer in wish.peers}
                    node.steered = {way: spi for way, spi in node.steered.items() if way in node.core.kept_ways()}
                    node.steered |= node.core.steered()
                case Emit():
                    if self.passes(name, effect.mode, len(effect.datagram)):
                        self._post(effect.peer, effect)
        node.seen.append(self.mode(name))

    def passes(self, name: PeerName, mode: Mode, size: int = 0) -> bool:
        """Say whether a datagram would get through a tunnel."""
        here, there = self.nodes[name], self.nodes[self.other(name)]
        if mode in self.cut or (mode in self.large_cut and size > 1000):
            return False
        if mode is Mode.WIREGUARD:
            ours = here.wireguard.get(self.claim(self.other(name)).wireguard_key)
            theirs = there.wireguard.get(self.claim(name).wireguard_key)
            return ours is not None and theirs is not None and ours.preshared_key == theirs.preshared_key
        spi = here.steered.get(Way(ADDRESS[name], ADDRESS[self.other(name)]), 0)
        key = ADDRESS[self.other(name)], spi
        return key in here.associations and here.associations[key] == there.associations.get(key)

    def _post(self, to: PeerName, what: object) -> None:
        self._count += 1
        heappush(self._events, (self.now + DELAY_S, self._count, to, what))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            times = [node.core.deadline() for name, node in self.nodes.items() if name not in self.away]
            times += [item[0] for item in self._events[:1]]
            self.now = max(self.now, min(times))
            if self.now > until:
                self.now = until
                return
            if self._events and self._events[0][0] <= self.now:
                _, _, to, what = heappop(self._events)
                if to in self.away:
                    continue
                core = self.nodes[to].core
                if isinstance(what, bytes):
                    self.perform(to, core.message(self.other(to), what, self.now))
                elif isinstance(what, Emit):
                    source = inner_address(self.other(to)) if what.mode is Mode.WIREGUARD else ADDRESS[self.other(to)]
                    self.perform(to, core.probe(what.datagram, source, self.now))
            for name, node in self.nodes.items():
                if name in self.away:
                    continue
                self.perform(name, node.core.tick(self.now))

    def mode(self, name: PeerName) -> Mode | None:
        """Return the tunnel that a host uses."""
        link = self.nodes[name].core.links().get(self.other(name))
        return None if link is None else link.mode

    def modes(self) -> set[Mode | None]:
        return {self.mode(A), self.mode(B)}

    def reason(self, name: PeerName) -> str:
        return self.nodes[name].core.links()[self.other(name)].words()
