"""How the demo and the tests look at a lab: reports, connections, packets on the wire; deadlines instead of sleeps."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from weave.errors import EnvironmentFailure, WeaveError
from weave.lab.lab import Lab

Seen = TypeVar("Seen")

LOOK_INTERVAL_S = 0.05
CAPTURE_READY_DEADLINE_S = 10.0

SERVER = """
import socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=64)
while True:
    c, _ = s.accept()
    c.sendall(sys.argv[2].encode())
    c.close()
"""
"""A container's service: says who it is to everybody who connects."""

CLIENT = """
import socket, sys, time
until = time.monotonic() + 5
def visit(place):
    while True:
        try:
            c = socket.create_connection((place, int(sys.argv[1])), timeout=5)
            c.settimeout(5)
            return c.makefile().read() or "-"
        except ConnectionRefusedError as exc:  # the service is not listening yet
            if time.monotonic() > until:
                return f"ERROR {exc}"
            time.sleep(0.05)
        except OSError as exc:
            return f"ERROR {exc}"
for place in sys.argv[2:]:
    print(place, visit(place))
"""
"""A container's client: connects to every place named and prints who answered."""

RESOLVE = """
import socket, sys
for name in sys.argv[1:]:
    try:
        print(name, *sorted({a[4][0] for a in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}))
    except OSError as exc:
        print(name, "ERROR", exc)
"""

STREAM = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
c.settimeout(5)
sent, until = 0, time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    c.sendall(b"x" * 64)
    assert len(c.recv(64, socket.MSG_WAITALL)) == 64
    sent += 1
    time.sleep(0.005)
print(sent)
"""
"""A container's long connection: sends and gets back small messages for some seconds, prints how many."""

ECHO = """
import socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    c, _ = s.accept()
    while data := c.recv(65536):
        c.sendall(data)
    c.close()
"""


def wait_for(look: Callable[[], Seen], holds: Callable[[Seen], bool], otherwise: str, deadline_s: float) -> Seen:
    """Look until it holds and return what was seen; raise `EnvironmentFailure` saying `otherwise` at the deadline."""
    until = time.monotonic() + deadline_s
    while True:
        failure = ""
        try:
            seen = look()
            if holds(seen):
                return seen
        except WeaveError as exc:
            failure = f" ({exc})"
        if time.monotonic() > until:
            raise EnvironmentFailure(f"{otherwise} within {deadline_s:g} s{failure}")
        time.sleep(LOOK_INTERVAL_S)


def report(lab: Lab, host: str) -> Mapping[str, object]:
    """Return the report of a host's router."""
    return lab.report(host)


def section(seen: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return one part of a report."""
    part = seen.get(name)
    if not isinstance(part, dict):
        raise EnvironmentFailure(f"the report has no {name}")
    return part


def rows(part: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """Return one list of a part of a report."""
    found = part.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def established(seen: Mapping[str, object]) -> set[str]:
    """Return the nicknames of the peers a router is connected to."""
    connections = rows(section(seen, "Router"), "Connections")
    return {str(row["NickName"]) for row in connections if row.get("State") == "established"}


def run(lab: Lab, place: str, *words: str, timeout: float = 30.0) -> str:
    """Run a command on a host or in a container; raise `EnvironmentFailure` with its last line where it fails."""
    done = lab.execute(place, *words, timeout=timeout)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise EnvironmentFailure(f"`{' '.join(words)[:120]}` in {place}: {said[-1]}")
    return done.stdout


@contextmanager
def background(lab: Lab, place: str, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command in a container while the block runs."""
    command, environment = lab.command(place, words)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Capture:
    """What tcpdump saw while a block ran."""

    def __init__(self) -> None:
        self.lines: list[str] = []


@contextmanager
def capture(lab: Lab, place: str, device: str, expression: str) -> Iterator[Capture]:
    """Record as text the packets that match on a device of a host, with what VXLAN carries, until the block ends."""
    seen = Capture()
    path = Path(f"/run/weave-lab/{lab.name}/capture-{place}-{device}")
    words = ["tcpdump", "-n", "-l", "--immediate-mode", "-T", "vxlan", "-i", device, expression]
    command, environment = lab.command(place, words)
    with path.open("w+") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            until = time.monotonic() + CAPTURE_READY_DEADLINE_S
            while "listening on" not in process.stderr.readline():
                if process.poll() is not None or time.monotonic() > until:
                    raise EnvironmentFailure(f"tcpdump did not start on {device} of {place}")
            yield seen
            time.sleep(LOOK_INTERVAL_S)
        finally:
            process.terminate()
            process.wait(timeout=CAPTURE_READY_DEADLINE_S)
            process.stderr.close() if process.stderr is not None else None
            output.seek(0)
            seen.lines = [line.strip() for line in output.read().splitlines() if line.strip()]
    path.unlink(missing_ok=True)


def words_of(lines: Sequence[str]) -> dict[str, str]:
    """Return the first word of each line with the rest of the line."""
    return {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines if line.strip()}
