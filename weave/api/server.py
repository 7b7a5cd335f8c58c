"""Serve the API: which sockets, how many connections, and how they end.

`weave.api.connection` speaks HTTP on each connection; what happens when one breaks the rules is decided here: no
connection can stop the router, hold it up when it ends, or hold more than its share. Idle connections, and requests
whose head does not come, are closed after `IDLE_DEADLINE_S`.
"""

import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from weave.api.app import Statistics, build_app
from weave.api.connection import BoundedStream, Shared, serve_connection
from weave.api.control import Control
from weave.api.express import EXPRESS_PATH, Answerer, is_express, serve_express
from weave.api.intake import MAX_REQUESTS
from weave.api.sockets import identity, listen_tcp, listen_unix, remove_unix
from weave.logs import RateLimit, fields

log = logging.getLogger("weave.api")

MAX_LOCAL_CONNECTIONS = 512
"""A node that starts hundreds of containers at once, each with a connection of its own."""
MAX_PUBLIC_CONNECTIONS = 32
"""A few Prometheus servers and probes."""
IDLE_DEADLINE_S = 15.0
GRACE_S = 2.0
"""How long answers that are under way may still take when the router ends."""
_BUSY_BODY = b'{"error": "too many connections; ask again", "reason": "busy"}\n'
_BUSY = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
         b"Content-Length: %d\r\n\r\n%s" % (len(_BUSY_BODY), _BUSY_BODY))


async def serve(
    control: Control,
    socket_path: Path,
    *,
    statistics: Statistics | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the whole API on a unix socket until cancelled; ready once a client can connect."""
    statistics = statistics or Statistics()
    with listen_unix(socket_path) as listener:
        ours = identity(socket_path)
        try:
            shared = Shared(build_app(control, statistics), log, IDLE_DEADLINE_S)
            server = _Server(shared, statistics, MAX_LOCAL_CONNECTIONS, control.cni)
            await server.run(listener, lambda: task_status.started(None))
        finally:
            remove_unix(socket_path, ours)


async def serve_public(
    control: Control,
    host: str,
    port: int,
    *,
    statistics: Statistics | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve report, status and metrics, read-only, on TCP until cancelled; tell the port (0: the host chooses)."""
    statistics = statistics or Statistics()
    with listen_tcp(host, port) as listener:
        bound: int = listener.getsockname()[1]
        shared = Shared(build_app(control, statistics, only_public=True), log, IDLE_DEADLINE_S)
        server = _Server(shared, statistics, MAX_PUBLIC_CONNECTIONS)
        await server.run(listener, lambda: task_status.started(bound))


@dataclass(slots=True)
class _Server:
    """One listening socket and its connections."""

    shared: Shared
    statistics: Statistics
    most: int
    express: Answerer | None = None
    """Who answers the executables of CNI; None where they have no business."""
    express_at_work: int = 0
    streams: set[BoundedStream] = field(default_factory=set)
    errors: RateLimit = field(default_factory=RateLimit)

    async def run(self, listener: socket.socket, started: Callable[[], None]) -> None:
        """Accept until cancelled, having said when clients can connect; then give what is under way `GRACE_S`."""
        listener.setblocking(False)
        accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        ending = trio.Event()
        async with trio.open_nursery() as nursery:
            connections = await nursery.start(self._hold_connections, ending)
            try:
                await nursery.start(partial(trio.serve_listeners, self._serve, [accepting],
                                            handler_nursery=connections))
                started()
                await trio.sleep_forever()
            finally:
                ending.set()

    async def _hold_connections(
        self, ending: trio.Event, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Own the connections' nursery, which outlives the cancellation of the server by the grace period."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as guard:
                async with trio.open_nursery() as connections:
                    task_status.started(connections)
                    scope = connections.cancel_scope
                    await ending.wait()
                    await self.shared.end()
                    guard.start_soon(self._end_by_force, scope)
                guard.cancel_scope.cancel()

    async def _end_by_force(self, connections: trio.CancelScope) -> None:
        await trio.sleep(GRACE_S)
        for stream in list(self.streams):
            stream.abort()
        connections.cancel()

    async def _serve(self, accepted: trio.SocketStream) -> None:
        """Serve one connection; whatever goes wrong ends this connection alone."""
        if len(self.streams) >= self.most:
            self.statistics.refused_connections += 1
            await _turn_away(accepted)
            return
        stream = BoundedStream(accepted)
        self.streams.add(stream)
        try:
            if self.express is not None and await is_express(accepted):
                await self._serve_express(accepted, self.express)
            else:
                await serve_connection(self.shared, stream)
        except* Exception as group:  # noqa: BLE001 - a supervisor: one connection never ends the router
            self._note(group)
        finally:
            stream.abort()
            self.streams.discard(stream)

    async def _serve_express(self, accepted: trio.SocketStream, answerer: Answerer) -> None:
        began = trio.current_time()
        self.express_at_work += 1
        try:
            status = await serve_express(accepted, answerer, is_busy=self.express_at_work > MAX_REQUESTS)
        finally:
            self.express_at_work -= 1
        if status is not None:
            self.statistics.count("POST", EXPRESS_PATH, status, trio.current_time() - began)

    def _note(self, errors: ExceptionGroup[Exception]) -> None:
        """Log what Hypercorn made of a client that broke the rules."""
        self.statistics.failed_connections += 1
        held_back = self.errors.admit("connection", trio.current_time())
        if held_back is not None:
            log.warning("connection to the API failed", extra=fields(reason=repr(errors), held_back=held_back))


async def _turn_away(stream: trio.SocketStream) -> None:
    with trio.move_on_after(1), contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(_BUSY)
