"""Anti-entropy: two peers whose roots differ find out where, and exchange what is missing, both ways.

    I                                  R
    | -- Digest(bucket hashes) ------> |      (left out while there are few owners)
    | <- SummaryList(differing) ------ |
    | -- Want, Delta..., Delta(root) > |
    | <- Delta..., Delta(root) ------- |

Where one side is ahead of the other in an owner's versions, it sends what lies above; where both have the same top
but different hashes, one of them has a hole, and both send all they have of that owner. Losing any message costs a
timeout and nothing else. Exchanges are few at a time, and one that brings nothing is repeated ever more rarely, so
that an entry that somebody refuses does not become a fountain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from weave.mesh import limits
from weave.mesh.channel import Channel, Summary, bucket_of
from weave.mesh.connections import Connection
from weave.mesh.messages import Digest, Message, SummaryList, Want
from weave.names import PeerName

ALL_BUCKETS = (1 << limits.DIGEST_BUCKETS) - 1


@dataclass(slots=True)
class Exchange:
    """An exchange that we began."""

    deadline: float
    gained: int
    """Merges of the channel when it began."""
    rounds: int = 1
    gave: bool = False


@dataclass(slots=True)
class Barren:
    """Exchanges with one neighbour that brought nothing."""

    next_at: float
    pause: float


@dataclass(slots=True)
class Replica:
    """A channel with what healing must remember of it."""

    channel: Channel
    merges: int = 0
    merged_at: float = -limits.BARREN_BACKOFF_MAX_S


class Healing:
    """The exchanges of one channel."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._channel = replica.channel
        self._begun: dict[int, Exchange] = {}
        self._answering: dict[int, float] = {}
        self._barren: dict[int, Barren] = {}
        self._waiting: dict[int, Connection] = {}
        """New connections whose first exchange waits for its turn."""
        self._deferred_at = inf
        """Since when every root that was heard differs from ours, and no exchange began, for the channel is busy."""

    def compare(self, connection: Connection, now: float, *, quiet: bool) -> list[Message]:
        """Compare the root last heard with ours; return what begins an exchange, where one is due."""
        if connection.roots.get(self._channel.name, 0) == self._channel.root:
            self._barren.pop(connection.conn, None)
            self._deferred_at = inf
            return []
        if not quiet or now - self._replica.merged_at < limits.QUIET_BEFORE_HEALING_S:
            self._deferred_at = min(self._deferred_at, now)
            if now - self._deferred_at < limits.HEALING_DEFERRED_S:
                return []
        began = self._begin(connection, now)
        if began:
            self._deferred_at = inf
        return began

    def greet(self, connection: Connection, now: float) -> list[Message]:
        """Begin the first exchange on a new connection, or queue for it."""
        if connection.roots.get(self._channel.name, 0) == self._channel.root:
            return []
        began = self._begin(connection, now)
        if not began:
            self._waiting[connection.conn] = connection
        return began

    def drop(self, conn: int) -> None:
        """Forget a connection."""
        for memory in (self._begun, self._answering, self._barren, self._waiting):
            memory.pop(conn, None)

    def on_message(self, connection: Connection, message: Digest | SummaryList | Want, now: float) -> list[Message]:
        """Answer a message of an exchange."""
        match message:
            case Digest():
                return self._on_digest(connection, message, now)
            case SummaryList():
                return self._on_summaries(connection, message, now)
            case Want():
                self._on_want(connection, message)
                return []

    def _on_digest(self, connection: Connection, message: Digest, now: float) -> list[Message]:
        """Answer with what we hold of the owners in the buckets that differ."""
        if not self._admit(connection.conn, now):
            return []
        differing = 0
        for number, (mine, theirs) in enumerate(zip(self._channel.buckets, message.buckets, strict=True)):
            differing |= (mine != theirs) << number
        return [self._summarise(differing)]

    def _on_summaries(self, connection: Connection, message: SummaryList, now: float) -> list[Message]:
        """Send what they lack, ask for what we lack."""
        exchange = self._begun.get(connection.conn)
        if exchange is None and not self._admit(connection.conn, now):
            return []
        wants, gave = self._weigh(connection, message)
        connection.outbox.finish_answer(self._channel.name)
        if exchange is not None:
            exchange.deadline = now + limits.EXCHANGE_TIMEOUT_S
            exchange.gave = exchange.gave or gave
        return [Want(self._channel.name, tuple(wants))]

    def _on_want(self, connection: Connection, message: Want) -> None:
        """Queue what they ask for."""
        for owner, above in message.rows:
            if self._channel.covers(owner):
                connection.outbox.add(self._channel.name, self._channel.after(owner, above))
        connection.outbox.finish_answer(self._channel.name)
        exchange = self._begun.get(connection.conn)
        if exchange is not None and message.rows:
            exchange.gave = True

    def on_answer(self, connection: Connection, root: int | None, now: float) -> list[tuple[Connection, Message]]:
        """Take note of a delta, already merged, whose `root` ends their answer; go on where that is not enough."""
        exchange = self._begun.get(connection.conn)
        if exchange is not None:
            exchange.deadline = now + limits.EXCHANGE_TIMEOUT_S
        if root is None:
            return []
        self._answering.pop(connection.conn, None)
        if exchange is None:
            return self._next_waiting(now)
        del self._begun[connection.conn]
        has_gained = self._replica.merges > exchange.gained
        if root == self._channel.root:
            self._barren.pop(connection.conn, None)
        elif not exchange.gave and has_gained and exchange.rounds < limits.MAX_EXCHANGE_ROUNDS:
            return [(connection, item) for item in self._begin(connection, now, rounds=exchange.rounds + 1)]
        elif not has_gained:
            self._note_barren(connection.conn, now)
        return self._next_waiting(now)

    def _begin(self, connection: Connection, now: float, rounds: int = 1) -> list[Message]:
        self._expire(now)
        conn = connection.conn
        if conn in self._begun or conn in self._answering or len(self._begun) >= limits.MAX_EXCHANGES:
            return []
        barren = self._barren.get(conn)
        if barren is not None and now < barren.next_at:
            return []
        self._waiting.pop(conn, None)
        self._begun[conn] = Exchange(now + limits.EXCHANGE_TIMEOUT_S, self._replica.merges, rounds)
        if len(self._channel.owners) <= limits.PLAIN_SUMMARY_OWNERS:
            return [self._summarise(ALL_BUCKETS)]
        return [Digest(self._channel.name, tuple(self._channel.buckets))]

    def _weigh(self, connection: Connection, message: SummaryList) -> tuple[list[tuple[PeerName, int]], bool]:
        """Compare their summaries with what we hold; queue what they lack and return what we lack."""
        wants: list[tuple[PeerName, int]] = []
        gifts: list[tuple[PeerName, int]] = []
        for row in message.rows:
            want, gift = self._weigh_owner(row)
            if want is not None:
                wants.append((row.owner, want))
            if gift is not None and self._channel.covers(row.owner):
                gifts.append((row.owner, gift))
        listed = {row.owner for row in message.rows}
        gifts += [(owner, 0) for owner in self._unlisted(message.buckets, listed)]
        for owner, above in gifts:
            connection.outbox.add(self._channel.name, self._channel.after(owner, above))
        return wants, bool(gifts)

    def _weigh_owner(self, row: Summary) -> tuple[int | None, int | None]:
        """Return the versions above which we want, and above which we give, an owner's entries."""
        held = self._channel.held(row.owner)
        if held is None or not held.entries:
            return 0, None
        if held.hash == row.hash:
            return None, None
        if held.top == row.top:
            return 0, 0
        return (held.top, None) if held.top < row.top else (None, row.top)

    def _unlisted(self, buckets: int, listed: set[PeerName]) -> Iterable[PeerName]:
        if not buckets:
            return []
        mine = self._channel.covered_owners()
        return sorted(owner for owner in mine if owner not in listed and buckets >> bucket_of(owner) & 1)

    def _summarise(self, buckets: int) -> SummaryList:
        return SummaryList(self._channel.name, buckets, tuple(self._channel.summaries(buckets)))

    def _admit(self, conn: int, now: float) -> bool:
        """Take up the answer to an exchange that they began, unless we are answering enough."""
        self._expire(now)
        if conn not in self._answering and len(self._answering) >= limits.MAX_EXCHANGES_ANSWERED:
            return False
        self._answering[conn] = now + limits.EXCHANGE_TIMEOUT_S
        return True

    def _expire(self, now: float) -> None:
        for conn in [conn for conn, exchange in self._begun.items() if exchange.deadline <= now]:
            del self._begun[conn]
        for conn in [conn for conn, deadline in self._answering.items() if deadline <= now]:
            del self._answering[conn]

    def _note_barren(self, conn: int, now: float) -> None:
        before = self._barren.get(conn)
        pause = limits.BARREN_BACKOFF_S if before is None else min(2 * before.pause, limits.BARREN_BACKOFF_MAX_S)
        self._barren[conn] = Barren(now + pause, pause)

    def _next_waiting(self, now: float) -> list[tuple[Connection, Message]]:
        """Begin the first exchange of the next new connection that still differs."""
        while self._waiting:
            connection = next(iter(self._waiting.values()))
            if connection.roots.get(self._channel.name, 0) != self._channel.root:
                return [(connection, item) for item in self._begin(connection, now)]
            del self._waiting[connection.conn]
        return []
