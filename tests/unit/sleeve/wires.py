"""Sleeves wired together under a virtual clock; everything is derived from fixed seeds, so every run is the same.

     a ──┐
     b ──┼── net: delays, drops, doubles, reorders as the test says
     c ──┘
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.keys import sleeve_psk
from weave.net.sleeve.model import Effect, Notice, PeerConfig, Resend, Send
from weave.net.sleeve.peer import Inbox, Peer
from weave.net.sleeve.wire import HEADER, HEADER_BYTES, Address, Key, Kind, SleeveError, fragments_of
from weave.noise.keys import KeyPair

PORT = 6783
PSK = sleeve_psk(b"k" * 32)
DELAY_S = 0.001


def key_pair(name: str) -> KeyPair:
    return KeyPair.from_private(hashlib.sha256(name.encode()).digest())


def place(name: str) -> Address:
    return f"192.0.2.{ord(name) - ord('a') + 1}", PORT


@dataclass
class Host:
    """One sleeve and what the shell would do for it, the plain way."""

    name: str
    core: SleeveCore
    address: Address
    received: list[bytes] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    kept: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)

    def unit(self, peer: str, plain: bytes, now: float) -> list[tuple[bytes, Address]]:
        """Seal a unit and return its datagrams."""
        there = self.core.peers[peer]
        assert there.current is not None
        assert there.address is not None
        session = there.current.session
        counter, total = session.next_unit(), fragments_of(len(plain) + 16, there.sizes.size)
        sealed = session.seal_unit(counter, total, plain)
        room = there.sizes.size - HEADER_BYTES
        datagrams = [session.header(counter, total, index) + sealed[index * room:(index + 1) * room]
                     for index in range(total)]
        self.kept[session.remote, counter] = datagrams
        if there.spoke(now):
            self.core.schedule(there, now)
        return [(datagram, there.address) for datagram in datagrams]

    def take(self, datagram: bytes, source: Address, now: float) -> None:
        if datagram and datagram[0] == Kind.RELAYED:
            taken = self.core.relaying.take(datagram, source)
            if isinstance(taken, Send):
                self.core.effects.append(taken)
            elif taken is not None:
                self.take(*taken, now)
            return
        if not datagram or datagram[0] != Kind.DATA or len(datagram) <= HEADER_BYTES:
            self.core.datagram(datagram, source, now)
            return
        _, total, index, receiver, counter = HEADER.unpack_from(datagram)
        inbox = self.core.inboxes.get(receiver)
        if inbox is None:
            return
        self.core.lacking[receiver] = inbox
        sealed: bytes | None = datagram[HEADER_BYTES:]
        if total != 1 or index:
            sealed = inbox.reassembly.add(counter, total, index, datagram[HEADER_BYTES:], now)
        if sealed is not None:
            self._open(inbox, counter, total, sealed, source, now)

    def _open(self, inbox: Inbox, counter: int, total: int, sealed: bytes, source: Address, now: float) -> None:
        before = inbox.session.seen.highest
        try:
            plain = inbox.session.open_unit(counter, total, sealed)
        except SleeveError:
            if inbox.session.seen.is_new(counter):
                inbox.recovery.spoiled(counter, now)
            return
        self.received.append(plain)
        self.core.opened(inbox, counter, before, source, now)


class Net:
    """The underlay and the clock."""

    def __init__(self, names: str, seed: int = 0, psks: dict[str, list[bytes]] | None = None) -> None:
        self.now = 100.0
        self.rng = random.Random(seed)
        self.drop: Callable[[Address, Address, bytes], bool] = lambda *_: False
        self.delay: Callable[[], float] = lambda: DELAY_S
        self.double = False
        self.seen: list[tuple[Address, Address, bytes]] = []
        self.flying: list[tuple[float, int, Address, Address, bytes]] = []
        self._number = 0
        self.hosts = {name: self.host(name, (psks or {}).get(name, [PSK])) for name in names}
        for name in names:
            self.hosts[name].core.set_peers([self.config(other) for other in names if other != name], self.now)

    def host(self, name: str, psks: list[bytes]) -> Host:
        return Host(name, SleeveCore(key_pair(name), psks, self.rng.randbytes, 1472), place(name))

    def config(self, name: str, *, known: bool = True) -> PeerConfig:
        return PeerConfig(name, Key(key_pair(name).public), (place(name),) if known else ())

    def send(self, host: Host, datagram: bytes, to: Address) -> None:
        source = host.address
        self.seen.append((source, to, datagram))
        if self.drop(source, to, datagram):
            return
        for _ in range(2 if self.double else 1):
            self._number += 1
            self.flying.append((self.now + self.delay(), self._number, source, to, datagram))

    def unit(self, name: str, peer: str, plain: bytes) -> None:
        host = self.hosts[name]
        for datagram, to in host.unit(peer, plain, self.now):
            self.pass_to(host, host.core.peers[peer], datagram, to)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            due = [host.core.deadline() for host in self.hosts.values()] + [item[0] for item in self.flying]
            at = max(self.now, min(due, default=end))
            if at > end:
                break
            self.now = at
            self._step()
        self.now = end

    def _step(self) -> None:
        arrived = sorted(item for item in self.flying if item[0] <= self.now)
        self.flying = [item for item in self.flying if item[0] > self.now]
        for _, _, source, to, datagram in arrived:
            for host in self.hosts.values():
                if host.address == to:
                    host.take(datagram, source, self.now)
        for host in self.hosts.values():
            host.core.tick(self.now)
            effects, host.core.effects = host.core.effects, []
            for effect in effects:
                self._do(host, effect)

    def _do(self, host: Host, effect: Effect) -> None:
        match effect:
            case Send(datagram, address):
                self.send(host, datagram, address)
            case Notice():
                host.notices.append(effect)
            case Resend(peer, receiver, lacks, address):
                for lack in lacks:
                    datagrams = host.kept.get((receiver, lack.counter), [])
                    for index, datagram in enumerate(datagrams):
                        if not lack.missing or lack.missing >> index & 1:
                            self.pass_to(host, peer, datagram, address)

    def pass_to(self, host: Host, peer: Peer, datagram: bytes, address: Address) -> None:
        """Send what the shell sends, directly or through another."""
        before = len(host.core.effects)
        host.core.send(peer, datagram, address)
        if len(host.core.effects) > before:
            effect = host.core.effects.pop()
            assert isinstance(effect, Send)
            self.send(host, effect.datagram, effect.address)

    def established(self, name: str, peer: str) -> bool:
        return self.hosts[name].core.peers[peer].is_established
