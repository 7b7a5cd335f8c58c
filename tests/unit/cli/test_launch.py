"""`weave launch` with stand-ins for the router program."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.fake import ME
from tests.unit.cli.conftest import Run
from weave.cli import lifecycle

ROOT = Path(__file__).parents[3]
SERVES = """
import os, sys, trio
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.unit.api.fake import FakeControl
from weave.api.server import serve
async def main():
    control = FakeControl(ready=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, control, Path(os.environ["WEAVE_SOCKET"]))
        print("password", os.environ.get("WEAVE_PASSWORD"), "arguments", sys.argv[1:], flush=True)
        await trio.sleep(0.2)
        control.ready = True
        await control.stopped.wait()
        nursery.cancel_scope.cancel()
trio.run(main)
"""
DIES = """
import sys
print("starting")
sys.exit("weave router: port 6783 is taken; choose another with --port")
"""


@pytest.fixture
def program(tmp_path: Path, socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have `weave launch` start a script in place of the router; see it end."""
    script = tmp_path / "router.py"
    started: list[subprocess.Popen[bytes]] = []
    spawn = lifecycle._spawn

    def note(*arguments: Any) -> tuple[subprocess.Popen[bytes], int]:
        process, start = spawn(*arguments)
        started.append(process)
        return process, start

    monkeypatch.setattr(lifecycle, "_spawn", note)
    monkeypatch.setattr(lifecycle, "_command", lambda words: [sys.executable, str(script), *words])
    monkeypatch.setenv("WEAVE_STATE_DIR", str(tmp_path / "state"))
    yield script
    for process in started:
        process.wait(10)


def test_launch_waits_until_ready_and_prints_the_name(
    program: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write_text(SERVES.format(root=str(ROOT)))
    monkeypatch.setenv("WEAVE_PASSWORD", "secret")
    result = run("launch", "--nickname", "h1", "192.0.2.1")
    try:
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{ME}\n", "")
        log = (program.parent / "state" / "router.log").read_text()
        assert log == "password secret arguments ['--nickname', 'h1', '192.0.2.1']\n"
        assert "already running" in run("launch").stderr
    finally:
        assert run("stop").exit_code == 0


@pytest.mark.usefixtures("program")
def test_launch_with_a_password_begins_again_without_it_in_its_own_command_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[list[str], str, str]] = []

    def execve(program: str, words: list[str], environment: dict[str, str]) -> None:
        begun.append((words, environment["WEAVE_PASSWORD"], environment["WEAVE_SOCKET"]))
        raise SystemExit(7)

    monkeypatch.setattr("os.execve", execve)
    path, log = str(tmp_path / "s"), str(tmp_path / "log")
    words = ["launch", "--password", "hush", "--port", "7000", "--log-file", log, "-o", "json", "192.0.2.1"]
    assert run("--socket", path, *words).exit_code == 7
    again = ["launch", "--json", "--log-file", log, "--port", "7000", "192.0.2.1"]
    assert begun == [([sys.executable, "-P", "-m", "weave", *again], "hush", path)]


@pytest.mark.parametrize(("words", "status", "says"), [
    (["--password=hush"], 1, "--port 0 should be a port"), (["--password"], 2, "expected one argument"),
    (["--password", ""], 1, "is empty"), (["--password", "hush", "--password-file", "f"], 1, "not both"),
])
def test_launch_says_what_is_wrong_beside_or_with_a_password(
    words: list[str], status: int, says: str, socket_path: Path
) -> None:
    for command in ("launch", "router"):
        done = subprocess.run([sys.executable, "-m", "weave", command, "--port", "0", *words], capture_output=True,
                              text=True, check=False)
        assert (done.returncode, done.stdout) == (status, "")
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_launch_tells_programs_where_the_router_is(program: Path, tmp_path: Path, run: Run) -> None:
    program.write_text(SERVES.format(root=str(ROOT)))
    log = tmp_path / "elsewhere" / "log"
    result = run("launch", "--json", "--log-file", str(log))
    try:
        told = json.loads(result.stdout)
        assert (told["name"], told["log"]) == (ME, str(log))
        assert os.getpgid(told["pid"]) == told["pid"] != os.getpgid(0)
    finally:
        run("stop")


def test_launch_reports_why_the_router_ended(program: Path, run: Run) -> None:
    program.write_text(DIES)
    for _ in range(2):
        result = run("launch")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "the router ended: weave router: port 6783 is taken; choose another with --port (log: " in result.stderr


def test_launch_gives_up_on_a_router_that_does_not_get_ready(
    program: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write_text("import time\ntime.sleep(1)\n")
    monkeypatch.setattr(lifecycle, "READY_DEADLINE_S", 0.2)
    result = run("launch")
    assert result.exit_code == 1
    assert "not ready after 0.2 s" in result.stderr


@pytest.mark.parametrize(("words", "status"), [
    (["--port", "0"], 1), (["--ipalloc-range", "10.0.0.1/8"], 1), (["--port", "x"], 2), (["--nonsense"], 2),
])
def test_launch_refuses_wrong_options_before_it_starts_anything(
    words: list[str], status: int, program: Path, run: Run
) -> None:
    program.write_text("open('started', 'w')")
    assert run("launch", *words).exit_code == status
    assert not (program.parent / "state").exists()


def test_launch_says_where_it_cannot_log(program: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    result = run("launch", "--log-file", str(tmp_path / "file" / "log"))
    assert result.exit_code == 1
    assert "cannot start the router with its log at" in result.stderr


def test_reset_by_force_lets_the_router_program_clean_up(program: Path, run: Run) -> None:
    program.write_text("import sys\nopen(sys.argv[0] + '.done', 'w').write(' '.join(sys.argv[1:]))\n")
    result = run("reset", "--force")
    state = program.parent / "state"
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"the bridge weave, the devices of VXLAN port 6784 and the state in {state}; " in result.stdout
    assert (program.parent / "router.py.done").read_text() == "--wipe"
    program.write_text("import sys\nsys.exit('weave router: no')\n")
    assert "cannot remove what weave made: weave router: no" in run("reset", "--force").stderr


def test_reset_by_force_takes_the_options_that_say_what_to_remove(program: Path, run: Run) -> None:
    program.write_text("import sys\nopen(sys.argv[0] + '.done', 'w').write(' '.join(sys.argv[1:]))\n")
    result = run("reset", "--force", "--bridge", "b7", "--vxlan-port", "7000", "--state-dir", "/s")
    assert "the bridge b7, the devices of VXLAN port 7000 and the state in /s; " in result.stdout
    assert (program.parent / "router.py.done").read_text() == "--wipe --bridge=b7 --vxlan-port=7000 --state-dir=/s"
    assert "should be a port from 1" in run("reset", "--force", "--vxlan-port", "0").stderr
    result = run("reset", "--bridge", "b7")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--bridge goes with --force" in result.stderr
