"""One connection of the API: Hypercorn's HTTP/1.1 over one of our streams. The adapter of that package.

Hypercorn offers more than a control API should: HTTP/2 by preface or upgrade, with rules of its own for idle peers, is
switched off here. It also keeps a connection that its client has closed until the idle time is over; we do not.
"""

import logging
from typing import cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from starlette.types import ASGIApp

SEND_DEADLINE_S = 10.0
"""How long a client may refuse to take its answer."""
_HypercornStream = trio.SSLStream[trio.SocketStream]
"""What Hypercorn says it takes; it takes any stream."""


class BoundedStream(trio.abc.Stream):
    """A connection whose client must take what it asked for within a deadline.

    Hypercorn sends under a shield: without the deadline, a client that does not read could keep the router from ending.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all or, when the client does not take it, close the connection."""
        with trio.move_on_after(SEND_DEADLINE_S):
            await self._stream.send_all(data)
            return
        self.abort()
        raise trio.BrokenResourceError(f"the client took nothing for {SEND_DEADLINE_S:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive as the stream does."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Say that nothing more comes."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close; again is no error."""
        await self._stream.aclose()

    def abort(self) -> None:
        """Close at once; whoever waits to send or receive here is told so."""
        self._stream.socket.close()


class Shared:
    """What all connections of one server share."""

    def __init__(self, app: ASGIApp, log: logging.Logger, idle_deadline_s: float) -> None:
        self.app = ASGIWrapper(cast(ASGIFramework, app))
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.accesslog = None
        self.config.errorlog = log
        self.config.include_server_header = False
        self.config.keep_alive_timeout = idle_deadline_s
        self.config.keep_alive_max_requests = 1 << 62

    async def end(self) -> None:
        """Let idle connections close, and the others after the answer that is under way."""
        await self.context.terminated.set()


class _Http11(H11Protocol):
    """Hypercorn's HTTP/1.1 that stays HTTP/1.1."""

    async def _check_protocol(self, event: object) -> None:
        """Change to no other protocol; an upgrade that is not taken is ignored (RFC 9110, 7.8)."""


class _Connection(TCPServer):
    """Hypercorn's connection, less TLS and HTTP/2."""

    async def run(self) -> None:
        async with TaskGroup() as group:
            self._task_group = group
            state = ConnectionState(self.state)
            self.protocol = cast(ProtocolWrapper, _Http11(
                self.app, self.config, self.context, group, state, False, None, None, self.protocol_send))
            await self.idle_task.restart(group, self._idle_timeout)
            await self._read_data()
            await self.idle_task.stop()
        await self._close()


async def serve_connection(shared: Shared, stream: BoundedStream) -> None:
    """Serve requests until the client or we close; raise what Hypercorn makes of a client that breaks the rules.

    Where it raises, the stream is left to its owner to close.
    """
    await _Connection(shared.app, shared.config, shared.context, {}, cast(_HypercornStream, stream)).run()
