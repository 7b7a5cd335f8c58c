"""Speak to the API server: the one adapter of the HTTP library.

Bodies and lines are bounded, proxies of the environment are ignored, redirects are not followed: a token goes to the
server it was made for and nowhere else. Whatever goes wrong is an `ApiFailure`. Deadlines are the caller's, except
that of connecting.
"""

import json
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress

import httpx2
import trio

from weave.errors import EnvironmentFailure, LocalError, RemoteError
from weave.kube import limits
from weave.kube.config import ApiConfig
from weave.kube.failure import TOO_LARGE, ApiFailure
from weave.kube.lines import LineSplitter
from weave.kube.reflector import List, Watch
from weave.kube.resource import Resource, mapping, text

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
CLOSE_DEADLINE_S = 2.0
Query = Mapping[str, str]
_SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.KEEPALIVE_IDLE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, limits.KEEPALIVE_INTERVAL_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, limits.KEEPALIVE_PROBES),
]
_PATIENT = httpx2.Timeout(None, connect=limits.CONNECT_DEADLINE_S)
"""Of single requests the caller has the deadline."""


@asynccontextmanager
async def open_client(config: ApiConfig, user_agent: str) -> AsyncIterator["Client"]:
    """Give a client of one API server; its connections are closed at the end."""
    http = httpx2.AsyncClient(
        base_url=config.server,
        headers={"User-Agent": user_agent, "Accept": JSON, "Accept-Encoding": "identity"},
        transport=httpx2.AsyncHTTPTransport(verify=_tls(config), trust_env=False, socket_options=_SOCKET_OPTIONS),
        trust_env=False,
    )
    async with http:
        yield Client(http, Credentials(config), config.server_name)


class Client:
    """One API server, spoken to through an open HTTP client."""

    def __init__(self, http: httpx2.AsyncClient, credentials: "Credentials", server_name: str | None) -> None:
        """Use what `open_client` made."""
        self._http = http
        self._credentials = credentials
        self._server_name = server_name

    # --- single objects ------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Mapping[str, object]:
        """Return one object."""
        return await self._object("GET", path)

    async def create(self, path: str, value: Mapping[str, object]) -> Mapping[str, object]:
        """Create an object; a conflict where it exists."""
        return await self._object("POST", path, value)

    async def replace(self, path: str, value: Mapping[str, object]) -> Mapping[str, object]:
        """Replace an object as long as it has the version that the new one names; a conflict otherwise."""
        return await self._object("PUT", path, value)

    async def patch(self, path: str, value: Mapping[str, object], kind: str = MERGE_PATCH) -> Mapping[str, object]:
        """Change parts of an object."""
        return await self._object("PATCH", path, value, kind)

    async def _object(
        self, method: str, path: str, value: Mapping[str, object] | None = None, kind: str = JSON
    ) -> Mapping[str, object]:
        content = None if value is None else json.dumps(value).encode()
        decoded = await self._json(method, path, content=content, kind=kind)
        if not isinstance(decoded, dict):
            raise ApiFailure(f"{method} {path}", None, "the answer is no object")
        return decoded

    # --- all of a kind -------------------------------------------------------------------------------------------

    async def page(self, resource: Resource, request: List, selection: Query) -> object:
        """Return a page of a list, as decoded."""
        query = dict(selection)
        if request.limit:
            query["limit"] = str(request.limit)
        if request.continuation:
            query["continue"] = request.continuation
        return await self._json("GET", resource.path(), query=query)

    @asynccontextmanager
    async def watch(self, resource: Resource, request: Watch, selection: Query) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch and give its lines as they come."""
        query = {**selection, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": request.version,
                 "timeoutSeconds": str(request.timeout_s)}
        silence = httpx2.Timeout(None, connect=limits.CONNECT_DEADLINE_S, read=request.deadline_s)
        async with (
            self._stream("GET", resource.path(), query=query, timeout=silence) as response,
            _pieces(response) as pieces,
            aclosing(_lines(pieces, f"watching {resource.plural}")) as lines,
        ):
            yield lines

    # --- HTTP ----------------------------------------------------------------------------------------------------

    async def _json(self, method: str, path: str, *, query: Query | None = None, content: bytes | None = None,
                    kind: str = JSON) -> object:
        async with self._stream(method, path, query=query, content=content, kind=kind) as response:
            body = await _body(response, limits.MAX_BODY_BYTES, f"{method} {path}")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise ApiFailure(f"{method} {path}", None, "the answer is no JSON") from exc

    @asynccontextmanager
    async def _stream(self, method: str, path: str, *, query: Query | None = None, content: bytes | None = None,
                      kind: str = JSON, timeout: httpx2.Timeout = _PATIENT) -> AsyncIterator[httpx2.Response]:
        """Send a request and give its response, which is a success."""
        headers = {**self._credentials.headers(), **({"Content-Type": kind} if content is not None else {})}
        extensions = {"sni_hostname": self._server_name} if self._server_name else {}
        what = f"{method} {path}"
        try:
            async with self._http.stream(method, path, params=query, content=content, headers=headers,
                                         extensions=extensions, timeout=timeout) as response:
                if response.status_code >= 300:
                    raise await _refusal(response, what)
                yield response
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as exc:
            raise ApiFailure(what, None, str(exc) or type(exc).__name__) from exc


async def _lines(pieces: AsyncIterator[bytes], what: str) -> AsyncGenerator[bytes, None]:
    splitter = LineSplitter(limits.MAX_LINE_BYTES)
    async for data in pieces:
        try:
            lines = splitter.feed(data)
        except RemoteError as exc:
            raise ApiFailure(what, TOO_LARGE, str(exc)) from exc
        for line in lines:
            yield line


@asynccontextmanager
async def _pieces(response: httpx2.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the octets of a body as they come.

    Where it is left early the connection is closed first and the rest asked for then, so that the library's nested
    generators come to their own end instead of being collected as garbage.
    """
    pieces = response.aiter_raw()
    try:
        yield pieces
    finally:
        with trio.move_on_after(CLOSE_DEADLINE_S, shield=True):
            await response.aclose()
            with suppress(httpx2.HTTPError, httpx2.StreamError):
                async for _ in pieces:
                    pass


