"""What a lab remembers between two commands: its hosts, their routers' processes, containers and cuts.

One JSON file below `/run/weave-lab/<lab>/`, written whole and renamed into place, under a lock that makes commands on
one lab take turns. The kernel stays the judge: `weave lab down` removes what it finds, whatever this file says.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

from weave.errors import EnvironmentFailure, LocalError

LABS_DIR = Path("/run/weave-lab")
RESERVATIONS_DIR = Path("/run/lock")


@dataclass(slots=True)
class Process:
    """A process we started, told from a later one with the same pid by its start time."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Say whether this very process still runs (a zombie does not)."""
        return start_time(self.pid) == self.started


@dataclass(slots=True)
class HostState:
    """One host: its place on the underlay, its router and its containers."""

    number: int
    options: list[str]
    router: Process | None = None
    containers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LabState:
    """A whole lab."""

    name: str
    hosts: dict[str, HostState] = field(default_factory=dict)
    cuts: list[tuple[str, str]] = field(default_factory=list)


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (proc(5), field 22); None where it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    after_name = text.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])


def labs() -> list[str]:
    """Return the names of the labs that have a directory."""
    return sorted(entry.name for entry in LABS_DIR.iterdir()) if LABS_DIR.is_dir() else []


def directory(lab: str) -> Path:
    """Return where a lab keeps its files."""
    return LABS_DIR / lab


@contextmanager
def reserved(name: str) -> Iterator[str]:
    """Hold a lab's name while the block runs: this one, or the first of name-2, name-3, ... that nobody holds."""
    for number in count(1):
        word = name if number == 1 else f"{name}-{number}"
        with _flock(_reservation(word), wait=False) as is_ours:
            if is_ours:
                yield word
                return


def is_reserved(name: str) -> bool:
    """Say whether somebody holds a lab's name."""
    with _flock(_reservation(name), wait=False) as is_ours:
        return not is_ours


def _reservation(name: str) -> Path:
    return RESERVATIONS_DIR / f"weave-lab-{name}"


@contextmanager
def locked(lab: str) -> Iterator[LabState]:
    """Hold the lab's lock and its state; what the block changed is written when it ends, even by an error."""
    with _flock(directory(lab) / "lock"):
        state = load(lab)
        try:
            yield state
        finally:
            if directory(lab).is_dir():
                _save(state)


@contextmanager
def _flock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on a file while the block runs, if need be after waiting; give whether it is held."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as exc:
        raise EnvironmentFailure("a lab makes network namespaces, which only root can; try it with sudo") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_held = True
    except BlockingIOError:
        is_held = False
    try:
        yield is_held
    finally:
        os.close(handle)


def load(lab: str) -> LabState:
    """Return the state of a lab; an empty one where there is none."""
    path = directory(lab) / "lab.json"
    if not path.exists():
        return LabState(lab)
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        hosts = {
            name: HostState(host["number"], host["options"], Process(**host["router"]) if host["router"] else None,
                            host["containers"])
            for name, host in body["hosts"].items()
        }
        return LabState(body["name"], hosts, [(a, b) for a, b in body["cuts"]])
    except (ValueError, KeyError, TypeError) as exc:
        raise LocalError(f"{path} is damaged ({exc}); `weave lab down` removes the lab whatever it says") from exc


def _save(state: LabState) -> None:
    path = directory(state.name) / "lab.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    fresh.rename(path)
