"""What leaves on connections: messages at once, gossip in bounded batches, and nothing while a buffer is filling.

Gossip that waits coalesces in the outbox of its connection; unicast messages wait in a bounded queue, and what does
not fit is refused to the caller, who counts it.
"""

from collections import Counter
from collections.abc import Iterable

from weave.mesh import limits
from weave.mesh.connections import Connection
from weave.mesh.effects import Effect, Send
from weave.mesh.gossip import Gossip
from weave.mesh.messages import Delta, Message, Unicast, size_of


class Courier:
    """Turn messages into effects."""

    def __init__(self, gossip: Gossip, effects: list[Effect]) -> None:
        self._gossip = gossip
        self._effects = effects
        self.sent_bytes: Counter[str] = Counter()
        """By channel, before encryption."""
        self._waiting: dict[int, Connection] = {}
        """The connections whose outbox may hold something."""

    def send(self, connection: Connection, message: Message) -> None:
        """Send now."""
        self._effects.append(Send(connection.conn, message))

    def relay(self, connection: Connection, message: Unicast) -> bool:
        """Send a unicast message, now or when the buffer has drained; return whether there was room."""
        if not connection.is_congested:
            self.send(connection, message)
        elif len(connection.held) < limits.MAX_UNICASTS_HELD:
            connection.held.append(message)
        else:
            return False
        return True

    def resume(self, connection: Connection) -> None:
        """Send what waited for the buffer to drain."""
        while connection.held:
            self.send(connection, connection.held.popleft())

    def await_flush(self, connections: Iterable[Connection]) -> None:
        """Note that gossip is being queued for some connections."""
        for connection in connections:
            self._waiting[connection.conn] = connection

    def drop(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        self._waiting.pop(connection.conn, None)

    def flush_all(self) -> bool:
        """Send a batch wherever gossip waits; return whether more could go."""
        waiting, self._waiting = self._waiting, {}
        for conn, connection in waiting.items():
            if self.flush(connection):
                self._waiting[conn] = connection
        return bool(self._waiting)

    def flush(self, connection: Connection) -> bool:
        """Send the next batch of gossip, unless the buffer is filling; return whether more could go."""
        if connection.is_congested or not connection.is_established:
            return False
        gossip = self._gossip
        deltas = connection.outbox.drain(gossip.root_of, gossip.identities.of, limits.MAX_DELTAS_PER_FLUSH)
        for delta in deltas:
            self._count(delta)
            self.send(connection, delta)
        return bool(connection.outbox)

    def _count(self, delta: Delta) -> None:
        self.sent_bytes[delta.channel] += size_of(delta)