async def _body(response: httpx2.Response, limit: int, what: str) -> bytes:
    body = bytearray()
    async with _pieces(response) as pieces:
        async for data in pieces:
            if len(body) + len(data) > limit:
                raise ApiFailure(what, TOO_LARGE, f"the answer is longer than {limit} octets")
            body += data
    return bytes(body)


async def _refusal(response: httpx2.Response, what: str) -> ApiFailure:
    """Return what the server said instead of doing what it was asked."""
    try:
        status = mapping(json.loads(await _body(response, limits.MAX_ERROR_BYTES, what)))
    except (ValueError, RecursionError, ApiFailure):
        status = {}
    seconds = response.headers.get("Retry-After", "")
    retry_after = float(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 10 else 0.0
    return ApiFailure(what, response.status_code, text(status.get("message"))[:200], retry_after)


class Credentials:
    """The token that goes with each request, read again when its file changes."""

    def __init__(self, config: ApiConfig) -> None:
        """Take the token's place from the configuration."""
        self._file = config.token_file
        self._token = config.token
        self._stamp: tuple[int, int] | None = None

    def headers(self) -> dict[str, str]:
        """Return the header that says who we are; none where a certificate does."""
        if self._file is not None:
            try:
                self._refresh()
            except OSError as exc:
                raise ApiFailure("reading our token", None, f"{self._file}: {exc.strerror}") from exc
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _refresh(self) -> None:
        assert self._file is not None
        status = self._file.stat()
        stamp = status.st_mtime_ns, status.st_ino
        if stamp != self._stamp:
            token = self._file.read_text(encoding="ascii", errors="replace").strip()
            if not token.isprintable() or not token.isascii():
                raise ApiFailure("reading our token", None, f"{self._file} holds no token")
            self._token, self._stamp = token, stamp


def _tls(config: ApiConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=config.authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.certificate:
            _load_certificate(context, config)
    except (ssl.SSLError, ValueError) as exc:
        raise LocalError(f"the certificates for {config.server} cannot be used: {exc}") from exc
    return context


def _load_certificate(context: ssl.SSLContext, config: ApiConfig) -> None:
    """Hand certificate and key to OpenSSL, which takes them from a file only: one that is ours alone and soon gone."""
    descriptor, path = tempfile.mkstemp(prefix="weave-kube-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{config.certificate}\n{config.key}\n")
        context.load_cert_chain(path)
    except OSError as exc:
        if isinstance(exc, ssl.SSLError):
            raise
        raise EnvironmentFailure(f"cannot keep the client certificate for a moment: {exc.strerror}") from exc
    finally:
        os.unlink(path)
