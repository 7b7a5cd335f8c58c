"""The client against a real server, and against servers that misbehave."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.api.fake import FakeControl
from tests.unit.api.harness import router_in_thread
from weave.api.client import Client, Refused, Unreachable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weave.sock"


@contextmanager
def answering(path: Path, octets: bytes, *, hold: bool = False) -> Iterator[Client]:
    """Serve one connection: read a little, say this, close (or hold)."""
    done = threading.Event()

    def work() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(octets)
            if hold:
                done.wait(10)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield Client(path)
        finally:
            done.set()
            thread.join(10)


def test_speaks_with_the_server(path: Path) -> None:
    with router_in_thread(path, FakeControl()) as control:
        client = Client(path)
        assert client.report()["Router"]["NickName"] == "h1"
        assert client.value("POST", "ip", "a", body={"timeout": 5}) == {"address": "10.32.0.1/12"}
        assert client.value("DELETE", "ip", "a") is None
        assert client.call("GET", "domain").text == "weave.local."
        assert control.held == {"a": []}


def test_refusal_carries_status_reason_and_sentence(path: Path) -> None:
    with router_in_thread(path, FakeControl()), pytest.raises(Refused, match="no peer is called x/y") as caught:
        Client(path).call("DELETE", "peer", "x/y")
    assert (caught.value.status, caught.value.reason) == (404, "not-found")


def test_large_report_arrives_whole(path: Path) -> None:
    control = FakeControl()
    control.the_report["Router"]["Warnings"] = ["x" * 1000] * 5000
    with router_in_thread(path, control):
        assert len(Client(path).report()["Router"]["Warnings"]) == 5000


@pytest.mark.parametrize(("octets", "words"), [
    (b"", "closed unanswered"),
    (b"hello", "no HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "amid the answer"),
])
def test_bad_answer_is_one_sentence(path: Path, octets: bytes, words: str) -> None:
    with answering(path, octets) as client, pytest.raises(Unreachable, match=words):
        client.call("GET", "status")


def test_answer_that_is_no_refusal_of_ours_is_told_as_it_is(path: Path) -> None:
    octets = b"HTTP/1.1 502 X\r\nContent-Length: 9\r\n\r\nnot here\n"
    with answering(path, octets) as client, pytest.raises(Refused, match="answered 502: not here"):
        client.call("GET", "status")


def test_silent_server_is_given_up(path: Path) -> None:
    with (answering(path, b"HTTP/1.1 200 OK\r\n", hold=True) as client,
          pytest.raises(Unreachable, match=r"within 0\.2 s")):
        client.call("GET", "status", timeout_s=0.2)


def test_no_router_says_how_to_start_one(path: Path) -> None:
    with pytest.raises(Unreachable, match=f"cannot reach the router at {path}: .*weave launch"):
        Client(path).report()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    with pytest.raises(Unreachable, match="nobody answers there; start the router with `weave launch`"):
        Client(path).report()


def test_importing_the_client_is_cheap() -> None:
    heavy = ["trio", "click", "asyncio", "http.client", "email", "starlette", "hypercorn", "msgpack", "cryptography"]
    code = f"import sys, weave.api.client; print(*sorted(sys.modules.keys() & {set(heavy)}))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
