"""The mesh as the router sees it: the core of `weave.mesh.core` with sockets, a clock and randomness around it.

Three loops and no policy: connections feed bytes to the core, effects of the core become sends, dials and callbacks,
a timer sleeps until the core's deadline. Effects are applied synchronously, in order, before the first await; what
must be awaited (a dial, a handshake) is a task of the service's own nursery.
"""

import logging
import os
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from math import inf

import trio

from store.changes import Change
from weave.addresses import IPAddress, IPNetwork
from weave.errors import EnvironmentFailure, RemoteError
from weave.logs import RateLimit, fields
from weave.mesh import limits
from weave.mesh.core import MeshCore
from weave.mesh.effects import Changed, Close, Deliver, Dial, Effect, PeersChanged, Persist, Send
from weave.mesh.entries import ChannelChange
from weave.mesh.framing import Session
from weave.mesh.handshake import Handshake, HandshakeRefused, Hello
from weave.mesh.identity import Identity
from weave.mesh.link import Link, LinkClosed, shake_hands
from weave.mesh.messages import Message
from weave.mesh.peers import RemotePeer
from weave.mesh.preamble import PROTOCOL_MAX, PROTOCOL_MIN
from weave.mesh.reasons import Reason
from weave.names import PeerName

log = logging.getLogger("weave.mesh")

MAX_HALF_OPEN = 64
"""Handshakes of strangers at one time; a mesh of 1,000 starting together retries within seconds."""
DIAL_DEADLINE_S = 10.0
MAX_INBOUND_REFUSALS = 32
"""How many strangers at our door `weave status connections` remembers."""
LISTEN_BACKLOG = 256
FAREWELL_S = 0.3
"""What is published is handed to the connections within a twentieth of a second; a slow link gets no longer."""
ANY_ADDRESS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - peers come from anywhere
LOOK_AT_HOSTS_S = 0.25
"""The least time between two looks at when hosts were last heard."""
ACCEPT_RETRY_S = 0.1
"""Pause after accept failed for want of descriptors or memory."""
TRUSTS_US = "trusts_us"
"""Feature of a connected peer: our address, as it sees it, lies in its --trusted-subnets."""
SEES_US = "sees"
"""Feature of a connected peer: our address as it sees it, packed. One that is none of ours was translated (NAT)."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What the shell needs to know; what the core needs stands in `MeshConfig`."""

    listen: IPAddress | None
    port: int
    psks: tuple[bytes, ...]
    nickname: str
    uid: int
    trusted_subnets: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class InboundRefusal:
    """Somebody whom we turned away, or who turned away from us, at our own door."""

    address: str
    reason: str
    at: float


