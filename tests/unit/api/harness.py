"""Ways to put questions to the API: straight to the application, over a real socket, and from a thread."""

import json
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio
import trio.testing

from tests.unit.api.fake import FakeControl
from weave.api.app import Statistics, build_app
from weave.api.server import serve

DEADLINE_S = 20.0


class Said:
    """One answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.text = body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask_app(control: FakeControl, method: str, target: str, body: object = None, *, accept: str = "",
                  kind: str = "application/json", only_public: bool = False,
                  hang_up: trio.Event | None = None) -> Said | None:
    """Call the ASGI application itself; None where it gives no answer."""
    app = build_app(control, Statistics(), only_public=only_public)
    path, _, query = target.partition("?")
    octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = [(b"content-type", kind.encode()), (b"accept", accept.encode())]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
             "query_string": query.encode(), "headers": headers, "scheme": "http", "server": None, "client": None}
    incoming = [{"type": "http.request", "body": octets, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        await (hang_up or trio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    given = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return Said(sent[0]["status"], given, b"".join(message.get("body", b"") for message in sent[1:]))


def ask(method: str, target: str, body: object = None, *, control: FakeControl | None = None, **options: Any) -> Said:
    """Ask the application of a fresh (or this) router one question."""
    async def main() -> Said | None:
        with trio.fail_after(DEADLINE_S):
            return await ask_app(control or FakeControl(), method, target, body, **options)

    said = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert said is not None
    return said


def with_server(path: Path, test: Callable[[FakeControl], Awaitable[None]],
                statistics: Statistics | None = None, control: FakeControl | None = None) -> None:
    """Run a test beside a server on a real unix socket; the server must end at once when the test is over."""
    control = control or FakeControl()

    async def main() -> None:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: serve(control, path, statistics=statistics,
                                                              task_status=task_status))
                await test(control)
                nursery.cancel_scope.cancel()

    trio.run(main)


async def converse(path: Path, octets: bytes) -> bytes:
    """Send octets over a connection, return everything that comes back until it is closed."""
    stream = await trio.open_unix_socket(path)
    async with stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(octets)
        return await read_all(stream)


async def read_all(stream: trio.SocketStream) -> bytes:
    answer = bytearray()
    with suppress(trio.BrokenResourceError):
        async for chunk in stream:
            answer += chunk
    return bytes(answer)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return the octets of a request after which the server closes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def router_in_thread(path: Path, control: FakeControl) -> Iterator[FakeControl]:
    """Serve a router from another thread, for clients that block."""
    started: queue.Queue[trio.CancelScope] = queue.Queue()
    token: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        for name in ("primed", "waiting", "stopped", "cancelled"):  # events of this run, not of the other thread's
            setattr(control, name, trio.Event())
        control.primed.set()
        token.append(trio.lowlevel.current_trio_token())
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, control, path)
            started.put(nursery.cancel_scope)
            await control.stopped.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    started.get(timeout=DEADLINE_S)
    try:
        yield control
    finally:
        with suppress(trio.RunFinishedError):
            token[0].run_sync_soon(control.stopped.set)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
