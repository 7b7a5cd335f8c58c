"""The control API as an ASGI application: the table of operations, given routes, deadlines and error answers.

Bounds on size and number are `weave.api.intake`'s, sockets are `weave.api.server`'s. A handler sees only requests
that passed the checks of its operation; whatever it raises becomes one JSON refusal.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from weave.api.arguments import Call, read_arguments, read_path
from weave.api.control import Control
from weave.api.intake import Intake
from weave.api.operations import Operation
from weave.api.replies import Reply, refusal, response_to
from weave.api.routes import OPERATIONS
from weave.api.samples import Distribution, Figure, Kind, Latencies, Sample

_BODY = "weave.body"
"""Where the body stands in the ASGI scope once it was taken in."""


@dataclass(slots=True)
class Statistics:
    """Count what was asked, how it ended and how long it took; shared by all sockets of one router."""

    requests: dict[tuple[str, str, int], int] = field(default_factory=dict)
    latencies: dict[tuple[str, str], Latencies] = field(default_factory=dict)
    refused_connections: int = 0
    failed_connections: int = 0

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one answered request; `path` is that of the table, so that names stay few."""
        self.requests[method, path, status] = self.requests.get((method, path, status), 0) + 1
        self.latencies.setdefault((method, path), Latencies()).observe(seconds)

    def figures(self) -> Sequence[Figure]:
        """Return the counts, named."""
        return [
            Sample("weave_api_refused_connections_total", "Connections to the API over its bound.", Kind.COUNTER,
                   self.refused_connections),
            Sample("weave_api_failed_connections_total", "Connections to the API that broke the server's rules.",
                   Kind.COUNTER, self.failed_connections),
            *(Sample("weave_api_requests_total", "Requests to the API.", Kind.COUNTER, count,
                     (("method", method), ("path", path), ("status", str(status))))
              for (method, path, status), count in sorted(self.requests.items())),
            *(Distribution("weave_api_request_duration_seconds", "Time to answer a request.", latencies,
                           (("method", method), ("path", path)))
              for (method, path), latencies in sorted(self.latencies.items())),
        ]


@dataclass(frozen=True, slots=True)
class _Resource:
    """One path with all its methods; the ASGI application behind its route."""

    control: Control
    statistics: Statistics
    operations: Mapping[str, Operation]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation = self.operations.get(method)
        if operation is None:
            allowed = ", ".join(sorted(self.operations))
            response = refusal(405, "method", f"{scope['path']} takes {allowed}, not {scope['method'][:16]}")
            response.headers["Allow"] = allowed
        else:
            started = trio.current_time()
            answered = await self._answer(operation, Request(scope, receive))
            if answered is None:
                return
            response = answered
            self.statistics.count(method, operation.path, response.status_code, trio.current_time() - started)
        await response(scope, receive, send)

    async def _answer(self, operation: Operation, request: Request) -> Response | None:
        """Return the response, or None where nobody waits for it any more."""
        deadline_s = operation.deadline_s
        try:
            body: bytes = request.scope[_BODY]
            content_type = request.headers.get("content-type", "")
            query: bytes = request.scope["query_string"]
            values = read_arguments(operation, query, content_type, body)
            path = read_path(request.path_params)
            octets = body if operation.takes_octets else b""
            call = Call(self.control, self.statistics.figures, operation, path, values, octets)
            deadline_s = float(call.number("timeout") or deadline_s)
            with trio.fail_after(deadline_s):
                reply = await (_until_hung_up(call, request.receive) if operation.waits else operation.handler(call))
        except Exception as exc:  # noqa: BLE001 - the boundary: whatever it is becomes an answer, cancellation does not
            return response_to(exc, deadline_s, f"{operation.method} {request.url.path}")
        wants_json = "application/json" in request.headers.get("accept", "")
        return None if reply is None else reply.to_response(wants_json=wants_json)


async def _until_hung_up(call: Call, receive: Receive) -> Reply | None:
    """Run the handler until it is done or the client is gone."""
    reply: Reply | None = None
    async with trio.open_nursery() as nursery:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        reply = await call.operation.handler(call)
        nursery.cancel_scope.cancel()
    return reply


def build_app(control: Control, statistics: Statistics, *, only_public: bool = False) -> ASGIApp:
    """Return the application; `only_public` leaves nothing but what the metrics port may show."""
    operations = [operation for operation in OPERATIONS if operation.is_public or not only_public]
    routes = [Route(path, _Resource(control, statistics, methods)) for path, methods in _by_path(operations).items()]
    router = Router(routes, redirect_slashes=False, default=_nothing_here)

    async def answer(scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        scope[_BODY] = body
        scope["path"] = scope["raw_path"].decode("ascii")  # match before decoding: a%2Fb is one word
        await router(scope, receive, send)

    return Intake(answer)


def _by_path(operations: Iterable[Operation]) -> dict[str, dict[str, Operation]]:
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return by_path


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what no route takes."""
    response = refusal(404, "not-found", f"there is nothing at {scope['path'][:256]}; GET /openapi.json lists what is")
    await response(scope, receive, send)
