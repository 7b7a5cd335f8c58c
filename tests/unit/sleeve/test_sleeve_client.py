"""The router's end of the sleeve with stand-ins for the process, which takes its time."""

import os
import sys
from pathlib import Path

import pytest
import trio

from weave.net.sleeve import limits
from weave.net.sleeve.client import SleeveClient, SleeveConfig
from weave.net.sleeve.messages import VERSION, Hello, Keys, Status, frame
from weave.net.sleeve.model import PeerConfig, PeerStatus
from weave.net.sleeve.wire import Key

STAND_IN = f"""#!/bin/sh
exec {sys.executable} -ISc '
import os, socket, sys, time
place, first, slow_s, hello, status = sys.argv[1:]
with open(place + "/starts", "a+") as starts:
    starts.write(str(os.getpid()) + chr(10))
    starts.flush()
    starts.seek(0)
    if len(starts.readlines()) <= int(first):
        time.sleep(float(slow_s))
server = socket.socket(socket.AF_UNIX)
server.bind(place + "/s")
server.listen()
caller = server.accept()[0]
caller.sendall(bytes.fromhex(hello))
caller.recv(1)
caller.sendall(bytes.fromhex(status))
while caller.recv(65536):
    pass
' {{place}} {{first}} {{slow_s}} {{hello}} {{status}}
"""
"""Notes who it is, takes its time, says hello, and how the way to a peer is once it was told something."""
DEADLINE_S = 30.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have little patience."""
    monkeypatch.setattr(limits, "HELLO_DEADLINE_S", 0.1)
    monkeypatch.setattr(limits, "RESTART_MOST_S", 0.1)


class Scene:
    """A client whose sleeve is a stand-in: the first so many of them are slow."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, *, first: int, slow_s: float) -> None:
        self.starts = place / "starts"
        program = place / "python"
        status = Status((PeerStatus("h2", True, None, None, 0.0, 1472, 0, 0),), {})
        hello, said = (frame(message).hex() for message in (Hello(VERSION, 1), status))
        program.write_text(STAND_IN.format(place=place, first=first, slow_s=slow_s, hello=hello, status=said))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        keys = Keys(b"s" * 32, (b"k" * 32,))
        self.client = SleeveClient(SleeveConfig(place / "s", "weave-sleeve", None, 6783, 1472, keys))
        self.client.want([PeerConfig("h2", Key(b"p" * 32), ())], {})

    def pids(self) -> list[int]:
        return [int(line) for line in self.starts.read_text().split()] if self.starts.exists() else []

    async def serve(self) -> None:
        """Run the client until the sleeve told how the ways are; end the sleeve, which would outlive it."""
        told = trio.Event()
        self.client.on_change = told.set
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(self.client.run)
                await told.wait()
                nursery.cancel_scope.cancel()
            process = self.client._process
            assert process is not None
            process.kill()
            await process.wait()


@pytest.mark.usefixtures("quick")
def test_a_sleeve_that_takes_long_to_say_hello_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, first=1, slow_s=1.0)
    trio.run(scene.serve)
    assert len(scene.pids()) == scene.client.starts == 1


@pytest.mark.usefixtures("quick")
def test_a_sleeve_that_never_comes_is_ended_before_another_is_started(tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "START_DEADLINE_S", 0.3)
    scene = Scene(tmp_path, monkeypatch, first=1, slow_s=60.0)
    trio.run(scene.serve)
    assert len(scene.pids()) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(scene.pids()[0], 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("version", "says"), [
    (None, "was told to start none (--sleeve-apart); does weave-sleeve run"),
    (VERSION + 1, "is of another version; start weave-sleeve anew"),
])
def test_a_sleeve_that_somebody_else_runs_is_neither_started_nor_ended(tmp_path: Path, version: int | None,
                                                                       says: str) -> None:
    client = SleeveClient(SleeveConfig(tmp_path / "s", "weave-sleeve", None, 6783, 1472, Keys(b"s" * 32, ()),
                                       is_apart=True))
    client.want([PeerConfig("h2", Key(b"p" * 32), ())], {})
    said = bytearray()

    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(frame(Hello(version or 0, 1)))
        while data := await stream.receive_some():
            said.extend(data)

    async def main() -> None:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                if version is not None:
                    sock = trio.socket.socket(trio.socket.AF_UNIX)
                    await sock.bind(str(tmp_path / "s"))
                    sock.listen()
                    nursery.start_soon(trio.serve_listeners, greet, [trio.SocketListener(sock)])
                await nursery.start(client.run)
                while client.failure is None:  # noqa: ASYNC110 - a plain value, told to nobody
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert says in str(client.failure)
    assert client.starts == 0
    assert not said
