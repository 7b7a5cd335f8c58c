"""Streams: length-framed queries, pipelined (RFC 7766), within bounds of number, of silence and of slowness."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from weave.dns.limits import MAX_TCP_CONNECTIONS, MAX_TCP_PIPELINED, TCP_IDLE_S, TCP_SEND_S
from weave.dns.responder import Forward, Responder

Resolve: TypeAlias = Callable[[Forward], Awaitable[bytes]]

_LENGTH_BYTES = 2
_READ_BYTES = 4096


class TcpListener:
    """Answers the connections of one listening socket; `active` is shared by all of a server."""

    def __init__(
        self,
        listener: trio.SocketListener,
        responder: Responder,
        resolve: Resolve,
        *,
        drops: Counter[str],
        active: set[trio.SocketStream],
    ) -> None:
        self._listener = listener
        self._responder = responder
        self._resolve = resolve
        self._drops = drops
        self._active = active

    async def run(self) -> None:
        """Serve until cancelled; raise `OSError` where the socket fails."""
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        if len(self._active) >= MAX_TCP_CONNECTIONS:
            self._drops["tcp_connections"] += 1
            await trio.aclose_forcefully(stream)
            return
        self._active.add(stream)
        try:
            await self._converse(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
            self._drops["tcp_broken"] += 1
        finally:
            self._active.discard(stream)
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        source = str(stream.socket.getpeername()[0])
        connection = _Connection(stream)
        async with trio.open_nursery() as nursery:
            while (message := await connection.receive()) is not None:
                reply = self._responder.stream(message, source)
                if reply is None:
                    nursery.cancel_scope.cancel()
                elif isinstance(reply, bytes):
                    await connection.send(reply)
                else:
                    await connection.in_flight.acquire()
                    nursery.start_soon(self._forward, reply, connection)

    async def _forward(self, forward: Forward, connection: "_Connection") -> None:
        try:
            await connection.send(await self._resolve(forward))
        finally:
            connection.in_flight.release()


class _Connection:
    """One client's stream, cut into messages."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.in_flight = trio.Semaphore(MAX_TCP_PIPELINED)
        self._stream = stream
        self._buffer = bytearray()
        self._sending = trio.Lock()

    async def receive(self) -> bytes | None:
        """Return the next message; None when the client has closed, or was silent for too long."""
        with trio.move_on_after(TCP_IDLE_S):
            while True:
                length = int.from_bytes(self._buffer[:_LENGTH_BYTES])
                end = _LENGTH_BYTES + length
                if len(self._buffer) >= max(end, _LENGTH_BYTES):
                    message = bytes(self._buffer[_LENGTH_BYTES:end])
                    del self._buffer[:end]
                    return message
                part = await self._stream.receive_some(_READ_BYTES)
                if not part:
                    return None
                self._buffer += part
        return None

    async def send(self, message: bytes) -> None:
        """Send one message; raise `TooSlowError` where the client does not take it."""
        async with self._sending:
            with trio.fail_after(TCP_SEND_S):
                await self._stream.send_all(len(message).to_bytes(_LENGTH_BYTES) + message)
