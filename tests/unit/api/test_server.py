"""The API over real sockets: friendly clients, hostile ones, and the end of the router."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.unit.api.fake import FakeControl
from tests.unit.api.harness import DEADLINE_S, converse, read_all, request, with_server
from weave.api import connection, express, intake, server
from weave.api.app import Statistics
from weave.api.intake import MAX_BODY
from weave.api.server import serve, serve_public
from weave.errors import EnvironmentFailure

STATUS = request("GET", "/status/targets")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weave.sock"


def test_answers_over_the_socket(path: Path) -> None:
    async def test(control: FakeControl) -> None:
        head, _, body = (await converse(path, STATUS)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b"10.0.0.9\n10.0.0.10\n"
        await converse(path, request("POST", "/connect", "Content-Type: application/json", body=b'{"peer": ["h9"]}'))
        assert control.targets == ["h9"]

    with_server(path, test)


def test_socket_is_for_its_owner_alone_and_goes_with_the_server(path: Path) -> None:
    async def test(control: FakeControl) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert os.listdir(path.parent) == [path.name]

    with_server(path, test)
    assert not path.exists()


def test_connection_is_kept_alive(path: Path) -> None:
    async def test(control: FakeControl) -> None:
        async with await trio.open_unix_socket(path) as stream:
            for _ in range(1100):  # more than Hypercorn allows by itself
                await stream.send_all(b"GET /domain HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = b""
                while not answer.endswith(b"weave.local."):
                    answer += await stream.receive_some(4096)
                assert answer.startswith(b"HTTP/1.1 200 ")

    with_server(path, test)


async def _pour(stream: trio.SocketStream, octets: bytes, pause_s: float = 0.0) -> None:
    while True:
        await stream.send_all(octets)
        await trio.sleep(pause_s)


HOSTILE = {
    "garbage": (b"\x00\x01\x02 what\r\n\r\n", b" 400 "),
    "bad version": (b"GET / HTTP/one\r\n\r\n", b" 400 "),
    "not ascii": (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b" 400 "),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", b" 400 "),
    "huge head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", b" 431 "),
    "two lengths": (request("POST", "/connect", "Content-Length: 3", "Content-Length: 4") + b"abcd", b" 400 "),
    "huge length": (request("POST", "/connect", "Content-Length: 99999999999999999999"), b""),
    "bad chunk": (request("POST", "/connect", "Transfer-Encoding: chunked") + b"zz\r\n", b" 400 "),
    "not JSON": (request("POST", "/connect", body=b"{{{"), b" 400 "),
    "wrong type": (request("POST", "/connect", body=b'{"peer": 7}'), b" 400 "),
    "deep JSON": (request("POST", "/connect", body=b"[" * 60_000), b" 400 "),
    "escapes": (request("GET", "/ip/%00%ff%2e%2e"), b" 400 "),
    "long path": (request("GET", "/ip/" + "a" * 5000), b" 400 "),
    "large body": (request("POST", "/connect", body=b"x" * (MAX_BODY + 1)), b" 413 "),
    "websocket": (request("GET", "/status", "Connection: upgrade", "Upgrade: websocket",
                          "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), b""),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000, b" 4"),
    "h2c upgrade": (b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\n"
                    b"HTTP2-Settings: AAAA!!!!\r\n\r\n" + b"\xff" * 5000, b" 200 "),
    "smuggling": (b"GET /status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_request_is_refused_and_the_server_goes_on(
    name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_DEADLINE_S", 0.3)
    monkeypatch.setattr(intake, "BODY_DEADLINE_S", 0.3)
    octets, expected = HOSTILE[name]

    async def test(control: FakeControl) -> None:
        answer = await converse(path, octets)
        assert expected in answer.partition(b"\r\n")[0]
        assert b"Traceback" not in answer
        assert b" 200 " in await converse(path, STATUS)

    with_server(path, test)


def test_endless_body_is_refused_and_leaves_nothing_behind(path: Path) -> None:
    async def test(control: FakeControl) -> None:
        stream = await trio.open_unix_socket(path)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(send, stream)
            answer = await read_all(stream)
            nursery.cancel_scope.cancel()
        assert b" 413 " in answer.partition(b"\r\n")[0]

    async def send(stream: trio.SocketStream) -> None:
        await stream.send_all(request("POST", "/connect", "Transfer-Encoding: chunked"))
        with suppress(trio.BrokenResourceError):
            await _pour(stream, b"1\r\nx\r\n" * 5000)

    with_server(path, test)


@pytest.mark.parametrize("octets", [
    b"", b"GET /status HT", b"POST /connect HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"])
def test_half_a_request_is_given_up(octets: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_DEADLINE_S", 0.2)
    monkeypatch.setattr(express, "REQUEST_DEADLINE_S", 0.2)
    monkeypatch.setattr(intake, "BODY_DEADLINE_S", 0.2)

    async def test(control: FakeControl) -> None:
        async with await trio.open_unix_socket(path) as stream:
            if octets:
                await stream.send_all(octets)
            answer = await read_all(stream)
        assert answer == b"" or b" 408 " in answer.partition(b"\r\n")[0]

    with_server(path, test)


def test_trickling_head_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_DEADLINE_S", 0.3)

    async def test(control: FakeControl) -> None:
        async with await trio.open_unix_socket(path) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await _pour(stream, b"G", pause_s=0.02)

    with_server(path, test)


def test_client_that_takes_no_answer_is_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_DEADLINE_S", 0.2)

    async def test(control: FakeControl) -> None:
        control.the_report["Router"]["Warnings"] = ["x" * 1000] * 5000
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(request("GET", "/report"))
            with pytest.raises(trio.BrokenResourceError):
                await _pour(stream, b"x", pause_s=0.02)

    with_server(path, test)


def test_clients_that_hang_up_at_any_moment_harm_nothing(path: Path) -> None:
    octets = request("POST", "/connect", body=b'{"peer": ["a"]}')

    async def test(control: FakeControl) -> None:
        for end in range(0, len(octets), 3):
            stream = await trio.open_unix_socket(path)
            await stream.send_all(octets[:end] or b"P")
            await stream.aclose()
        assert b" 200 " in await converse(path, STATUS)

    with_server(path, test)


def test_waiting_request_ends_with_its_client(path: Path) -> None:
    async def test(control: FakeControl) -> None:
        stream = await trio.open_unix_socket(path)
        await stream.send_all(request("GET", "/ring"))
        await control.waiting.wait()
        await stream.aclose()
        await control.cancelled.wait()

    with_server(path, test)


def test_too_many_connections_are_turned_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_LOCAL_CONNECTIONS", 2)
    statistics = Statistics()

    async def test(control: FakeControl) -> None:
        held = [await trio.open_unix_socket(path) for _ in range(2)]
        assert b'"busy"' in await converse(path, STATUS)  # accepted after the two, in the order of the backlog
        assert statistics.refused_connections == 1
        for stream in held:
            await stream.aclose()
        while b" 200 " not in await converse(path, STATUS):  # noqa: ASYNC110 - the server shows no event
            await trio.sleep(0.01)

    with_server(path, test, statistics)


def test_too_many_requests_are_turned_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_REQUESTS", 1)

    async def test(control: FakeControl) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(converse, path, request("GET", "/ring"))
            await control.waiting.wait()
            assert b" 503 " in await converse(path, STATUS)
            control.primed.set()

    with_server(path, test)


def test_answer_under_way_arrives_though_the_router_ends(path: Path) -> None:
    async def main() -> None:
        control = FakeControl()
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await converse(path, request("GET", "/ring")))

        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as clients, trio.open_nursery() as nursery:
                await nursery.start(serve, control, path)
                clients.start_soon(ask)
                await control.waiting.wait()
                nursery.cancel_scope.cancel()
                control.primed.set()
        assert b" 204 " in answers[0]

    trio.run(main)


def test_end_is_not_held_up_by_clients(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE_S", 0.2)

    async def test(control: FakeControl) -> None:
        control.the_report["Router"]["Warnings"] = ["x" * 1000] * 5000
        for octets in (b"GET / HT", request("GET", "/report"), request("GET", "/ring")):
            stream = await trio.open_unix_socket(path)  # never closed, never read
            await stream.send_all(octets)
            held.append(stream)
        await control.waiting.wait()
        began.append(trio.current_time())

    held: list[trio.SocketStream] = []
    began: list[float] = []

    async def main() -> None:
        control = FakeControl()
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, control, path)
            await test(control)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began[0] < 2
        for stream in held:
            await stream.aclose()

    trio.run(main)


def test_public_port_shows_status_and_nothing_else() -> None:
    async def main() -> None:
        control = FakeControl()
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve_public, control, "127.0.0.1", 0)
            for octets, code in ((STATUS, b" 200 "), (request("POST", "/stop"), b" 404 "),
                                 (request("POST", "/status"), b" 405 "), (request("GET", "/metrics"), b" 200 ")):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(octets)
                    assert code in (await read_all(stream)).partition(b"\r\n")[0]
            assert not control.stopped.is_set()
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_leaves_no_socket_open_where_starting_fails(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        async def main() -> None:
            with pytest.raises(EnvironmentFailure, match=f"port {port}"):
                await serve_public(FakeControl(), "127.0.0.1", port)

        trio.run(main)
