"""The short way for CNI executables: what it takes, what it leaves to the server proper, and clients that go away."""

import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.unit.api.fake import FakeControl
from tests.unit.api.harness import with_server

HEAD = b"POST /cni/weave-net HTTP/1.0\r\nHost: weave\r\nContent-Length: %d\r\n\r\n"
BODY = b"CNI_COMMAND=ADD\0\0{}"
ANSWER = b'3\n{"code": 100}'


async def exchange(path: Path, *pieces: bytes) -> bytes:
    stream = await trio.open_unix_socket(path)
    async with stream:
        for piece in pieces:
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        answer = b""
        with trio.fail_after(10):
            while got := await stream.receive_some():
                answer += got
    return answer


@pytest.mark.parametrize("pieces", [
    [HEAD % len(BODY) + BODY], [HEAD % len(BODY), BODY], [HEAD % len(BODY) + BODY[:3], BODY[3:]],
    [HEAD[:9], HEAD[9:] % len(BODY) + BODY],
], ids=["at once", "in two", "in the middle", "by the server proper"])
def test_a_request_is_handed_on_and_its_answer_given_back(tmp_path: Path, pieces: list[bytes]) -> None:
    path = tmp_path / "s"

    async def story(control: FakeControl) -> None:
        head, _, content = (await exchange(path, *pieces)).partition(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0]
        assert f"content-length: {len(ANSWER)}".encode() in head.lower()
        assert content == ANSWER
        assert control.asked == [("weave-net", BODY)]

    with_server(path, story)


def test_a_request_of_any_length_up_to_the_bound_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def story(control: FakeControl) -> None:
        for length in (0, 400, 512, 5_000, 64 * 1024):
            assert ANSWER in await exchange(path, HEAD % length + b"x" * length)
        assert [len(body) for _, body in control.asked] == [0, 400, 512, 5_000, 64 * 1024]

    with_server(path, story)


def test_too_large_a_request_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def story(control: FakeControl) -> None:
        assert b" 413 " in await exchange(path, HEAD % 70_000)
        assert control.asked == []

    with_server(path, story)


def test_an_executable_that_is_ended_has_its_request_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "s"

    class Patient(FakeControl):
        async def cni(self, plugin: str, octets: bytes) -> tuple[int, str]:
            await self.prime()
            return 0, ""

    async def story(control: FakeControl) -> None:
        stream = await trio.open_unix_socket(path)
        await stream.send_all(HEAD % len(BODY) + BODY)
        await control.waiting.wait()
        await stream.aclose()
        with trio.fail_after(10):
            await control.cancelled.wait()

    with_server(path, story, control=Patient())


@pytest.mark.parametrize("said", [b"", HEAD % 20, b"POST /cni/"])
def test_a_client_that_goes_away_in_the_middle_leaves_nothing(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "s"

    async def story(control: FakeControl) -> None:
        with socket.socket(socket.AF_UNIX) as hasty:
            hasty.connect(str(path))
            hasty.sendall(said)
        assert ANSWER in await exchange(path, HEAD % len(BODY) + BODY)
        assert len(control.asked) == 1

    with_server(path, story)
