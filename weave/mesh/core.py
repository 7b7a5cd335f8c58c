"""The mesh core: connections, gossip, healing, routes and planning put together, as one deterministic machine.

Events go in (a connection, a message, a wish of an application, the time), effects come out; `deadline` says when
`tick` wants to be called. The shell and the simulator drive the same object. What it decides itself is small: when to
beat, when to publish our links, when the graph is due, and to whom things go on. Whatever a peer can get wrong ends
in `refused`, never in an exception.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from store.changes import Change
from weave.mesh import limits, rows, topology
from weave.mesh.absences import Absences
from weave.mesh.connections import Connection, Connections
from weave.mesh.courier import Courier
from weave.mesh.effects import Changed, Close, Deliver, Dial, Effect, PeersChanged, Persist
from weave.mesh.entries import ChannelChange, Signer, Verifier
from weave.mesh.gossip import Gossip
from weave.mesh.messages import (
    Delta,
    Digest,
    Goodbye,
    Heartbeat,
    Message,
    SummaryList,
    Unicast,
    Unknown,
    Want,
)
from weave.mesh.network import Memo, Network
from weave.mesh.peers import LocalPeer, MeshConfig, RemotePeer
from weave.mesh.planning import Planning, planner_of
from weave.mesh.pulse import Pulse
from weave.mesh.status import MeshStatus
from weave.mesh.timers import Timers
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random

TABLES = rows.TABLES
DUPLICATE_CONNECTION = "duplicate of another connection to the same peer"
RESTARTED = "the other end started anew"
CLONED = "the same key runs on two machines"
TOO_MANY = "too many connections to one peer"
SURPLUS = "no longer needed"
SILENT = f"nothing heard for {limits.DEAD_AFTER_S:g} s"


class MeshCore(MeshStatus):
    """One peer of the mesh; see the module."""

    def __init__(
        self,
        *,
        me: LocalPeer,
        signer: Signer,
        verifier: Verifier,
        config: MeshConfig,
        rng: "Random",
        now: float,
        planner: Planning | None = None,
        memo: Memo | None = None,
        restored: rows.Tables | None = None,
    ) -> None:
        effects: list[Effect] = []
        gossip = Gossip(me, signer, verifier, config, restored or {})
        super().__init__(
            me,
            gossip,
            Network(me.name, memo or Memo()),
            Connections(me.name),
            Courier(gossip, effects),
            planner or planner_of(me, config, rng),
        )
        self._config = config
        self._rng = rng
        self._now = now
        self._effects = effects
        self._rows: list[Change] = []
        self._absences = Absences()
        self._is_planning_due = True
        self._graph_done_at = self._links_done_at = self._discovery_done_at = -inf
        self._reach_changed_at = self._rewired_at = self._upheaval_at = -inf
        self._pulse = Pulse(self._connections, gossip, self._courier, rng, now)
        self._timers = Timers(
            sweep=now + limits.FLOOR_DELAY_S if me.incarnation > 1 else inf,
            forget=now + limits.FORGET_CHECK_S,
        )

    # --- life ------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Publish who we are and tell the listeners what was restored; call it once, first."""
        self._now = now
        self._gossip.cover(self._network.reachable)
        for name, channel in self._gossip.channels():
            changes = tuple(channel.changes())
            if changes:
                self._effects.append(Changed(name, changes))
        self._publish_peer()
        return self._finish()

    def advertise(self, addresses: tuple[str, ...], now: float) -> list[Effect]:
        """Tell everybody at which underlay addresses we are."""
        self._now = now
        self._me = replace(self._me, addresses=addresses)
        self._publish_peer()
        return self._finish()

    def deadline(self) -> float:
        """Return when `tick` wants to be called."""
        return min(self._timers.first(), self._pulse.due, self._planner.deadline())

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        self._now = now
        timers = self._timers
        if now > self.deadline() + limits.STALL_GRACE_S:
            self._connections.excuse_silence(now)
        if now >= timers.dead:
            self._bury()
        if now >= timers.graph:
            self._refresh()
        if now >= timers.links:
            self._publish_links()
        if now >= self._pulse.due:
            self._pulse.beat(now)
        if now >= timers.sweep:
            timers.sweep = inf
            self._gossip.sweep(self._spread, now)
        if now >= timers.forget:
            self._forget_unreachable()
        if now >= timers.discovery:
            self._discover()
        if now >= timers.flush:
            self._flush()
        self._is_planning_due |= now >= self._planner.deadline()
        return self._finish()

    # --- connections -----------------------------------------------------------------------------------------

    def connection_up(
        self, conn: int, remote: RemotePeer, *, address: str, outbound: bool, target: str | None, now: float
    ) -> list[Effect]:
        """Take in a connection whose handshake succeeded; `address` is the other end's, `target` what was dialled."""
        self._now = now
        self._planner.connected(conn, remote.name, address, outbound, target, now)
        connection = Connection(conn, remote, address, outbound, since=now, heard_at=now)
        self._connections.add(connection)
        refusal = self._gossip.identities.admit(remote.name, remote.identity)
        if not refusal and self._connections.is_clone(connection):
            self._clones.saw(remote.name, address, now)
            refusal = CLONED
        if not refusal and self._connections.is_one_too_many(connection):
            refusal = TOO_MANY
        if refusal:
            self.refuse(refusal)
            self._close(connection, refusal)
            return self._finish()
        for each in self._connections.earlier_lives(connection):
            self._connections.retire(each)
            self._close(each, RESTARTED)
        self._pulse.send(connection, now)
        for rival in self._connections.rivals(connection, now):
            self._pulse.send(rival, now)
        self._timers.dead = min(self._timers.dead, now + limits.DEAD_AFTER_S)
        self._links_changed()
        return self._finish()

    def connection_down(self, conn: int, reason: str, now: float) -> list[Effect]:
        """Take note that a connection ended; one that is unknown, or that we closed, has no effect."""
        connection = self._connections.get(conn)
        if connection is None:
            return []
        self._now = now
        self._drop(connection, reason)
        return self._finish()

    def dial_failed(self, target: str, reason: str, retry: bool, now: float) -> list[Effect]:
        """Take note that a dial did not become a connection."""
        self._now = now
        self._planner.failed(target, reason, retry, now)
        self._is_planning_due = True
        return self._finish()

    def heard(self, conn: int, now: float) -> None:
        """Take note that octets arrived, though maybe no whole message."""
        connection = self._connections.get(conn)
        if connection is not None:
            connection.heard_at = now

    def congested(self, conn: int, is_congested: bool, now: float) -> list[Effect]:
        """Hold gossip for a connection whose buffer is filling, or let it flow again."""
        connection = self._connections.get(conn)
        if connection is None:
            return []
        self._now = now
        connection.is_congested = is_congested
        if not is_congested:
            self._courier.resume(connection)
            self._flush_now(connection)
        return self._finish()

    def add_targets(self, addresses: Sequence[str], now: float, *, replace: bool = False) -> list[Effect]:
        """Connect to addresses that a person named, and stay connected; raise `LocalError` for what is none."""
        self._now = now
        self._planner.add_targets(addresses, now, replace)
        self._is_planning_due = True
        return self._finish()

    def forget(self, addresses: Sequence[str], now: float) -> list[Effect]:
        """No longer try to connect to addresses."""
        self._now = now
        self._planner.forget(addresses, now)
        self._is_planning_due = True
        return self._finish()

    # --- applications ----------------------------------------------------------------------------------------

    def check(self, channel: str, key: bytes, value: bytes | None) -> None:
        """Raise `LocalError` for what could not be published now."""
        self._gossip.check(channel, key, value)

    def publish(self, channel: str, key: bytes, value: bytes | None, now: float) -> list[Effect]:
        """Set a key of ours in a channel, or withdraw it with None; raise `LocalError` for what cannot be."""
        self._now = now
        self._rows += self._gossip.publish(channel, key, value, self._spread, now)
        return self._finish()

    def send(self, destination: PeerName, kind: str, payload: bytes, now: float) -> list[Effect]:
        """Send a unicast message, best effort."""
        self._now = now
        self._route(Unicast(self._me.name, destination, 0, kind, payload))
        return self._finish()

    def retire(self, now: float) -> list[Effect]:
        """Withdraw all that we publish but what is durable, for we leave for good: nobody need remember us."""
        self._now = now
        self._gossip.withdraw(self._spread, now)
        return self._finish()

    def refuse(self, reason: str) -> None:
        """Count something that was refused, also by the shell on our behalf."""
        self._gossip.refused[reason] += 1

    # --- messages --------------------------------------------------------------------------------------------

    def message(self, conn: int, message: Message, now: float) -> list[Effect]:
        """Take in a message."""
        connection = self._connections.get(conn)
        if connection is None:
            return []
        self._now = now
        connection.heard_at = now
        if not connection.is_established:
            self._connections.establish(connection)
            self._links_changed()
        self._handle(connection, message)
        for surplus in self._connections.surplus(connection.peer):
            self._close(surplus, DUPLICATE_CONNECTION)
        return self._finish()

    def _handle(self, connection: Connection, message: Message) -> None:
        match message:
            case Heartbeat():
                self._on_heartbeat(connection, message)
            case Delta():
                self._on_delta(connection, message)
            case Digest() | SummaryList() | Want():
                self._on_exchange(connection, message)
            case Unicast():
                self._on_unicast(connection, message)
            case Goodbye():
                if message.reason in (RESTARTED, CLONED):  # we are alive, and were not restarted
                    self._clones.saw_ours(self._now)
                self._close(connection, message.reason, says_goodbye=False)
            case Unknown():
                self.refuse("message of a later version")

    def _on_heartbeat(self, connection: Connection, message: Heartbeat) -> None:
        is_first = connection.stamp == 0
        self._pulse.heard(connection, message, self._now)
        if connection.is_congested:
            return  # who does not read what we say is told no more of it
        if not is_first or self._me.name < connection.peer:  # the lower name begins the first exchange
            self._compare(connection, is_first=is_first)
        if not message.echo:
            self._pulse.send(connection, self._now)  # at once, so that both ends know the round trip from the start

    def _compare(self, connection: Connection, *, is_first: bool) -> None:
        is_quiet = self._now - self._reach_changed_at >= limits.QUIET_BEFORE_HEALING_S
        for healing in self._gossip.healing.values():
            if is_first:
                began = healing.greet(connection, self._now)
            else:
                began = healing.compare(connection, self._now, quiet=is_quiet)
            for item in began:
                self._courier.send(connection, item)

    def _on_delta(self, connection: Connection, message: Delta) -> None:
        received = self._gossip.receive(connection.conn, message, self._spread, self._now)
        self._rows += received.rows
        if received.changes:
            self._tell(message.channel, received.changes)
        healing = self._gossip.healing.get(message.channel)
        if healing is None:
            return
        for other, item in healing.on_answer(connection, message.root, self._now):
            self._courier.send(other, item)

    def _on_exchange(self, connection: Connection, message: Digest | SummaryList | Want) -> None:
        healing = self._gossip.healing.get(message.channel)
        if healing is None or connection.is_congested:
            return
        for item in healing.on_message(connection, message, self._now):
            self._courier.send(connection, item)
        self._flush_now(connection)

    def _tell(self, channel: str, changes: list[ChannelChange]) -> None:
        """Tell the listeners of a channel; the topology's own listener is the network."""
        if channel != topology.CHANNEL:
            self._effects.append(Changed(channel, tuple(changes)))
            return
        for reason in self._network.apply(changes):
            self.refuse(reason)
        self._topology_changed()

    # --- unicast ---------------------------------------------------------------------------------------------

    def _on_unicast(self, connection: Connection, message: Unicast) -> None:
        if message.hops == 0 and message.source != connection.peer:
            self.refuse("unicast under another's name")
        elif message.hops >= limits.MAX_HOPS:
            self.refuse("unicast in a loop")
        else:
            self._route(replace(message, hops=message.hops + 1))

    def _route(self, message: Unicast) -> None:
        if message.destination == self._me.name:
            self._effects.append(Deliver(message.source, message.kind, message.payload))
            return
        connection = self._next_hop(message.destination)
        if connection is None:
            self.refuse("unicast without a route")
        elif not self._courier.relay(connection, message):
            self.refuse("unicast over a congested link")

    def _next_hop(self, destination: PeerName) -> Connection | None:
        chosen = self._connections.chosen
        if destination in chosen:
            return chosen[destination]
        hop = self._network.graph.next_hop(self._me.name, destination)
        return None if hop is None else chosen.get(hop)

    # --- connections that end --------------------------------------------------------------------------------

    def _close(self, connection: Connection, reason: str, *, says_goodbye: bool = True) -> None:
        if says_goodbye:
            self._courier.send(connection, Goodbye(reason[: limits.MAX_REASON_CHARS]))
        self._effects.append(Close(connection.conn, reason))
        self._drop(connection, reason)

    def _drop(self, connection: Connection, reason: str) -> None:
        self._connections.remove(connection)
        self._courier.drop(connection)
        for healing in self._gossip.healing.values():
            healing.drop(connection.conn)
        self._planner.disconnected(connection.conn, reason, self._now)
        self._links_changed()

    def _bury(self) -> None:
        """Close connections that have been silent for too long."""
        for connection in self._connections.silent(self._now):
            self._close(connection, SILENT, says_goodbye=False)
        self._timers.dead = self._connections.dead_at()

    # --- the graph -------------------------------------------------------------------------------------------

    def _links_changed(self) -> None:
        """Follow a change of our own links: in the graph at once, to the others gathered."""
        self._network.set_own_links(self._connections.links())
        self._is_planning_due = True
        if self._timers.links == inf:
            self._timers.links = max(
                self._now + limits.LINKS_DELAY_S, self._links_done_at + limits.LINKS_INTERVAL_S
            )
        self._topology_changed()

    def _topology_changed(self) -> None:
        if self._timers.graph == inf and self._network.is_stale:
            self._timers.graph = max(self._now, self._graph_done_at + limits.GRAPH_INTERVAL_S)
        if self._timers.discovery == inf and self._config.discovery:
            self._timers.discovery = max(self._now, self._discovery_done_at + limits.DISCOVERY_INTERVAL_S)

    def _refresh(self) -> None:
        """Compute the graph, and tell who came and went."""
        self._timers.graph = inf
        self._graph_done_at = self._now
        reach = self._network.refresh()
        if reach.is_rewired:
            self._rewired_at = self._now
            self._upheaval_at = self._now if reach.is_upheaval else self._upheaval_at
            self._pulse.hasten(limits.REWIRED_HEARTBEAT_DELAY_S, self._now)
        if reach.appeared or reach.vanished:
            self._reach_changed_at = self._now
            self._gossip.cover(self._network.reachable)
            self._absences.end(reach.appeared)
            self._absences.begin(reach.vanished, self._now)
            self._pulse.hasten(limits.REACH_HEARTBEAT_DELAY_S, self._now)
        if reach.appeared or reach.vanished or reach.is_news:
            self._effects.append(PeersChanged(reach.appeared, reach.vanished))

    def _publish_links(self) -> None:
        self._timers.links = inf
        self._links_done_at = self._now
        links = self._connections.links()
        if len(links) > limits.MAX_LINKS:
            self.refuse("more connections than we can tell others of")
        value = topology.encode_links(links)
        self._gossip.publish(topology.CHANNEL, topology.LINKS_KEY, value, self._spread, self._now)

    def _publish_peer(self) -> None:
        value = topology.peer_record_of(self._me)
        self._gossip.publish(topology.CHANNEL, topology.PEER_KEY, value, self._spread, self._now)
        self._network.apply([ChannelChange(self._me.name, topology.PEER_KEY, value)])
        self._topology_changed()

    def _spread(self, owner: PeerName, source: int | None) -> list[Connection]:
        """Return the connections to which an owner's entries go on; gossip will be queued for them."""
        self._timers.flush = min(self._timers.flush, self._now + limits.FLUSH_DELAY_S)
        chosen = self._connections.chosen
        names: Iterable[PeerName] = chosen if owner == self._me.name else self._relays(owner, chosen)
        found = [chosen[name] for name in names if name != owner and chosen[name].conn != source]
        self._courier.await_flush(found)
        return found

    def _relays(self, owner: PeerName, neighbours: Iterable[PeerName]) -> list[PeerName]:
        """Return the neighbours to whom we pass on what another peer wrote.

        In a mesh at rest they are those below us in the owner's tree. While trees may differ, some others at random
        make up for it; in an upheaval they alone do, as an epidemic.
        """
        if owner not in self._network.reachable or self._now - self._upheaval_at < limits.UNSETTLED_S:
            return self._some(self._network.not_beside(owner, neighbours), limits.UPHEAVAL_FANOUT)
        below = self._network.below(owner, neighbours)
        if not self._network.is_stale and self._now - self._rewired_at >= limits.UNSETTLED_S:
            return below
        others = [name for name in self._network.not_beside(owner, neighbours) if name not in below]
        return [*below, *self._some(others, limits.UNSETTLED_FANOUT)]

    def _some(self, names: list[PeerName], count: int) -> list[PeerName]:
        """Return so many of some neighbours, at random."""
        return names if len(names) <= count else self._rng.sample(names, count)

    def _discover(self) -> None:
        self._timers.discovery = inf
        self._discovery_done_at = self._now
        found = self._network.addresses(self._gossip.root_of(topology.CHANNEL))
        self._planner.peers_known(found, self._now)
        self._is_planning_due = True

    def _forget_unreachable(self) -> None:
        """Forget who has been unreachable for long, and begin to count for who turned up without a path."""
        self._timers.forget = self._now + limits.FORGET_CHECK_S
        self._clones.count(self._gossip.strangers(), self._now)
        self._absences.begin(self._gossip.forgettable() - self._network.reachable, self._now)
        due = self._absences.forget(self._now)
        for name in due:
            for channel, changes in self._gossip.forget(name):
                self._tell(channel, list(changes))
        if due:
            self._effects.append(PeersChanged(forgotten=tuple(due)))

    # --- output ----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        has_more = self._courier.flush_all()
        self._timers.flush = self._now + limits.FLUSH_DELAY_S if has_more else inf

    def _flush_now(self, connection: Connection) -> None:
        if connection.outbox and self._courier.flush(connection):
            self._courier.await_flush([connection])
            self._timers.flush = min(self._timers.flush, self._now + limits.FLUSH_DELAY_S)

    def _finish(self) -> list[Effect]:
        """Close an event: plan where something changed, refresh where it is due, and hand over the effects."""
        if self._timers.graph <= self._now:
            self._refresh()
        if self._is_planning_due:
            self._is_planning_due = False
            self._plan()
        if self._rows:
            self._effects.append(Persist(tuple(self._rows)))
            self._rows.clear()
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    def _plan(self) -> None:
        step = self._planner.plan(self._now)
        self._effects.extend(map(Dial, step.dial))
        for conn in step.close:
            connection = self._connections.get(conn)
            if connection is not None:
                self._close(connection, SURPLUS)
