"""The controller's faces: the router it follows, and what it tells of itself."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from tests.unit.npc.test_npc_source import pod, policy, upsert
from weave.api.client import Client, Refused
from weave.labels import MAX_VALUE_CHARACTERS, POD_NAME, POD_NAMESPACE
from weave.npc.compiler import Compiler
from weave.npc.endpoint import Endpoint, EndpointBook
from weave.npc.enforcer import Options
from weave.npc.kernel import Kernel
from weave.npc.manifest import gather, parse
from weave.npc.placement import Mode, Placement
from weave.npc.router_watch import RouterWatch
from weave.npc.service import Controller
from weave.npc.service_status import serve_unix
from weave.npc.source import Deliver

DEADLINE_S = 10.0
Answers = Callable[[str], tuple[int, object]]


def endpoint(address: str) -> dict[str, object]:
    return {"mac": "02:00:00:00:00:01", "container": "c", "addresses": [f"{address}/12"], "nickname": "h1",
            "peer": "p", "local": True, "labels": {POD_NAMESPACE: "x", POD_NAME: "web"}}


@asynccontextmanager
async def fake_router(path: Path, answers: Answers) -> AsyncIterator[None]:
    """Answer every request on a unix socket with what `answers` says of its path."""
    async def serve(stream: trio.SocketStream) -> None:
        request = (await stream.receive_some()).decode()
        status, value = answers(request.split(" ")[1])
        body = json.dumps(value).encode()
        await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listener)])
        yield
        nursery.cancel_scope.cancel()
    await trio.Path(path).unlink()


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await trio.sleep(0.01)


def test_the_router_is_followed_through_its_absence(tmp_path: Path) -> None:
    asked: list[str] = []

    def answers(path: str) -> tuple[int, object]:
        asked.append(path)
        return 200, {"generation": min(len(asked), 2), "endpoints": [endpoint(f"10.32.0.{min(len(asked), 2)}")]}

    async def main() -> None:
        book = EndpointBook()
        watch = RouterWatch(tmp_path / "s", book, lambda: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await until(lambda: "no router answers" in watch.trouble)
            async with fake_router(tmp_path / "s", answers):
                await until(lambda: [one.addresses for one in book.endpoints(trio.current_time())]
                            == [(ip_address("10.32.0.2"),)])
                await until(lambda: len(asked) >= 3)
                assert not watch.trouble
            await until(lambda: watch.trouble)
            assert len(book.endpoints(trio.current_time())) == 1
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert asked[:3] == ["/endpoints", "/endpoints?after=1", "/endpoints?after=2"]


@pytest.mark.parametrize(("status", "value"), [(404, {}), (200, {"what": 1}), (200, [])])
def test_a_router_that_tells_no_endpoints_is_trouble(tmp_path: Path, status: int, value: object) -> None:
    async def main() -> None:
        watch = RouterWatch(tmp_path / "s", EndpointBook(), lambda: None)
        async with fake_router(tmp_path / "s", lambda _: (status, value)), trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await until(lambda: "version" in watch.trouble or "as new as" in watch.trouble)
            nursery.cancel_scope.cancel()

    trio.run(main)


@dataclass
class NoSource:
    async def run(self, deliver: Deliver) -> None:
        await trio.sleep_forever()


@dataclass
class FakeKernel:
    port: int = 1
    state: tuple[None, None] = field(default=(None, None))

    def tables(self) -> tuple[None, None]:
        return self.state


def controller(tmp_path: Path) -> Controller:
    """Return a controller as after it enforced a policy, on no kernel."""
    made = Controller(NoSource(), tmp_path / "router", Mode.KUBERNETES, cast(Kernel, FakeKernel()), Options())
    made.holdings.take([upsert(pod()), upsert(policy()), upsert(policy("odd", {"podSelector": {}, "what": 1}))])
    made.book.take([])
    placed = Placement(Mode.CONTAINERS).place(made.holdings.cluster, [])
    made.placed = placed
    made.enforcer.loaded = Compiler().compile(placed.cluster, placed.local)
    return made


def asking(made: Controller, path: Path, *questions: Mapping[str, Any]) -> list[Any]:
    """Return the answers to questions over the status socket; a refusal is its status."""
    def ask(question: Mapping[str, Any]) -> object:
        try:
            return Client(path).value("GET", *question["words"], query=question.get("query"))
        except Refused as exc:
            return exc.status

    async def main() -> list[object]:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_unix, made, path))
            found = [await trio.to_thread.run_sync(ask, question) for question in questions]
            nursery.cancel_scope.cancel()
        return found

    return trio.run(main)


def test_the_status_socket_is_for_root_alone_and_goes_with_the_controller(tmp_path: Path) -> None:
    path = tmp_path / "npc.sock"
    [status] = asking(controller(tmp_path), path, {"words": ["policy", "status"]})
    assert status["policies"] == 2
    assert [problem["object"] for problem in status["problems"]] == ["NetworkPolicy x/odd"]
    assert not path.exists()


def test_the_state_can_be_evaluated_elsewhere(tmp_path: Path) -> None:
    made = controller(tmp_path)
    made.placed = None
    [state] = asking(made, tmp_path / "npc.sock", {"words": ["policy", "state"]})
    assert gather([parse(manifest) for manifest in state["manifests"]]) == made.holdings.cluster


@pytest.mark.parametrize("parts", [
    {"container": "c" * 255}, {"container": ""}, {"host": "h" * 255}, {"container": "c" * 255, "host": "h" * 255},
    {"labels": {"weave.local/namespace": "n" * MAX_VALUE_CHARACTERS}}, {"labels": {"app": "a" * MAX_VALUE_CHARACTERS}},
    {"labels": {POD_NAMESPACE: "x", POD_NAME: "n" * MAX_VALUE_CHARACTERS}},
])
def test_whatever_the_router_tells_can_be_read_in_the_state(tmp_path: Path, parts: dict[str, Any]) -> None:
    made = controller(tmp_path)
    one = Endpoint("m1", "c", (ip_address("10.32.0.1"),), is_local=False, host="h1", peer="p1")
    far = replace(one, **{"mac": "m2", "addresses": (ip_address("10.32.0.2"),), "peer": "p2", **parts})
    made.placed = Placement(Mode.CONTAINERS).place(made.holdings.cluster, [one, far])
    [state] = asking(made, tmp_path / "npc.sock", {"words": ["policy", "state"]})
    assert gather([parse(manifest) for manifest in state["manifests"]]) == made.placed.cluster


@pytest.mark.parametrize("query", [{}, {"src": "10.0.0.1"}, {"src": "10.0.0.1", "dst": "fd00::1"},
                                   {"src": "10.0.0.1", "dst": "10.0.0.2", "proto": "what"},
                                   {"src": "10.0.0.1", "dst": "10.0.0.2", "port": "70000"}])
def test_questions_that_make_no_sense_are_refused(tmp_path: Path, query: dict[str, str]) -> None:
    assert asking(controller(tmp_path), tmp_path / "s", {"words": ["policy", "kernel"], "query": query}) == [400]


def test_the_kernel_is_told_direction_by_direction(tmp_path: Path) -> None:
    [found] = asking(controller(tmp_path), tmp_path / "s", {
        "words": ["policy", "kernel"], "query": {"src": "10.0.0.1", "dst": "10.0.0.2", "proto": "tcp", "port": "80"}})
    assert found["ingress"] == {"here": False, "allowed": True, "chain": None, "rule": "", "refused_by": []}
