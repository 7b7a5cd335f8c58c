"""The client's half of HTTP/1.1, without I/O: write a request, read one response.

Only what a local daemon answers is understood: a status line, headers, and a body that ends by length, by chunks or
with the connection. Everything is bounded; what breaks the rules is a `RemoteError`. It exists because the standard
library's client takes longer to import than a whole `weave status` may take.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from weave.errors import RemoteError

MAX_HEAD = 64 * 1024
MAX_BODY = 256 * 1024 * 1024
"""A report of a mesh with a hundred thousand containers fits."""
_MAX_CHUNK_LINE = 1024
_STATUS_LINE = re.compile(r"HTTP/1\.[0-9] ([1-5][0-9]{2})( |$)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete response."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode("utf-8", "replace")


def request_path(*words: str, query: Mapping[str, str | list[str]] | None = None) -> str:
    """Return a path of these words, each escaped, and a query."""
    path = "".join(f"/{quote(word, safe=':')}" for word in words)
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def encode_request(method: str, path: str, *, accept: str, content_type: str | None, body: bytes) -> bytes:
    """Return the octets of a request that asks the server to close the connection afterwards."""
    lines = [f"{method} {path} HTTP/1.1", "Host: weave", f"Accept: {accept}", "Connection: close"]
    if content_type is not None:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    elif method in ("POST", "PUT"):
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


@dataclass(slots=True)
class ResponseReader:
    """Read one response from octets as they come."""

    buffer: bytearray = field(default_factory=bytearray)
    _head: tuple[int, dict[str, str]] | None = None
    _body_start: int = 0

    def feed(self, data: bytes) -> Answer | None:
        """Take more octets (none: the server has closed); return the response once it is complete."""
        self.buffer += data
        if len(self.buffer) > MAX_HEAD + MAX_BODY:
            raise RemoteError(f"the answer is longer than {MAX_BODY} bytes")
        while True:
            if self._head is None and not self._read_head(is_end=not data):
                return None
            assert self._head is not None
            status, headers = self._head
            if not 100 <= status < 200:
                break
            del self.buffer[: self._body_start]  # an interim response; the real one follows
            self._head = None
        body = self._read_body(status, headers, is_end=not data)
        return None if body is None else Answer(status, headers, body)

    def _read_head(self, *, is_end: bool) -> bool:
        end = self.buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if is_end or len(self.buffer) >= MAX_HEAD:
                raise RemoteError("the answer is no HTTP" if self.buffer else "the connection was closed unanswered")
            return False
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        status_line = _STATUS_LINE.match(first)
        if status_line is None:
            raise RemoteError(f"the answer is no HTTP: {first[:80]!r}")
        pairs = (line.partition(":") for line in lines)
        self._head = int(status_line[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._body_start = end + 4
        return True

    def _read_body(self, status: int, headers: Mapping[str, str], *, is_end: bool) -> bytes | None:
        if status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "identity").lower() != "identity":
            body = self._read_chunks()
        elif "content-length" not in headers:
            return bytes(self.buffer[self._body_start :]) if is_end else None
        else:
            body = self._read_length(headers["content-length"])
        if body is None and is_end:
            raise RemoteError("the connection was closed amid the answer")
        return body

    def _read_length(self, text: str) -> bytes | None:
        if not _is_number(text) or len(text) > 12 or int(text) > MAX_BODY:
            raise RemoteError(f"the answer has a bad length: {text[:80]!r}")
        end = self._body_start + int(text)
        return bytes(self.buffer[self._body_start : end]) if len(self.buffer) >= end else None

    def _read_chunks(self) -> bytes | None:
        body = bytearray()
        at = self._body_start
        while True:
            line_end = self.buffer.find(b"\r\n", at, at + _MAX_CHUNK_LINE)
            if line_end < 0:
                if len(self.buffer) - at >= _MAX_CHUNK_LINE:
                    raise RemoteError("the answer has a bad chunk")
                return None
            size = _chunk_size(bytes(self.buffer[at:line_end]))
            at = line_end + 2
            if size == 0:
                return bytes(body)
            if len(self.buffer) < at + size + 2:
                return None
            body += self.buffer[at : at + size]
            at += size + 2


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        size = int(digits, 16)
    except ValueError as exc:
        raise RemoteError("the answer has a bad chunk") from exc
    if not 0 <= size <= MAX_BODY:
        raise RemoteError("the answer has a bad chunk")
    return size


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
