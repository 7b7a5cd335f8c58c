"""The underlay: TCP-like connections that are ordered, take time, stall, clog and break.

Two ends of a connection are `End`s. What is sent on one arrives at the other in order, after a delay, unless the way is
cut (then it vanishes, silently, as through a dead switch, until the kernels give the connection up) or the dice say
that it is lost: real TCP would repeat it, but a core must survive worse. A clogged connection carries so many bytes a
second and tells its sender when its buffer is filling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weave.mesh.limits import VANISHED_AFTER_S
from weave.mesh.messages import Message, decode, encode, size_of

if TYPE_CHECKING:
    from tests.sim.node import Node
    from tests.sim.world import World

HANDSHAKE_ROUND_TRIPS = 2
DIAL_TIMEOUT_S = 5.0
FRAME_OVERHEAD_BYTES = 22
HIGH_WATER_BYTES = 64 * 1024
LOW_WATER_BYTES = 16 * 1024
ENCODE_EVERY = 100
"""One message in this many is really encoded and decoded, and must come out equal."""


@dataclass(slots=True, eq=False)
class End:
    conn: int
    node: Node
    address: str
    """Of the other end."""
    peer: End = field(init=False)
    outbound: bool = False
    is_open: bool = True
    busy_until: float = 0.0
    """When a clogged way has carried what was sent so far."""
    arrives_at: float = 0.0
    """When the last thing sent here arrives at the other end: order is kept."""
    queued_bytes: int = 0
    is_congested: bool = False


class Network:
    def __init__(self, world: World) -> None:
        self.world = world
        self.nodes: dict[str, Node] = {}
        self.loss = 0.0
        self.delay = (0.0005, 0.003)
        self.bandwidth: dict[frozenset[str], float] = {}
        """Bytes a second between two hosts; unlimited where absent."""
        self._rng = world.rng("network")
        self._groups: dict[str, int] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._changes = 0
        """Of what passes."""
        self._next_conn = 0
        self._sent = 0
        self.messages_lost = 0

    # --- faults

    def partition(self, *groups: list[str]) -> None:
        """Let hosts reach only those of their own group."""
        self._groups = {ip: number for number, group in enumerate(groups, start=1) for ip in group}
        self._ways_changed()

    def heal(self) -> None:
        self._groups = {}
        self._cuts = set()
        self.loss = 0.0
        self.bandwidth = {}
        self._ways_changed()

    def cut(self, source: str, destination: str) -> None:
        """Let nothing pass in one direction."""
        self._cuts.add((source, destination))
        self._ways_changed()

    def _ways_changed(self) -> None:
        self._changes += 1
        self.world.after(VANISHED_AFTER_S, self._give_up, self._changes)

    def _give_up(self, changes: int) -> None:
        """End the connections whose kernels have heard nothing from each other since."""
        if changes != self._changes:
            return
        for node in self.nodes.values():
            for end in sorted(node.ends.values(), key=lambda each: each.conn):
                if end.is_open and not self._answers(end):
                    end.is_open = False
                    node.on_closed(end, "connection timed out")

    def _answers(self, end: End) -> bool:
        here, there = end.node.ip, end.peer.node.ip
        return self.passes(here, there) and self.passes(there, here)

    def passes(self, source: str, destination: str) -> bool:
        groups = self._groups
        if groups and groups.get(source, 0) != groups.get(destination, 0):
            return False
        return (source, destination) not in self._cuts

    # --- connections

    def dial(self, node: Node, target: str) -> None:
        life = node.life
        ip, _, port = target.rpartition(":")
        other = self.nodes.get(ip)
        trip = self._delay() + self._delay()
        if not self.passes(node.ip, ip) or not self.passes(ip, node.ip):
            self.world.after(DIAL_TIMEOUT_S, self._dial_failed, node, life, target, "no answer within 5 s")
        elif other is None or not other.is_up or port != "6783":
            self.world.after(trip, self._dial_failed, node, life, target, "connection refused")
        else:
            self.world.after(trip * HANDSHAKE_ROUND_TRIPS, self._dialled, node, life, other, other.life, target)

    def _dial_failed(self, node: Node, life: int, target: str, reason: str, retry: bool = True) -> None:
        if node.is_up and node.life == life:
            self.world.note("dial failed", node.ip, target, reason)
            node.on_dial_failed(target, reason, retry)

    def _dialled(self, node: Node, life: int, other: Node, other_life: int, target: str) -> None:
        if not node.is_up or node.life != life:
            return
        if not other.is_up or other.life != other_life or not self.passes(node.ip, other.ip):
            self._dial_failed(node, life, target, "connection reset")
        elif node.name == other.name:
            reason = "connected to ourselves" if node is other else "the same key on two machines"
            self._dial_failed(node, life, target, reason, retry=node is not other)
        else:
            self._connect(node, other, target)

    def _connect(self, node: Node, other: Node, target: str) -> None:
        self._next_conn += 2
        here = End(self._next_conn, node, target, outbound=True)
        there = End(self._next_conn + 1, other, f"{node.ip}:{40000 + self._next_conn % 20000}")
        here.peer, there.peer = there, here
        node.ends[here.conn], other.ends[there.conn] = here, there
        self.world.note("connected", node.ip, other.ip)
        node.on_connected(here, other.hello(), target)
        if there.is_open and here.is_open:
            other.on_connected(there, node.hello(), None)

    def send(self, end: End, message: Message) -> None:
        size = size_of(message) + FRAME_OVERHEAD_BYTES
        end.node.sent_bytes += size
        self._sent += 1
        if self._sent % ENCODE_EVERY == 0:
            message = self._encoded(message)
        if not end.is_open:
            return
        source, destination = end.node.ip, end.peer.node.ip
        if not self.passes(source, destination):
            return
        if self.loss and self._rng.random() < self.loss:
            self.messages_lost += 1
            return
        departure = self._transfer(end, size) if self.bandwidth else self.world.now
        end.arrives_at = max(departure + self._delay(), end.arrives_at)
        self.world.at(end.arrives_at, self._arrive, end, message, size)

    def _encoded(self, message: Message) -> Message:
        decoded = decode(encode(message))
        assert decoded == message, (decoded, message)
        return decoded

    def _delay(self) -> float:
        low, high = self.delay
        return low + (high - low) * self._rng.random()

    def _transfer(self, end: End, size: int) -> float:
        """Queue something on a way that may be clogged; return when it has left."""
        rate = self.bandwidth.get(frozenset((end.node.ip, end.peer.node.ip)))
        if rate is None:
            return self.world.now
        end.queued_bytes += size
        if end.queued_bytes > HIGH_WATER_BYTES and not end.is_congested:
            end.is_congested = True
            self.world.after(0.0, end.node.on_congested, end, True)
        end.busy_until = max(self.world.now, end.busy_until) + size / rate
        return end.busy_until

    def _arrive(self, end: End, message: Message, size: int) -> None:
        if end.queued_bytes:
            end.queued_bytes = max(0, end.queued_bytes - size)
            if end.is_congested and end.queued_bytes < LOW_WATER_BYTES:
                end.is_congested = False
                end.node.on_congested(end, False)
        other = end.peer
        if other.is_open and self.passes(end.node.ip, other.node.ip):
            other.node.on_message(other, message)

    # --- ends

    def close(self, end: End, reason: str) -> None:
        """End a connection from one side; the other hears of it unless the way is cut."""
        if not end.is_open:
            return
        end.is_open = False
        self.world.after(0.0, end.node.on_closed, end, reason)
        self.world.at(end.arrives_at + 0.003, self._reset, end)

    def _reset(self, end: End) -> None:
        other = end.peer
        if other.is_open and self.passes(end.node.ip, other.node.ip):
            other.is_open = False
            other.node.on_closed(other, "the other end closed the connection")

    def break_connection(self, end: End) -> None:
        """Reset a connection at both ends."""
        for side in (end, end.peer):
            if side.is_open:
                side.is_open = False
                side.node.on_closed(side, "connection reset")
