"""One control connection as a trio shell: handshake with a deadline, then a reader and a writer.

A link holds no policy: what it hears goes to its owner (`MeshService`), what the owner wants sent waits in a bounded
outbox. A full outbox is told to the owner as congestion; it never blocks anyone and never grows past its bound.

Whether the other host is still there, the kernels ask each other, which wakes neither process; ours knows when it was
last answered.
"""

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct

import trio

from weave.errors import RemoteError
from weave.mesh import limits
from weave.mesh.framing import Session
from weave.mesh.handshake import Established, Handshake, HandshakeRefused
from weave.mesh.messages import Message, decode, encode
from weave.mesh.reasons import Reason

HANDSHAKE_DEADLINE_S = 5.0
"""A healthy handshake is two round trips; strangers get no longer to hold a slot."""
RECEIVE_BYTES = 65536
OUTBOX_HIGH_WATER_BYTES = 1 << 20
"""Above this the core stops giving us messages for this link; it coalesces them instead."""
OUTBOX_LOW_WATER_BYTES = 1 << 18
GOODBYE_DEADLINE_S = 1.0
_TCP_INFO = Struct("=52xII")
"""Up to the milliseconds since data, and since an acknowledgement, came (linux/tcp.h)."""


class LinkClosed(RemoteError):  # noqa: N818 - the name says what happened
    """The connection ended; the message says why, for `weave status connections`."""


@dataclass(slots=True, eq=False)
class Link:
    """An established connection: its session, its outbox and its counters."""

    conn: int
    stream: trio.SocketStream
    session: Session
    on_congested: Callable[[int, bool], None]
    on_heard: Callable[[int], None]
    on_malformed: Callable[[int, RemoteError], None]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    close_reason: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
    _outbox: deque[bytes] = field(default_factory=deque)
    _queued_bytes: int = 0
    _wake: trio.Event = field(default_factory=trio.Event)
    _congested: bool = False

    def send(self, message: Message) -> None:
        """Queue a message; tell the owner when the link no longer keeps up."""
        payload = encode(message)
        self._outbox.append(payload)
        self._queued_bytes += len(payload)
        self._wake.set()
        if self._queued_bytes > OUTBOX_HIGH_WATER_BYTES and not self._congested:
            self._congested = True
            self.on_congested(self.conn, True)

    def close(self, reason: str) -> None:
        """End the link once what is queued has left, or shortly after where the other end does not read."""
        self.close_reason = self.close_reason or reason
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + GOODBYE_DEADLINE_S)
        self._wake.set()

    def fail(self, reason: str) -> None:
        """End the link at once."""
        self.close_reason = self.close_reason or reason
        self.scope.cancel()

    def silence_s(self) -> float:
        """Return for how long the other end's kernel has not been heard."""
        info = self.stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        assert isinstance(info, bytes), "as a size was given"
        return float(min(_TCP_INFO.unpack(info))) / 1000

    async def run(self, leftover: bytes, on_message: Callable[[int, Message], None]) -> str:
        """Carry messages until the connection ends; return the reason in words."""
        with self.scope:
            try:
                _keep_alive(self.stream)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(leftover, on_message)
            except* (RemoteError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as group:
                self.close_reason = self.close_reason or _first_reason(group)
        return self.close_reason or "closed"

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._outbox:
                batch = [self._outbox.popleft() for _ in range(min(64, len(self._outbox)))]
                self._queued_bytes -= sum(map(len, batch))
                data = b"".join(map(self.session.seal, batch))
                await self.stream.send_all(data)
                self.sent_bytes += len(data)
            if self._congested and self._queued_bytes < OUTBOX_LOW_WATER_BYTES:
                self._congested = False
                self.on_congested(self.conn, False)
            if self.close_reason:
                self.scope.cancel()

    async def _read(self, leftover: bytes, on_message: Callable[[int, Message], None]) -> None:
        data = leftover
        while True:
            for payload in self.session.receive(data):
                try:
                    message = decode(payload)
                except RemoteError as exc:
                    self.on_malformed(self.conn, exc)
                    continue
                on_message(self.conn, message)
            data = await self.stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise LinkClosed("the other end closed the connection")
            self.received_bytes += len(data)
            self.on_heard(self.conn)


def _keep_alive(stream: trio.SocketStream) -> None:
    """Let the kernel ask the other one for a sign of life."""
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, limits.KEEPALIVE_INTERVAL_S),
    ):
        stream.setsockopt(level, option, value)


def _first_reason(group: BaseExceptionGroup[BaseException]) -> str:
    """Return the words of the first leaf of a group of failures."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    if isinstance(leaf, trio.BrokenResourceError) and leaf.__cause__ is not None:
        leaf = leaf.__cause__
    if isinstance(leaf, OSError) and leaf.strerror:
        return leaf.strerror.lower()
    return str(leaf) or type(leaf).__name__


async def shake_hands(stream: trio.SocketStream, handshake: Handshake) -> Established:
    """Run a handshake over a fresh connection; raise `HandshakeRefused` with the reason both ends will show.

    Raises `LinkClosed` where the other end goes, or no longer takes what it is told.
    """
    try:
        with trio.fail_after(HANDSHAKE_DEADLINE_S):
            return await _exchange(stream, handshake)
    except trio.TooSlowError as exc:
        if handshake.established is not None:  # all was said but our last word, which the other end does not take
            raise LinkClosed(f"the handshake was not over within {HANDSHAKE_DEADLINE_S:g} s") from exc
        refusal = handshake.refuse(Reason.TIMEOUT, f"nothing for {HANDSHAKE_DEADLINE_S:g} s")
    except HandshakeRefused as exc:
        refusal = exc
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise LinkClosed(_first_reason(BaseExceptionGroup("handshake", [exc]))) from exc
    await _say_goodbye(stream, refusal.reply)
    raise refusal


async def _exchange(stream: trio.SocketStream, handshake: Handshake) -> Established:
    await stream.send_all(handshake.start())
    while handshake.established is None:
        data = await stream.receive_some(RECEIVE_BYTES)
        if not data:
            raise LinkClosed("the other end closed the connection during the handshake")
        reply = handshake.receive(data)
        if reply:
            await stream.send_all(reply)
    return handshake.established


async def _say_goodbye(stream: trio.SocketStream, reply: bytes) -> None:
    """Tell the other end why, so that it shows the same reason; a stranger who does not read is not waited for."""
    if not reply:
        return
    with trio.move_on_after(GOODBYE_DEADLINE_S) as scope:
        scope.shield = True
        try:
            await stream.send_all(reply)
            await stream.send_eof()
            while await stream.receive_some(RECEIVE_BYTES):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            return
