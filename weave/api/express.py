"""Requests of the CNI executables, taken without the machinery of HTTP, which would cost more than the work itself.

They come on the same socket and are HTTP/1.0 as everybody knows it: `POST /cni/PLUGIN`, a length, a body. A connection
that begins so is served here, every other one by the server proper; `POST /cni/{plugin}` in another shape is too.
"""

import re
import socket
from collections.abc import Awaitable, Callable

import trio

from weave.api.intake import MAX_BODY

EXPRESS_PATH = "/cni/{plugin}"
MAX_HEAD = 512
REQUEST_DEADLINE_S = 10.0
ANSWER_DEADLINE_S = 10.0
_HEAD = re.compile(rb"POST /cni/([a-z-]{1,32}) HTTP/1\.0\r\n(?:[^\r\n]+\r\n)*?Content-Length: ([0-9]{1,6})\r\n"
                   rb"(?:[^\r\n]+\r\n)*?\r\n")
_TOO_LARGE = b"HTTP/1.0 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

Answerer = Callable[[str, bytes], Awaitable[tuple[int, str]]]


async def is_express(stream: trio.SocketStream) -> bool:
    """Say whether a connection begins with a request of an executable; nothing of it is taken."""
    with trio.move_on_after(REQUEST_DEADLINE_S):
        begun = await stream.socket.recv(MAX_HEAD, socket.MSG_PEEK)
        return _HEAD.match(begun) is not None
    return False


async def serve_express(stream: trio.SocketStream, answer: Answerer, *, is_busy: bool) -> int | None:
    """Take the request, answer it, and return the HTTP status; None where the client hung up first."""
    request = None
    with trio.move_on_after(REQUEST_DEADLINE_S):
        request = await _read(stream)
    if request is None:
        return None
    plugin, body = request
    if is_busy or body is None:
        await _send(stream, _BUSY if is_busy else _TOO_LARGE)
        return 503 if is_busy else 413
    said = await _until_hung_up(stream, plugin, body, answer)
    if said is None:
        return None
    content = f"{said[0]}\n{said[1]}".encode()
    await _send(stream, b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                        b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
    return 200


async def _read(stream: trio.SocketStream) -> tuple[str, bytes | None] | None:
    """Return plugin and body, no body where it is too large; None where the client hung up."""
    data = b""
    while (head := _HEAD.match(data)) is None:
        piece = await stream.receive_some(MAX_HEAD - len(data)) if len(data) < MAX_HEAD else b""
        if not piece:
            return None
        data += piece
    length, body = int(head[2]), data[head.end():]
    if length > MAX_BODY:
        return head[1].decode(), None
    while len(body) < length:
        piece = await stream.receive_some(length - len(body))
        if not piece:
            return None
        body += piece
    return head[1].decode(), body[:length]


async def _until_hung_up(stream: trio.SocketStream, plugin: str, body: bytes,
                         answer: Answerer) -> tuple[int, str] | None:
    """Return the answer; None where the executable was ended meanwhile, and what it asked for undone."""
    said: tuple[int, str] | None = None
    async with trio.open_nursery() as nursery:
        async def watch() -> None:
            while await stream.receive_some(1):
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        said = await answer(plugin, body)
        nursery.cancel_scope.cancel()
    return said


async def _send(stream: trio.SocketStream, octets: bytes) -> None:
    with trio.move_on_after(ANSWER_DEADLINE_S):
        await stream.send_all(octets)
