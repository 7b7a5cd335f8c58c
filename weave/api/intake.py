"""Take a request in whole before anything looks at it: bounded in size, in time and in number.

The body must be read even where nobody wants it: the server under us queues it, and stands still when that queue is
full. What is too large, too slow or one too many is refused here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from weave.api.replies import refusal

MAX_BODY = 64 * 1024
"""The largest honest request is a list of a few hundred addresses."""
CHUNK_COST = 256
"""What taking in one chunk costs beside its length: a body of tiny chunks would keep us busy for long."""
MAX_COST = 1024 * 1024
"""How much of a body that is too large is still read, so that the client sees why rather than a broken pipe."""
BODY_DEADLINE_S = 10.0
MAX_REQUESTS = 256
"""Requests at work at one time: a node that starts hundreds of containers at once, each with its own."""

Answer = Callable[[Scope, Receive, Send, bytes], Awaitable[None]]


@dataclass(slots=True)
class Intake:
    """The outermost ASGI application; hands requests with their bodies to the next."""

    answer: Answer
    at_work: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take in one request, have it answered."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        upload = _Upload()
        with trio.move_on_after(BODY_DEADLINE_S):
            await upload.read(receive)
        if upload.is_gone:
            return
        response = self._refusal(upload)
        if response is not None:
            await _send_and_hang_up(response, scope, receive, send)
            return
        self.at_work += 1
        try:
            await self.answer(scope, receive, send, bytes(upload.body))
        finally:
            self.at_work -= 1

    def _refusal(self, upload: "_Upload") -> Response | None:
        if upload.cost > MAX_COST or len(upload.body) > MAX_BODY:
            return refusal(413, "too-large", f"a request may carry up to {MAX_BODY} bytes")
        if not upload.is_whole:
            return refusal(408, "too-slow", f"the body did not come within {BODY_DEADLINE_S:g} s")
        if self.at_work >= MAX_REQUESTS:
            return refusal(503, "busy", f"{self.at_work} requests are at work already; ask again")
        return None


@dataclass(slots=True)
class _Upload:
    """A body on its way in."""

    body: bytearray = field(default_factory=bytearray)
    """At most one octet longer than it may be."""
    cost: int = 0
    is_whole: bool = False
    is_gone: bool = False
    """The client hung up before the end."""

    async def read(self, receive: Receive) -> None:
        """Read until the body is whole, the client is gone, or it costs too much."""
        while not self.is_whole and self.cost <= MAX_COST:
            message = await receive()
            if message["type"] != "http.request":
                self.is_gone = True
                return
            chunk = message.get("body", b"")
            self.cost += len(chunk) + CHUNK_COST
            self.body += chunk[: MAX_BODY + 1 - len(self.body)]
            self.is_whole = not message.get("more_body", False)


async def _send_and_hang_up(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and go on emptying the queue until the server says that the connection is gone.

    Without that a server that waits for room in the queue would never come to close the connection.
    """
    response.headers["Connection"] = "close"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, receive)
        await response(scope, receive, send)


async def _drain(receive: Receive) -> None:
    with trio.move_on_after(BODY_DEADLINE_S):
        while (await receive())["type"] != "http.disconnect":
            pass