class MeshService:
    """Own the connections of this peer and run its mesh core."""

    def __init__(self, identity: Identity, core: MeshCore, config: ServiceConfig) -> None:
        self.core = core
        self.handshake_failures: Counter[str] = Counter()
        self.terminations = 0
        self.on_changed: Callable[[str, Sequence[ChannelChange]], None] = lambda _channel, _changes: None
        self.on_deliver: Callable[[str, PeerName, bytes], None] = lambda _kind, _source, _payload: None
        self.on_peers_changed: Callable[[], None] = lambda: None
        self.on_persist: Callable[[Sequence[Change]], None] = lambda _changes: None
        self.inbound_refusals: deque[InboundRefusal] = deque(maxlen=MAX_INBOUND_REFUSALS)
        self._identity = identity
        self._config = config
        self._links: dict[int, Link] = {}
        self._next_conn = 1
        self._half_open = 0
        self._kick = trio.Event()
        self._sleeps_until = inf
        self._rate = RateLimit()
        self._told: Counter[str] = Counter()
        """The refused records that the log knows of."""
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial and gossip until cancelled; started once peers can connect."""
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            listeners = [await stack.enter_async_context(listener) for listener in self._open_listeners()]
            self._nursery = nursery
            for listener in listeners:
                nursery.start_soon(self._accept, listener)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._watch_hosts)
            self._apply(self.core.start(trio.current_time()))
            task_status.started()

    def check(self, channel: str, key: bytes, value: bytes | None) -> None:
        """Raise `LocalError` for what could not be published now."""
        self.core.check(channel, key, value)

    def publish(self, channel: str, key: bytes, value: bytes | None) -> None:
        """Set or (None) withdraw an entry of ours; it is everywhere soon."""
        self._apply(self.core.publish(channel, key, value, trio.current_time()))

    def send(self, destination: PeerName, kind: str, payload: bytes) -> None:
        """Send a message to one peer, relayed where need be; it may be lost."""
        self._apply(self.core.send(destination, kind, payload, trio.current_time()))

    def connect(self, addresses: Sequence[str], *, replace: bool = False) -> None:
        """Add targets that are dialled for ever; with `replace` they are the only ones."""
        self._apply(self.core.add_targets(addresses, trio.current_time(), replace=replace))

    def forget(self, addresses: Sequence[str]) -> None:
        """Drop targets; a live connection stays up."""
        self._apply(self.core.forget(addresses, trio.current_time()))

    def advertise(self, addresses: Sequence[str]) -> None:
        """Tell every peer at which underlay addresses we are from now on."""
        self._apply(self.core.advertise(tuple(addresses), trio.current_time()))

    async def retire(self) -> None:
        """Withdraw what we published, for we leave for good; return when the news is on its way."""
        self._apply(self.core.retire(trio.current_time()))
        await trio.sleep(FAREWELL_S)

    def link(self, conn: int) -> Link | None:
        """Return the shell of a connection, for its counters."""
        return self._links.get(conn)

    # -- effects ------------------------------------------------------------------------------------------------

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self._perform(effect)
        if self.core.deadline() < self._sleeps_until:
            self._kick.set()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Send(conn, message):
                link = self._links.get(conn)
                if link is not None:
                    link.send(message)
            case Close(conn, reason):
                link = self._links.get(conn)
                if link is not None:
                    link.close(reason)
            case Dial(target):
                assert self._nursery is not None, "the core dials only while the service runs"
                self._nursery.start_soon(self._dial, target)
            case Changed(channel, changes):
                self.on_changed(channel, changes)
            case Deliver(source, kind, payload):
                self.on_deliver(kind, source, payload)
            case PeersChanged():
                self.on_peers_changed()
            case Persist(changes):
                self.on_persist(changes)

    async def _keep_time(self) -> None:
        """Tick when the core wants it: an earlier deadline wakes this task, a later one is seen on waking."""
        while True:
            self._kick = trio.Event()
            self._sleeps_until = self.core.deadline()
            with trio.move_on_at(self._sleeps_until):
                await self._kick.wait()
            if trio.current_time() >= self.core.deadline():
                self._apply(self.core.tick(trio.current_time()))

    async def _watch_hosts(self) -> None:
        """End connections to hosts that answer our kernel no longer.

        The kernel ends idle ones by itself, but not those on which something was sent meanwhile.
        """
        while True:
            longest_s = 0.0
            for link in self._links.values():
                silence_s = link.silence_s()
                if silence_s >= limits.VANISHED_AFTER_S:
                    link.fail(f"the host has not answered for {limits.VANISHED_AFTER_S:g} s")
                else:
                    longest_s = max(longest_s, silence_s)
            await trio.sleep(max(LOOK_AT_HOSTS_S, limits.VANISHED_AFTER_S - longest_s))

    # -- connections --------------------------------------------------------------------------------------------

    def _open_listeners(self) -> list[trio.SocketListener]:
        host = self._config.listen
        families = [socket.AF_INET, socket.AF_INET6] if host is None else [
            socket.AF_INET if host.version == 4 else socket.AF_INET6
        ]
        listeners = []
        for family in families:
            text = str(host) if host is not None else ANY_ADDRESS[family]
            try:
                listeners.append(_listen(family, text, self._config.port))
            except OSError as exc:
                if family == socket.AF_INET6 and host is None and listeners:
                    continue  # a host without IPv6 is served over IPv4
                raise EnvironmentFailure(
                    f"cannot listen on TCP {text} port {self._config.port}: {exc.strerror}; "
                    "is another router running here? --port and --host choose another place"
                ) from exc
        return listeners

    async def _accept(self, listener: trio.SocketListener) -> None:
        assert self._nursery is not None
        while True:
            try:
                stream = await listener.accept()
            except OSError as exc:
                log.warning("cannot accept connections", extra=fields(reason=exc.strerror))
                await trio.sleep(ACCEPT_RETRY_S)
                continue
            if self._half_open >= MAX_HALF_OPEN:
                self.handshake_failures["too many at once"] += 1
                stream.socket.close()
                continue
            self._nursery.start_soon(self._answer, stream)

    async def _answer(self, stream: trio.SocketStream) -> None:
        """Serve a connection that somebody made to us."""
        address = _peer_address(stream)
        self._half_open += 1
        try:
            async with stream:
                try:
                    established = await shake_hands(stream, self._handshake(stream, initiator=False))
                finally:
                    self._half_open -= 1
                await self._carry(stream, established.hello, established.session, established.leftover,
                                  address=address, target=None)
        except (HandshakeRefused, LinkClosed) as exc:
            self._note_refusal(exc, address)
            self.inbound_refusals.append(InboundRefusal(address, str(exc), trio.current_time()))

    async def _dial(self, target: str) -> None:
        """Make a connection and serve it; every failure goes back to the planner with its reason."""
        try:
            stream = await self._connect(target)
            async with stream:
                established = await shake_hands(stream, self._handshake(stream, initiator=True))
                await self._carry(stream, established.hello, established.session, established.leftover,
                                  address=_peer_address(stream), target=target)
        except (HandshakeRefused, LinkClosed, EnvironmentFailure) as exc:
            self._note_refusal(exc, target)
            retry = not isinstance(exc, HandshakeRefused) or exc.reason.retry
            self._apply(self.core.dial_failed(target, str(exc), retry, trio.current_time()))

    async def _connect(self, target: str) -> trio.SocketStream:
        host, port = split_target(target, self._config.port)
        try:
            with trio.fail_after(DIAL_DEADLINE_S):
                stream = await trio.open_tcp_stream(host, port)
        except trio.TooSlowError as exc:
            raise LinkClosed(f"no answer within {DIAL_DEADLINE_S:g} s") from exc
        except socket.gaierror as exc:
            raise LinkClosed(f"cannot resolve {host}: {exc.strerror}") from exc
        except OSError as exc:
            raise LinkClosed(_os_words(exc)) from exc
        return stream

    async def _carry(self, stream: trio.SocketStream, hello: Hello, session: Session, leftover: bytes, *,
                     address: str, target: str | None) -> None:
        conn, self._next_conn = self._next_conn, self._next_conn + 1
        link = Link(conn, stream, session, self._congested, self._heard, self._malformed)
        self._links[conn] = link
        remote = RemotePeer(identity=hello.identity.encode(), name=hello.identity.name, nickname=hello.nickname,
                            uid=hello.uid, control_port=hello.control_port,
                            features={**hello.features, TRUSTS_US: hello.trusts_remote})
        log.info("connection up", extra=fields(peer=remote.name, nickname=hello.nickname, address=address,
                                               outbound=target is not None))
        reason = "shutting down"
        try:
            self._apply(self.core.connection_up(conn, remote, address=address, outbound=target is not None,
                                                target=target, now=trio.current_time()))
            reason = await link.run(leftover, self._message)
        finally:
            del self._links[conn]
            self.terminations += 1
            log.info("connection down", extra=fields(peer=remote.name, nickname=hello.nickname, address=address,
                                                     reason=reason))
            self._apply(self.core.connection_down(conn, reason, trio.current_time()))

    def _message(self, conn: int, message: Message) -> None:
        self._apply(self.core.message(conn, message, trio.current_time()))
        if self.core.refused.total() != self._told.total():
            self._note_records(conn)

    def _heard(self, conn: int) -> None:
        self.core.heard(conn, trio.current_time())

    def _malformed(self, conn: int, exc: RemoteError) -> None:
        """Count a message that makes no sense; it costs its sender nothing but the message."""
        self.core.refuse("malformed message")
        held_back = self._rate.admit(f"malformed {conn}", trio.current_time())
        if held_back is not None:
            log.warning("message refused", extra=fields(conn=conn, reason=exc, held_back=held_back))

    def _congested(self, conn: int, congested: bool) -> None:
        self._apply(self.core.congested(conn, congested, trio.current_time()))

    # -- handshake ----------------------------------------------------------------------------------------------

    def _handshake(self, stream: trio.SocketStream, *, initiator: bool) -> Handshake:
        remote = _host_of(stream)
        hello = Hello(
            identity=self._identity.public, nickname=self._config.nickname, uid=self._config.uid,
            protocol_min=PROTOCOL_MIN, protocol_max=PROTOCOL_MAX, control_port=self._config.port,
            trusts_remote=self.trusts(remote), features={SEES_US: remote.packed},
        )
        return Handshake(identity=self._identity, hello=hello, psks=self._config.psks, initiator=initiator,
                         ephemeral=secrets.token_bytes(32), judge=self._judge)

    def trusts(self, address: IPAddress) -> bool:
        """Return whether container traffic may travel unencrypted to this underlay address."""
        return any(address in subnet for subnet in self._config.trusted_subnets)

    def _judge(self, hello: Hello) -> Reason | None:
        """Return why a peer that proved its key must not join: another key has its name already."""
        known = self.core.identity_of(hello.identity.name)
        return Reason.DUPLICATE_NAME if known not in (None, hello.identity.encode()) else None

    def _note_records(self, conn: int) -> None:
        """Tell of records that were refused since the last time; the connection lives on."""
        fresh = self.core.refused - self._told
        self._told = self.core.refused.copy()
        remote = next((view for view in self.core.connections() if view.conn == conn), None)
        peer = "unknown" if remote is None else remote.peer
        held_back = self._rate.admit(f"records {peer}", trio.current_time())
        if held_back is not None:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(fresh.items()))
            log.warning("records refused", extra=fields(peer=peer, reason=reasons, held_back=held_back))

    def _note_refusal(self, exc: RemoteError | EnvironmentFailure, address: str) -> None:
        kind = exc.reason.name.lower() if isinstance(exc, HandshakeRefused) else "connection"
        self.handshake_failures[kind] += 1
        if isinstance(exc, HandshakeRefused) and exc.reason is Reason.CLONED_IDENTITY:
            self.core.saw_clone(trio.current_time())
        host = address.rpartition(":")[0] or address  # a stranger comes from another port each time
        held_back = self._rate.admit(f"{kind} {host}", trio.current_time())
        if held_back is not None:
            log.warning("connection refused", extra=fields(address=address, reason=str(exc), held_back=held_back))


def split_target(target: str, default_port: int) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `192.0.2.1:port`, `2001:db8::1` or `[2001:db8::1]:port`."""
    if target.startswith("["):
        host, _, rest = target[1:].partition("]")
        return host, int(rest[1:]) if rest.startswith(":") else default_port
    if target.count(":") == 1:
        host, _, port = target.partition(":")
        return host, int(port)
    return target, default_port


def _listen(family: socket.AddressFamily, address: str, port: int) -> trio.SocketListener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _host_of(stream: trio.SocketStream) -> IPAddress:
    """Return the other end's address; raise `LinkClosed` where it has reset the connection already."""
    try:
        return ip_address(stream.socket.getpeername()[0].partition("%")[0])
    except OSError as exc:
        raise LinkClosed(_os_words(exc)) from exc


def _peer_address(stream: trio.SocketStream) -> str:
    try:
        host, port, *_ = stream.socket.getpeername()
    except OSError:
        return "unknown"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _os_words(exc: OSError) -> str:
    """Return the reason of a failed dial in words; trio groups the failures of several addresses."""
    cause: BaseException | None = exc if exc.errno else exc.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return os.strerror(cause.errno).lower() if isinstance(cause, OSError) and cause.errno else str(exc)
