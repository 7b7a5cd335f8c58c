"""A few peers wired back to back in virtual time: every message is really encoded, decoded and delivered in order."""

import heapq
from itertools import count
from random import Random

from tests.sim.fakes import FakeSigner, FakeVerifier, identity_of
from weave.mesh import messages
from weave.mesh.core import MeshCore
from weave.mesh.effects import Changed, Close, Deliver, Dial, Effect, PeersChanged, Persist, Send
from weave.mesh.entries import Entry, write_entry
from weave.mesh.peers import LocalPeer, MeshConfig, RemotePeer
from weave.names import PeerName

TRIP_S = 0.001


def name(number: int) -> PeerName:
    return PeerName(f"7a:00:00:00:00:{number:02x}")


def entry(
    owner: int, key: bytes, version: int, value: bytes | None, *, channel: str = "dns", key_id: str = ""
) -> Entry:
    who = name(owner)
    return write_entry(channel, who, key, version, value, FakeSigner(identity_of(who, key_id)))


def local_peer(number: int, *, incarnation: int = 1, uid: int | None = None) -> LocalPeer:
    return LocalPeer(
        name=name(number),
        identity=identity_of(name(number)),
        nickname=f"h{number}",
        uid=100 + number if uid is None else uid,
        incarnation=incarnation,
        control_port=6783,
        addresses=(f"10.0.0.{number}",),
    )


class Peer:
    """A core with what it did."""

    def __init__(self, me: LocalPeer, core: MeshCore) -> None:
        self.me = me
        self.core = core
        self.changes: list[tuple[str, PeerName, bytes, bytes | None]] = []
        self.mail: list[Deliver] = []
        self.reach: list[PeersChanged] = []
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.dialled: list[str] = []
        self.sent: list[messages.Message] = []
        self.spoke: set[int] = set()
        """The connections on which anything was sent."""

    @property
    def remote(self) -> RemotePeer:
        return RemotePeer(self.me.name, self.me.identity, self.me.nickname, self.me.uid, self.me.control_port)

    def heard(self, channel: str) -> dict[tuple[PeerName, bytes], bytes]:
        """Return what a listener that only followed the changes would believe."""
        believed: dict[tuple[PeerName, bytes], bytes] = {}
        for where, owner, key, value in self.changes:
            if where != channel:
                continue
            if value is None:
                del believed[owner, key]
            else:
                believed[owner, key] = value
        return believed


class Wiring:
    """Peers, the connections between them, and the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.peers: list[Peer] = []
        self.lose: bool = False
        self._wires: dict[tuple[int, int], tuple[Peer, int]] = {}
        self._queue: list[tuple[float, int, Peer, int, messages.Message]] = []
        self._sequence = count()
        self._conns = count(1)

    def add(self, number: int, *, start: bool = True, **options: object) -> Peer:
        incarnation = options.pop("incarnation", 1)
        uid = options.pop("uid", None)
        assert isinstance(incarnation, int)
        assert uid is None or isinstance(uid, int)
        me = local_peer(number, incarnation=incarnation, uid=uid)
        core = MeshCore(
            me=me,
            signer=FakeSigner(me.identity),
            verifier=FakeVerifier(),
            config=MeshConfig(discovery=False),
            rng=Random(number),
            now=self.now,
            **options,  # type: ignore[arg-type]
        )
        peer = Peer(me, core)
        self.peers.append(peer)
        if start:
            self.do(peer, core.start(self.now))
        return peer

    def connect(self, here: Peer, there: Peer) -> tuple[int, int]:
        """Make a connection; return its numbers at both ends."""
        a, b = next(self._conns), next(self._conns)
        self._wires[id(here), a] = (there, b)
        self._wires[id(there), b] = (here, a)
        address = f"10.0.0.{there.me.uid - 100}:6783"
        self._up(here, a, there, address, outbound=True)
        self._up(there, b, here, "10.0.0.99:4", outbound=False)
        return a, b

    def _up(self, peer: Peer, conn: int, other: Peer, address: str, *, outbound: bool) -> None:
        effects = peer.core.connection_up(
            conn, other.remote, address=address, outbound=outbound, target=None, now=self.now
        )
        self.do(peer, effects)

    def disconnect(self, here: Peer, conn: int, reason: str = "reset") -> None:
        there, other = self._wires.pop((id(here), conn))
        self._wires.pop((id(there), other), None)
        self.do(here, here.core.connection_down(conn, reason, self.now))
        self.do(there, there.core.connection_down(other, reason, self.now))

    def silence(self, here: Peer, conn: int) -> None:
        """Let nothing pass any more, without telling anybody."""
        there, other = self._wires.pop((id(here), conn))
        self._wires.pop((id(there), other), None)

    def publish(self, peer: Peer, channel: str, key: bytes, value: bytes | None) -> None:
        self.do(peer, peer.core.publish(channel, key, value, self.now))

    def send(self, peer: Peer, destination: PeerName, payload: bytes) -> None:
        self.do(peer, peer.core.send(destination, "test", payload, self.now))

    def inject(self, peer: Peer, conn: int, message: messages.Message) -> None:
        """Let a peer receive a message as if from the other end."""
        self.do(peer, peer.core.message(conn, message, self.now))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            due = [(peer.core.deadline(), number) for number, peer in enumerate(self.peers)]
            when, number = min(due)
            if self._queue and self._queue[0][0] <= when:
                when = self._queue[0][0]
                if when > until:
                    break
                _, _, peer, conn, message = heapq.heappop(self._queue)
                self.now = max(self.now, when)
                self.do(peer, peer.core.message(conn, message, self.now))
            elif when > until:
                break
            else:
                self.now = max(self.now, when)
                self.do(self.peers[number], self.peers[number].core.tick(self.now))
        self.now = until

    def do(self, peer: Peer, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(peer, effect)
                case Changed():
                    peer.changes += [(effect.channel, c.owner, c.key, c.value) for c in effect.changes]
                case Deliver():
                    peer.mail.append(effect)
                case PeersChanged():
                    peer.reach.append(effect)
                case Persist():
                    for change in effect.changes:
                        table = peer.rows.setdefault(change.table, {})
                        table.pop(change.key, None)
                        if hasattr(change, "value"):
                            table[change.key] = change.value
                case Dial():
                    peer.dialled.append(effect.target)
                case Close():
                    wire = self._wires.pop((id(peer), effect.conn), None)
                    if wire is not None:
                        there, other = wire
                        self._post(there, other, messages.Goodbye("closed"))

    def _send(self, peer: Peer, effect: Send) -> None:
        peer.sent.append(effect.message)
        peer.spoke.add(effect.conn)
        wire = self._wires.get((id(peer), effect.conn))
        if wire is None or self.lose:
            return
        there, other = wire
        message = messages.decode(messages.encode(effect.message))
        assert message == effect.message
        self._post(there, other, message)

    def _post(self, there: Peer, conn: int, message: messages.Message) -> None:
        heapq.heappush(self._queue, (self.now + TRIP_S, next(self._sequence), there, conn, message))


def roots(peer: Peer) -> dict[str, str]:
    return {view.channel: view.root for view in peer.core.counters()}
