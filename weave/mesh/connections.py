"""The connections of this peer as the core sees them: who is at the other end, which one counts for a peer, which are
dead, which are one too many.

Two peers that dial each other in one moment have two connections. Both are used until both have shown that they live;
then the lower name closes all but its oldest. Only one of the two decides, so they never pick differently, and a
connection that is dead at the other end is never preferred to its successor.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from weave.mesh import limits
from weave.mesh.messages import Unicast
from weave.mesh.outbox import Outbox
from weave.mesh.peers import RemotePeer
from weave.mesh.topology import LinkRecord
from weave.mesh.views import ConnectionView
from weave.names import PeerName

REMEMBERED_LIVES = 8
"""How many earlier lives of a peer are remembered, to recognise one that was no earlier life at all."""


@dataclass(slots=True, eq=False)
class Connection:
    """One connection; established once the other end's first message has come."""

    conn: int
    remote: RemotePeer
    address: str
    outbound: bool
    since: float
    heard_at: float
    is_established: bool = False
    is_congested: bool = False
    rtt_s: float | None = None
    stamp: int = 0
    """The last stamp heard, and when."""
    stamp_at: float = 0.0
    beat_at: float = 0.0
    """When we last sent a heartbeat."""
    roots: dict[str, int] = field(default_factory=dict)
    """The roots last heard."""
    outbox: Outbox = field(default_factory=Outbox)
    held: deque[Unicast] = field(default_factory=deque)
    """Unicast messages that wait for the buffer to drain."""

    @property
    def peer(self) -> PeerName:
        """Return the name of the other end."""
        return self.remote.name


class Connections:
    """The set of them; see the module."""

    def __init__(self, me: PeerName) -> None:
        self._me = me
        self._all: dict[int, Connection] = {}
        self.chosen: dict[PeerName, Connection] = {}
        """The established connection that counts for a peer: its oldest."""
        self._rivalry: dict[PeerName, float] = {}
        """Peers with several connections, and when the last of them came."""
        self._lives: dict[PeerName, tuple[int, ...]] = {}
        """The uids of a peer whose connections gave way to those of a later life, the latest last."""

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def get(self, conn: int) -> Connection | None:
        """Return a connection by its number."""
        return self._all.get(conn)

    def add(self, connection: Connection) -> None:
        """Take in a new one."""
        self._all[connection.conn] = connection

    def remove(self, connection: Connection) -> None:
        """Drop one."""
        del self._all[connection.conn]
        if len(self.of(connection.peer)) < 2:
            self._rivalry.pop(connection.peer, None)
        self._choose(connection.peer)

    def establish(self, connection: Connection) -> None:
        """Note that the other end has confirmed it."""
        connection.is_established = True
        self._choose(connection.peer)

    def of(self, peer: PeerName) -> list[Connection]:
        """Return the connections to a peer, the oldest first."""
        found = [each for each in self._all.values() if each.peer == peer]
        return sorted(found, key=lambda each: each.conn)

    def earlier_lives(self, connection: Connection) -> list[Connection]:
        """Return the connections to what the other end was before it started anew."""
        others = self.of(connection.peer)
        return [other for other in others if other.remote.uid != connection.remote.uid]

    def retire(self, connection: Connection) -> None:
        """Note that the process at the other end has been succeeded by another."""
        lives = self._lives.pop(connection.peer, ())
        self._lives[connection.peer] = (*lives, connection.remote.uid)[-REMEMBERED_LIVES:]
        if len(self._lives) > limits.MAX_OWNERS:
            del self._lives[next(iter(self._lives))]

    def is_clone(self, connection: Connection) -> bool:
        """Say whether the other end is a process that had been succeeded by one that is still there.

        A process that died does not come back: two run with one key.
        """
        is_back = connection.remote.uid in self._lives.get(connection.peer, ())
        return is_back and any(each.remote.uid != connection.remote.uid for each in self.of(connection.peer))

    def is_one_too_many(self, connection: Connection) -> bool:
        """Say whether the process at the other end has more connections to us than anybody needs."""
        same = [each for each in self.of(connection.peer) if each.remote.uid == connection.remote.uid]
        return len(same) > limits.MAX_CONNECTIONS_OF_PEER

    def rivals(self, connection: Connection, now: float) -> list[Connection]:
        """Return the other connections to the same peer, from now on in rivalry with a new one."""
        others = [other for other in self.of(connection.peer) if other is not connection]
        if others:
            self._rivalry[connection.peer] = now
        return others

    def surplus(self, peer: PeerName) -> list[Connection]:
        """Return the connections to a peer that we should close, once all have been heard since the last came."""
        if peer not in self._rivalry or self._me > peer:
            return []
        ours = self.of(peer)
        if not all(each.is_established and each.heard_at > self._rivalry[peer] for each in ours):
            return []
        del self._rivalry[peer]
        return ours[1:]

    def silent(self, now: float) -> list[Connection]:
        """Return those that have not been heard for too long."""
        return [each for each in self._all.values() if each.heard_at + limits.DEAD_AFTER_S <= now]

    def dead_at(self) -> float:
        """Return when the first would have been silent for too long."""
        return min((each.heard_at for each in self._all.values()), default=inf) + limits.DEAD_AFTER_S

    def excuse_silence(self, now: float) -> None:
        """After a pause of our own process, give everybody the time to be heard again."""
        for connection in self._all.values():
            connection.heard_at = max(connection.heard_at, now - limits.DEAD_AFTER_S / 2)

    def links(self) -> tuple[LinkRecord, ...]:
        """Return one link for each peer, sorted, as we publish it."""
        best = dict(self.chosen)
        for connection in self._all.values():
            best.setdefault(connection.peer, connection)
        ordered = sorted(best.items())
        return tuple(LinkRecord(name, each.outbound, each.address, each.is_established) for name, each in ordered)

    def views(self) -> list[ConnectionView]:
        """Return a snapshot, the oldest first."""
        return [
            ConnectionView(
                conn=each.conn,
                peer=each.peer,
                nickname=each.remote.nickname,
                address=each.address,
                outbound=each.outbound,
                established=each.is_established,
                since=each.since,
                rtt_s=each.rtt_s,
                congested=each.is_congested,
                features=each.remote.features,
            )
            for each in sorted(self._all.values(), key=lambda each: each.conn)
        ]

    def _choose(self, peer: PeerName) -> None:
        established = [each for each in self.of(peer) if each.is_established]
        if established:
            self.chosen[peer] = established[0]
        else:
            self.chosen.pop(peer, None)
