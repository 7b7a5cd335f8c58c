"""An API server in this process that does what a script says: answers as values, connections that break or hang."""

import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from tests.unit.kube.certificates import certificate
from weave.kube.client import open_client
from weave.kube.config import ApiConfig

DEADLINE_S = 20.0
AUTHORITY = certificate("ca.test")[0]
"""One that certified nobody; loading those of the system takes half a second."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    """A whole answer, or pieces of a body that may end in the middle (`breaks`) or never (`hangs`)."""

    status: int = 200
    value: object = None
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] | None = None
    breaks: bool = False
    hangs: bool = False


Script = Callable[[Request], Reply | Awaitable[Reply]]


@dataclass
class Server:
    script: Script
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    open_connections: int = 0

    async def serve(self, stream):
        self.open_connections += 1
        connection = h11.Connection(h11.SERVER)
        try:
            async with stream:
                while await self._exchange(stream, connection):
                    connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass
        finally:
            self.open_connections -= 1

    async def _exchange(self, stream, connection):
        head, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        url = urlsplit(head.target.decode())
        request = Request(head.method.decode(), url.path,
                          {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()},
                          {name.decode(): value.decode() for name, value in head.headers}, body)
        self.requests.append(request)
        reply = self.script(request)
        return await self._answer(stream, connection, reply if isinstance(reply, Reply) else await reply)

    async def _answer(self, stream, connection, reply):
        pieces = (json.dumps(reply.value).encode(),) if reply.pieces is None else reply.pieces
        await stream.send_all(connection.send(h11.Response(
            status_code=reply.status, headers=[("Transfer-Encoding", "chunked"), *reply.headers])))
        for piece in pieces:
            await stream.send_all(connection.send(h11.Data(data=piece)))
        if reply.hangs:
            await stream.receive_some()  # until the client goes
            return False
        if reply.breaks:
            return False
        await stream.send_all(connection.send(h11.EndOfMessage()))
        return connection.our_state is h11.DONE


@asynccontextmanager
async def serving(script, ssl_context=None):
    """Give a server on a port of its own."""
    server = Server(script)
    async with trio.open_nursery() as nursery:
        opening = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1") if ssl_context is None else partial(
            trio.serve_ssl_over_tcp, server.serve, 0, ssl_context, host="127.0.0.1")
        listeners = await nursery.start(opening)
        listener = listeners[0] if ssl_context is None else listeners[0].transport_listener
        port = listener.socket.getsockname()[1]
        server.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{port}"
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def asking(script, **config):
    """Give a server and a client of it."""
    async with serving(script) as server, open_client(ApiConfig(server.url, AUTHORITY, **config), "tests") as client:
        yield server, client


def run(scene):
    """Run a scene within a deadline."""
    async def bounded():
        with trio.fail_after(DEADLINE_S):
            await scene()

    trio.run(bounded, strict_exception_groups=True)


async def until(holds):
    """Wait until something is so."""
    while not holds():  # noqa: ASYNC110 - what is waited for happens elsewhere
        await trio.sleep(0.002)
