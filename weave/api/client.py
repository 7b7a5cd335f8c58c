"""The way into a running router: one request, one connection, over the unix socket.

Standard library only and light to import, for the command line and the CNI shim. Whatever goes wrong is one sentence
that says what to do: `Unreachable` where no router answers, `Refused` where it answers no, `LocalError` both.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from weave.api.http1 import Answer, ResponseReader, encode_request, request_path
from weave.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from weave.api.report import Report

DEFAULT_SOCKET = "/run/weave/weave.sock"
DEFAULT_TIMEOUT_S = 40.0
"""Longer than any operation takes without being asked to wait longer, so that the router's own reason comes first."""
_CHUNK = 256 * 1024
_ADVICE: dict[type[Exception], str] = {
    FileNotFoundError: "there is no such socket; start the router with `weave launch`",
    ConnectionRefusedError: "nobody answers there; start the router with `weave launch`",
    PermissionError: "permission denied; ask as root",
}

Query = Mapping[str, str | list[str]]


class Unreachable(LocalError):  # noqa: N818 - a state of the router, not only an error
    """No router answers at the socket."""


class NotRunning(Unreachable):
    """There is no socket, or nobody listens at it any more."""


class Refused(LocalError):  # noqa: N818 - the router's answer
    """The router answered, and it was no."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        """Keep the HTTP status and the machine-readable reason beside the sentence."""
        super().__init__(sentence)
        self.status = status
        self.reason = reason


def default_socket() -> str:
    """Return where this host's router listens when nothing else is said."""
    return os.environ.get("WEAVE_SOCKET") or DEFAULT_SOCKET


class Client:
    """Ask one router; holds no connection."""

    def __init__(self, socket_path: str | os.PathLike[str] | None = None) -> None:
        """Speak to the router at this socket (None: the default of this host)."""
        self.socket_path = os.fspath(socket_path or default_socket())

    def report(self) -> "Report":
        """Return everything the router knows of itself."""
        return cast("Report", self.value("GET", "report"))

    def request(
        self,
        method: str,
        *words: str,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
        accept: str = "text/plain",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Answer:
        """Return whatever the router answers; raise `Unreachable` where none does."""
        payload = b"" if body is None else json.dumps(body).encode()
        content_type = None if body is None else "application/json"
        path = request_path(*words, query=query)
        octets = encode_request(method, path, accept=accept, content_type=content_type, body=payload)
        return exchange(self.socket_path, octets, timeout_s)

    def call(
        self,
        method: str,
        *words: str,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
        accept: str = "text/plain",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Answer:
        """Return the answer of a success; raise `Refused` with the router's sentence for anything else."""
        answer = self.request(method, *words, query=query, body=body, accept=accept, timeout_s=timeout_s)
        if answer.status >= 400:
            raise _refused(answer)
        return answer

    def value(
        self,
        method: str,
        *words: str,
        query: Query | None = None,
        body: Mapping[str, object] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> object:
        """Return the JSON value of a success, None where it carries none."""
        answer = self.call(method, *words, query=query, body=body, accept="application/json", timeout_s=timeout_s)
        return decode_json(answer)


    def server_pid(self) -> int:
        """Return the process that answers at the socket; raise `Unreachable` where none does."""
        return peer_pid(self.socket_path)


def peer_pid(socket_path: str) -> int:
    """Return the process that listens at a unix socket (unix(7), SO_PEERCRED)."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(socket_path)
            return int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)
    except OSError as exc:
        raise _unreachable(socket_path, exc) from exc


def decode_json(answer: Answer) -> object:
    """Return the JSON value that an answer carries."""
    try:
        return json.loads(answer.body) if answer.body else None
    except (ValueError, RecursionError) as exc:
        raise RemoteError(f"the answer is no JSON: {answer.text[:80]!r}") from exc


def exchange(socket_path: str, octets: bytes, timeout_s: float) -> Answer:
    """Send one request over a unix socket, return the response; the deadline covers all of it."""
    deadline = time.monotonic() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(socket_path)
            return _converse(connection, octets, deadline)
    except TimeoutError as exc:
        raise Unreachable(f"the router at {socket_path} did not answer within {timeout_s:g} s; its log may say why"
                          ) from exc
    except (OSError, RemoteError) as exc:
        raise _unreachable(socket_path, exc) from exc


def _unreachable(socket_path: str, exc: OSError | RemoteError) -> Unreachable:
    kind = NotRunning if isinstance(exc, FileNotFoundError | ConnectionRefusedError) else Unreachable
    return kind(f"cannot reach the router at {socket_path}: {_ADVICE.get(type(exc), str(exc))}")


def _converse(connection: socket.socket, octets: bytes, deadline: float) -> Answer:
    with contextlib.suppress(BrokenPipeError):  # a server that turned us away has said why before it closed
        connection.sendall(octets)
    reader = ResponseReader()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        answer = reader.feed(connection.recv(_CHUNK))
        if answer is not None:
            return answer


def refusal_in(answer: Answer) -> Refused | None:
    """Return the router's refusal where the answer is one; a status page of a router not ready is none."""
    if answer.status < 400:
        return None
    try:
        said = json.loads(answer.body)
        return Refused(answer.status, str(said["reason"]), str(said["error"]))
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def _refused(answer: Answer) -> Refused:
    sentence = answer.text.strip().partition("\n")[0][:200] or "no reason given"
    return refusal_in(answer) or Refused(answer.status, "http", f"the router answered {answer.status}: {sentence}")
