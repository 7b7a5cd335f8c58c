"""What the controller tells: its status, its manifests and its rules on a unix socket, its figures on TCP.

    unix socket (root alone)  GET /policy/status · /policy/state · /policy/kernel?src=&dst=&proto=&port= · /metrics
    TCP, read-only            GET /metrics · /ready

`/policy/state` holds `manifests` that a reader can evaluate: policies as their authors wrote them, and pods with the
addresses that they really have. Nothing here changes anything.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from weave.api.connection import BoundedStream, Shared, serve_connection
from weave.api.sockets import identity, listen_tcp, listen_unix, remove_unix
from weave.errors import EnvironmentFailure
from weave.npc import nft
from weave.npc.metrics import CONTENT_TYPE, exposition
from weave.npc.model import Cluster, Direction, Namespace, Node, Pod, Protocol
from weave.npc.ruleset_trace import Packet, trace
from weave.npc.service import Controller

log = logging.getLogger("weave.npc")

MAX_CONNECTIONS = 32
IDLE_DEADLINE_S = 15.0
MAX_PORT = 65535


async def serve_unix(controller: Controller, path: Path,
                     task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve everything on a unix socket until cancelled."""
    with listen_unix(path) as listener:
        ours = identity(path)
        try:
            listener.setblocking(False)
            await _serve(_private(controller), trio.SocketListener(trio.socket.from_stdlib_socket(listener)),
                         lambda: task_status.started())  # noqa: PLW0108 - ASYNC128 looks for the call
        finally:
            remove_unix(path, ours)


async def serve_tcp(controller: Controller, host: str, port: int,
                    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve figures on TCP until cancelled; tell the port (0: the host chooses)."""
    with listen_tcp(host, port) as listener:
        bound: int = listener.getsockname()[1]
        listener.setblocking(False)
        await _serve(_public(controller), trio.SocketListener(trio.socket.from_stdlib_socket(listener)),
                     lambda: task_status.started(bound))


async def _serve(app: Starlette, listener: trio.SocketListener, started: Callable[[], None]) -> None:
    shared = Shared(app, log, IDLE_DEADLINE_S)
    room = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def serve_one(accepted: trio.SocketStream) -> None:
        stream = BoundedStream(accepted)
        try:
            room.acquire_nowait()
        except trio.WouldBlock:
            stream.abort()
            return
        try:
            await serve_connection(shared, stream)
        except* Exception:
            log.debug("a connection broke the rules", exc_info=True)
        finally:
            stream.abort()
            room.release()

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve_one, [listener])
        started()


def _private(controller: Controller) -> Starlette:
    return Starlette(routes=[
        Route("/policy/status", _answer(partial(_status, controller))),
        Route("/policy/state", _answer(partial(_state, controller))),
        Route("/policy/kernel", _answer(partial(_kernel, controller))),
        *_public(controller).routes,
    ])


def _public(controller: Controller) -> Starlette:
    async def metrics(_: Request) -> Response:
        return PlainTextResponse(exposition(controller, await _dropped()), media_type=CONTENT_TYPE)

    async def ready(_: Request) -> Response:
        return PlainTextResponse(f"{controller.trouble or 'policy is enforced'}\n", 200 if controller.is_ready else 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/ready", ready)])


def _answer(compose: Callable[[Request], object]) -> Callable[[Request], object]:
    async def handle(request: Request) -> Response:
        try:
            return JSONResponse(compose(request))
        except ValueError as exc:
            return JSONResponse({"error": str(exc), "reason": "usage"}, 400)
    return handle


async def _dropped() -> Mapping[str, int]:
    """Return the kernel's counters; none where they cannot be read, for figures must not fail."""
    try:
        return await nft.counters()
    except EnvironmentFailure:
        return {}


def _status(controller: Controller, _: Request) -> object:
    rules, placed, done = controller.enforcer.loaded, controller.placed, controller.enforcer.figures
    cluster = Cluster() if placed is None else placed.cluster
    return {
        "ready": controller.is_ready, "trouble": controller.trouble, "mode": controller.mode.value,
        "node": controller.node_name,
        "source": {"synced": controller.holdings.synced, "well": controller.holdings.state.is_well,
                   "state": controller.holdings.state.sentence},
        "router": {"socket": str(controller.router_socket), "trouble": controller.watch.trouble},
        "reports": controller.reports_trouble,
        "policies": len(cluster.policies), "cluster_policies": len(cluster.cluster_policies),
        "pods": len(cluster.pods), "local_pods": 0 if placed is None else len(placed.local.pods),
        "pending": [] if placed is None else sorted(map(str, placed.pending)),
        "problems": [{"object": str(identity), "problem": problem}
                     for identity, problem in controller.holdings.problems()],
        "kernel": {"stands": None not in controller.kernel.tables(), "intact": controller.enforcer.is_intact(),
                   "chains": 0 if rules is None else len(rules.chains),
                   "sets": 0 if rules is None else len(rules.sets), "full_loads": done.full_loads,
                   "structural_changes": done.structural_changes, "element_changes": done.element_changes,
                   "repairs": done.repairs, "errors": done.errors},
        "times": {"compile_s": controller.times.compile_s, "enforce_s": controller.times.enforce_s},
    }


def _state(controller: Controller, _: Request) -> object:
    cluster = controller.holdings.cluster if controller.placed is None else controller.placed.cluster
    return {"synced": controller.holdings.synced,
            "manifests": [*_manifests(cluster), *controller.holdings.originals.values()]}


def _manifests(cluster: Cluster) -> Iterator[object]:
    for namespace in cluster.namespaces.values():
        yield _manifest(namespace, {})
    for node in cluster.nodes.values():
        yield _manifest(node, {"status": {"addresses": [
            {"type": "InternalIP", "address": str(address)} for address in node.addresses]}})
    for pod in cluster.pods.values():
        yield _manifest(pod, {
            "spec": {"nodeName": pod.node or "", "hostNetwork": pod.host_network, "containers": [{"ports": [
                {"name": port.name, "containerPort": port.port, "protocol": port.protocol.value}
                for port in pod.ports]}]},
            "status": {"podIPs": [{"ip": str(address)} for address in pod.addresses]}})


def _manifest(value: Namespace | Node | Pod, parts: Mapping[str, object]) -> object:
    meta = {"name": value.name, "labels": dict(value.labels)}
    if isinstance(value, Pod):
        meta["namespace"] = value.namespace
    return {"apiVersion": "v1", "kind": type(value).__name__, "metadata": meta, **parts}


def _kernel(controller: Controller, request: Request) -> object:
    """Return what the rules that were loaded do with a packet, each direction on its own."""
    asked = request.query_params
    rules = controller.enforcer.loaded
    source, destination = ip_address(asked.get("src", "")), ip_address(asked.get("dst", ""))
    if source.version != destination.version:
        raise ValueError("src and dst must be of one family")
    port = int(asked.get("port") or 0)
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"port must be 0 to {MAX_PORT}")
    protocol = Protocol(asked["proto"].upper()) if asked.get("proto") else None
    answer: dict[str, object] = {"intact": controller.enforcer.is_intact()}
    for direction, end in ((Direction.EGRESS, source), (Direction.INGRESS, destination)):
        if rules is None:
            answer[direction.value] = None
            continue
        outcome = trace(rules, Packet(source, destination, protocol, port), direction)
        refusals = [rules.refusals[tag].words for tag in outcome.tags if tag in rules.refusals]
        answer[direction.value] = {
            "here": str(end) in rules.admitted[end.version], "allowed": outcome.allowed, "chain": outcome.profile,
            "rule": outcome.comment, "refused_by": refusals}
    return answer
