"""Take a request in whole before anything looks at it: bounded in size, in time and in number.

The body must be read even where nobody wants it: the server under us queues it, and stands still when that queue is
full. What is too large, too slow or one too many is refused here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from weave.api.replies import refusal

MAX_BODY = 64 * 1024
"""The largest honest request is a list of a few hundred addresses."""
MAX_DRAIN = 1024 * 1024
"""How much of a body that is refused is still read, so that the client sees why rather than a broken pipe."""
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
        body = bytearray()
        is_whole = False
        with trio.move_on_after(BODY_DEADLINE_S):
            is_whole = await _read(receive, body)
        response = self._refusal(is_whole, len(body))
        if response is not None:
            await _send_and_hang_up(response, scope, receive, send)
            return
        self.at_work += 1
        try:
            await self.answer(scope, receive, send, bytes(body))
        finally:
            self.at_work -= 1

    def _refusal(self, is_whole: bool, size: int) -> Response | None:
        if size > MAX_BODY:
            return refusal(413, "too-large", f"a request may carry up to {MAX_BODY} bytes")
        if not is_whole:
            return refusal(408, "too-slow", f"the body did not come within {BODY_DEADLINE_S:g} s")
        if self.at_work >= MAX_REQUESTS:
            return refusal(503, "busy", f"{self.at_work} requests are at work already; ask again")
        return None


async def _read(receive: Receive, body: bytearray) -> bool:
    """Read until the body is whole or the client is gone; beyond its bound keep only the fact that it is too large."""
    drained = 0
    while drained < MAX_DRAIN:
        message = await receive()
        if message["type"] != "http.request":
            return False
        chunk = message.get("body", b"")
        drained += len(chunk)
        body += chunk[: MAX_BODY + 1 - len(body)]
        if not message.get("more_body", False):
            return True
    return False


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
