"""Two ends of an agreement, with a network between them that loses, doubles and reorders, and a kernel at each.

The kernel is what an ESP packet needs to arrive: the sender steers to an association it has, the receiver has it too,
and the keys are the same.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from ipaddress import ip_address
from random import Random

from weave.names import PeerName
from weave.net.crypt.pact import Agreed, Drop, Effect, Install, Pact, Party, Send, Steer
from weave.net.crypt.pact_messages import Way
from weave.netlink.xfrm import Association
from weave.noise.keys import KeyPair

LOW, HIGH = PeerName("02:00:00:00:00:01"), PeerName("02:00:00:00:00:02")
PASSWORD, OTHER_PASSWORD = b"p" * 32, b"q" * 32
ADDRESSES = {LOW: ip_address("192.0.2.1"), HIGH: ip_address("192.0.2.2")}
STATIC = {name: KeyPair.from_private(bytes([index]) * 32) for index, name in enumerate((LOW, HIGH), 1)}


def other(name: PeerName) -> PeerName:
    return HIGH if name == LOW else LOW


def way(name: PeerName) -> Way:
    return Way(ADDRESSES[name], ADDRESSES[other(name)])


@dataclass
class Kernel:
    """Associations by destination and SPI, and which of them is sent by."""

    associations: dict[tuple[object, int], Association] = field(default_factory=dict)
    spi: int = 0
    installed: list[Association] = field(default_factory=list)

    def apply(self, effect: Effect) -> None:
        match effect:
            case Install(association):
                key = association.destination, association.spi
                assert key not in self.associations, "EEXIST"
                assert association.key not in {old.key for old in self.installed}, "a key is given to the kernel twice"
                self.associations[key] = association
                self.installed.append(association)
            case Drop(association):
                self.associations.pop((association.destination, association.spi), None)
            case Steer(_, spi):
                self.spi = spi


class Pair:
    """Both ends, a clock, and the mesh between them."""

    def __init__(self, seed: int, *, loss: float = 0.0, doubled: float = 0.0, delay_s: float = 0.01,
                 passwords: dict[PeerName, tuple[bytes, ...]] | None = None) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.loss, self.doubled, self.delay_s = loss, doubled, delay_s
        self.passwords = passwords or {LOW: (PASSWORD,), HIGH: (PASSWORD,)}
        self.kernels = {LOW: Kernel(), HIGH: Kernel()}
        self.lives = {LOW: 0, HIGH: 0}
        self.agreed: dict[PeerName, list[bytes]] = {LOW: [], HIGH: []}
        self.sent: list[tuple[PeerName, bytes]] = []
        self._wire: list[tuple[float, int, PeerName, bytes]] = []
        self._count = 0
        self.ends: dict[PeerName, Pact] = {}
        for name in (LOW, HIGH):
            self.start(name)

    def start(self, name: PeerName, *, reboot: bool = False, lives_lost: int = 0) -> None:
        """Start an end, again: it forgets everything; its kernel only with a reboot, and lives by an old state file."""
        self.lives[name] = max(1, self.lives[name] + 1 - lives_lost)
        if reboot:
            self.kernels[name].associations.clear()
            self.kernels[name].spi = 0
        party = Party(name, STATIC[name], self.lives[name], self.passwords[name])
        self.ends[name] = Pact(party, other(name), STATIC[other(name)].public, rng=Random(self.rng.random()),
                               entropy=self.rng.randbytes, now=self.now)

    def want(self, *names: PeerName) -> None:
        for name in names:
            self.perform(name, self.ends[name].want(way(name), self.now))

    def perform(self, name: PeerName, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(payload):
                    self.sent.append((name, payload))
                    self._post(other(name), payload)
                case Agreed(epoch):
                    self.agreed[name].append(epoch.id)
                case _:
                    self.kernels[name].apply(effect)

    def _post(self, to: PeerName, payload: bytes) -> None:
        copies = 0 if self.rng.random() < self.loss else 2 if self.rng.random() < self.doubled else 1
        for _ in range(copies):
            self._count += 1
            heappush(self._wire, (self.now + self.delay_s * self.rng.uniform(0.5, 3.0), self._count, to, payload))

    def run(self, seconds: float, check: bool = False) -> None:
        """Let time pass, event by event; with `check` both directions must carry ESP after every one."""
        until = self.now + seconds
        while True:
            times = [end.deadline() for end in self.ends.values()] + [item[0] for item in self._wire[:1]]
            self.now = max(self.now, min(times))
            if self.now > until:
                self.now = until
                return
            if self._wire and self._wire[0][0] <= self.now:
                _, _, to, payload = heappop(self._wire)
                self.perform(to, self.ends[to].message(payload, self.now))
            for name, end in self.ends.items():
                self.perform(name, end.tick(self.now))
            for name, end in self.ends.items():
                known = {(association.destination, association.spi) for association in end.installed()}
                assert known <= self.kernels[name].associations.keys(), "an end believes in what its kernel lacks"
            if check:
                assert self.carries(LOW), f"{LOW} sends by what {HIGH} has not, at {self.now}"
                assert self.carries(HIGH), f"{HIGH} sends by what {LOW} has not, at {self.now}"

    def carries(self, sender: PeerName) -> bool:
        """Say whether an ESP packet of this end would arrive."""
        here, there = self.kernels[sender], self.kernels[other(sender)]
        key = ADDRESSES[other(sender)], here.spi
        return key in here.associations and here.associations[key] == there.associations.get(key)
