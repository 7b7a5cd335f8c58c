"""The control API as its clients and its router see it.

Input: one byte of mode, the rest. Mode 0: query, content type and body of a request to some operation, parted by zero
octets; allowed: values of the operation's fields, or `LocalError`. Mode 1: what a router answers a client, fed in
steps of a size the next byte says; allowed: an answer, waiting, or `RemoteError`. Mode 2: an address argument.
"""

from weave.api.arguments import FORM, JSON, read_arguments, read_path
from weave.api.http1 import ResponseReader
from weave.api.operations import Shape
from weave.api.routes import OPERATIONS
from weave.api.wishes import format_wish, parse_wish
from weave.errors import LocalError, RemoteError

KINDS = (JSON, FORM, "", "text/plain")
TYPES = {Shape.TEXT: str, Shape.FLAG: bool, Shape.NUMBER: int, Shape.TEXTS: tuple}
MODES = 3


def target(data: bytes) -> None:
    if len(data) < 2:
        return
    (_arguments, _response, _wish)[data[0] % MODES](data[1], data[2:])


def _arguments(control: int, data: bytes) -> None:
    operation = OPERATIONS[control % len(OPERATIONS)]
    fields = {field.name: field for field in operation.all_fields}
    query, _, rest = data.partition(b"\0")
    kind, _, body = rest.partition(b"\0")
    try:
        values = read_arguments(operation, query, KINDS[len(kind) % len(KINDS)], body)
        words = read_path({"name": query.decode("latin-1")})
    except LocalError:
        return
    for name, value in values.items():
        assert type(value) is TYPES[fields[name].shape]
    for text in (*words.values(), *(value for value in values.values() if isinstance(value, str))):
        text.encode()
        assert text.isprintable()


def _response(step: int, data: bytes) -> None:
    reader = ResponseReader()
    try:
        for at in range(0, len(data), step + 1):
            answer = reader.feed(data[at : at + step + 1])
            if answer is not None:
                assert len(answer.body) <= len(data)
                assert 200 <= answer.status <= 599
                return
        reader.feed(b"")
    except RemoteError:
        pass
    assert len(reader.buffer) <= len(data)


def _wish(_: int, data: bytes) -> None:
    try:
        wish = parse_wish(data.decode("utf-8", "replace"))
    except LocalError:
        return
    assert parse_wish(format_wish(wish)) == wish


def _operation(method: str, path: str) -> int:
    return next(i for i, operation in enumerate(OPERATIONS) if (operation.method, operation.path) == (method, path))


_ATTACH = bytes([0, _operation("PUT", "/attachment/{container}")])
_CONNECT = bytes([0, _operation("POST", "/connect")])
SEEDS: list[bytes] = [
    _ATTACH + b'timeout=9\0\0{"pid": 7, "addresses": ["net:default"], "mtu": 1400, "default_route": true}',
    _ATTACH + b"pid=7&addresses=10.32.0.5%2F12&fqdns=a&fqdns=b&default_route=yes\0",
    _CONNECT + b"replace\0a\0peer=h1&peer=%5Bfd00%3A%3A1%5D%3A6783",
    _CONNECT + b"\0\0" + b"[" * 3000,
    b"\x01\x00HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"\x01\x03HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n",
    b"\x01\xffHTTP/1.0 404 Not Found\r\n\r\nto the end",
    b"\x01\x00HTTP/1.1 002 no such status\r\nContent-Length: 2\r\n\r\nhello",
    b"\x02\x00ip:10.32.0.5/12",
    b"\x02\x00net:fd00::/64",
    b"\x02\x00net:default",
]
