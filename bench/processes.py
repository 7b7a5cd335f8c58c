"""Processes seen from outside: what they use, what a router imports, and a process that only imports the same."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import REPOSITORY, CannotMeasure
from weave.lab import kernel
from weave.net.namespace import run_there

END_DEADLINE_S = 10.0
READY_DEADLINE_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB = 1024

RECORD = """
import atexit, sys
from pathlib import Path
atexit.register(lambda: Path(sys.argv[1]).write_text("\\n".join(list(sys.modules))))
from weave.router.main import main
main(sys.argv[2:])
"""
IMPORT = """
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
for name in Path(sys.argv[1]).read_text().split():
    with suppress(ImportError):
        import_module(name)
print("ready", file=sys.stderr, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used up to a moment."""

    cpu_s: float
    """User and system time, of all its threads and of children that ended."""
    rss_mib: float
    own_mib: float
    """Its proportional share: what it has alone, and its part of what it shares."""


def usage(pid: int) -> Usage:
    """Return what a living process has used so far."""
    try:
        rollup = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError as exc:
        raise CannotMeasure(f"process {pid} is gone") from exc
    return Usage(cpu_seconds(pid), rollup["Rss"] / _KIB_PER_MIB, rollup["Pss"] / _KIB_PER_MIB)


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a living process, and of its children that ended, so far."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as exc:
        raise CannotMeasure(f"process {pid} is gone") from exc
    return sum(map(int, after_name[11:15])) / _TICKS


def _fields(text: str) -> Mapping[str, int]:
    lines = (line.split() for line in text.splitlines()[1:])
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}


def router_command(state: Path, *options: str) -> list[str]:
    """Return the command of a router that is alone in its mesh and keeps everything below a directory."""
    return [sys.executable, "-P", "-m", "weave.router", *_router_options(state), *options]


def _router_options(state: Path) -> list[str]:
    return ["--state-dir", str(state), "--socket", str(state / "weave.sock"), "--nickname", "bench",
            "--ipalloc-init=consensus=1"]


def import_command(modules: Path) -> list[str]:
    """Return the command of a process that imports the modules listed in a file, and does nothing else."""
    return [sys.executable, "-P", "-c", IMPORT, str(modules)]


def list_modules(namespace: str, place: Path) -> Path:
    """Run a router until it is ready, and return a file that lists what it has imported by its end, in order."""
    path = place / "modules"
    command = [sys.executable, "-P", "-c", RECORD, str(path), *_router_options(place / "recorded")]
    with until_ready(command, namespace):
        pass
    if not path.exists():
        raise CannotMeasure("a router did not end in the way that says what it has imported")
    return path


@dataclass(frozen=True, slots=True)
class Ready:
    """A process that said that it is ready."""

    pid: int
    seconds: float
    """From before the fork to its word."""
    cpu_s: float


@contextmanager
def until_ready(command: Sequence[str], namespace: str) -> Iterator[Ready]:
    """Start a process in a network namespace, give it when it says `ready` on standard error, end it afterwards."""
    with all_ready([command], namespace) as processes:
        yield processes[0]


@contextmanager
def all_ready(commands: Sequence[Sequence[str]], namespace: str) -> Iterator[list[Ready]]:
    """Start processes together, give them when all have said `ready`, end them afterwards."""
    with ExitStack() as stack:
        began = time.perf_counter()
        spawned = []
        for command in commands:
            process = _spawn(command, namespace)
            stack.callback(_end, process)
            spawned.append(process)
        yield [_ready(process, began) for process in spawned]


def _ready(process: "subprocess.Popen[str]", began: float) -> Ready:
    """Wait for a process to be ready."""
    lines = _read_until_ready(process)
    took = time.perf_counter() - began
    if process.poll() is not None or not lines:
        raise CannotMeasure(f"process {process.args!r} ended: {(lines or ['without a word'])[-1].strip()}")
    return Ready(process.pid, took, cpu_seconds(process.pid))


def _spawn(command: Sequence[str], namespace: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": ""}
    with (kernel.NETNS_DIR / namespace).open("rb") as where:
        return run_there(where.fileno(), lambda: subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True))


def _read_until_ready(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "ready" in line.split():
            return lines
    process.wait(END_DEADLINE_S)
    return lines


def _end(process: "subprocess.Popen[str]") -> None:
    """Ask it to end; kill it when it will not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
