"""Heartbeats: to whom, when, and what is learned from those of others. Pure.

Whether the other host is still there, the kernels find out between themselves (`weave.mesh.link`), so a heartbeat is
not needed for that. It carries the roots of all channels to a few neighbours in turn, which is enough to heal: what
one of them lacks, the next has. So an idle peer says hardly more with thirty neighbours than with five. A connection
whose other end has not shown yet that it hears us comes sooner.
"""

from heapq import nsmallest
from math import ceil
from typing import TYPE_CHECKING

from weave.mesh import limits
from weave.mesh.connections import Connection, Connections
from weave.mesh.courier import Courier
from weave.mesh.gossip import Gossip
from weave.mesh.messages import Heartbeat

if TYPE_CHECKING:
    from random import Random

UNHEARD_BONUS_S = limits.HEARTBEAT_ROUNDS * limits.HEARTBEAT_INTERVAL_S / 2
"""How much longer than it is the last heartbeat on a connection counts that has not been answered."""
_MICROSECONDS = 1_000_000


class Pulse:
    """The heartbeats of all connections of this peer."""

    def __init__(
        self, connections: Connections, gossip: Gossip, courier: Courier, rng: "Random", now: float
    ) -> None:
        self.due = now + rng.uniform(0, limits.HEARTBEAT_INTERVAL_S)
        """When the next round is."""
        self._connections = connections
        self._gossip = gossip
        self._courier = courier
        self._rng = rng

    def hasten(self, delay: float, now: float) -> None:
        """Let the next round come within a time."""
        self.due = min(self.due, now + delay)

    def beat(self, now: float) -> None:
        """Do a round: those whose turn it is."""
        self.due = now + limits.HEARTBEAT_INTERVAL_S * (1 - self._rng.uniform(0, limits.HEARTBEAT_JITTER))
        count = max(limits.HEARTBEATS_A_ROUND, ceil(len(self._connections) / limits.HEARTBEAT_ROUNDS))
        ready = [each for each in self._connections if not each.is_congested]  # what fills a buffer shows that we live
        for connection in nsmallest(count, ready, key=_turn):
            self.send(connection, now)

    def send(self, connection: Connection, now: float) -> None:
        """Send a heartbeat now."""
        held = round((now - connection.stamp_at) * _MICROSECONDS) if connection.stamp else 0
        stamp = 1 + round((now - connection.since) * _MICROSECONDS)
        connection.beat_at = now
        self._courier.send(connection, Heartbeat(stamp, connection.stamp, held, self._gossip.roots()))

    def heard(self, connection: Connection, message: Heartbeat, now: float) -> None:
        """Note what a heartbeat says of the connection."""
        connection.stamp = message.stamp
        connection.stamp_at = now
        connection.roots = dict(message.roots)
        if message.echo:
            sent_at = connection.since + message.echo / _MICROSECONDS
            connection.rtt_s = max(0.0, now - sent_at - message.held / _MICROSECONDS)


def _turn(connection: Connection) -> tuple[float, int]:
    bonus_s = UNHEARD_BONUS_S if connection.rtt_s is None else 0.0
    return connection.beat_at - bonus_s, connection.conn
