"""A lab whose routers are watched through their logs, which costs them nothing: asking takes them milliseconds each.

A router logs `ready`, `connection up` for every connection, and `link` whenever it decides how container traffic
travels to a peer. A peer counts as met from the first link with a mode on; everybody has met everybody: converged.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bench.harness import CannotMeasure
from weave.lab.lab import Lab
from weave.lab.state import load, reserved

LOOK_S = 0.1
READY_DEADLINE_S = 120.0
_LINE = re.compile(r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+ +(?P<part>[\w.]+): (?P<said>.*)")
_NICKNAME = re.compile(r" nickname=(\S+)")


class WatchedLab(Lab):
    """A lab that looks at the logs to know whether its routers are ready."""

    def _wait_ready(self, name: str, deadline_s: float = READY_DEADLINE_S) -> None:
        router = load(self.name).hosts[name].router
        assert router is not None, "only started hosts are waited for"

        def is_ready() -> bool:
            if not router.alive:
                raise CannotMeasure(f"the router of {name} ended; {last_line(self.log_file(name))}")
            return ready_at(self.log_file(name)) is not None

        wait(is_ready, f"the router of {name} is not ready", max(deadline_s, READY_DEADLINE_S))


@contextmanager
def watched(name: str) -> Iterator[WatchedLab]:
    """Give a fresh lab of this kind and remove it afterwards; what a crashed run left under this name goes first."""
    with reserved(name) as word:
        lab = WatchedLab(word)
        lab.down()
        try:
            yield lab
        finally:
            lab.down()


def wait(holds: Callable[[], bool], otherwise: str, deadline_s: float, look_s: float = LOOK_S) -> None:
    """Look until it holds; raise `CannotMeasure` at the deadline."""
    until = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > until:
            raise CannotMeasure(f"{otherwise} within {deadline_s:g} s")
        time.sleep(look_s)


def converged_at(lab: Lab, hosts: Sequence[str]) -> float | None:
    """Return when the last router met its last peer, in seconds since the epoch; None while one is missing."""
    latest = 0.0
    for host in hosts:
        met = met_at(lab.log_file(host))
        if len(met.keys() - {host}) < len(hosts) - 1:
            return None
        latest = max(latest, *met.values())
    return latest


def ready_at(log: Path) -> float | None:
    """Return when a router said that it is ready, in seconds since the epoch; None where it has not."""
    return next((at for at, part, said in _lines(log) if part == "weave.router" and said.startswith("ready ")), None)


def met_at(log: Path) -> dict[str, float]:
    """Return when a router first knew how traffic travels to each of its peers, by nickname."""
    met: dict[str, float] = {}
    for at, part, said in _lines(log):
        found = _NICKNAME.search(said)
        if part == "weave.fabric" and said.startswith("link ") and " mode=none " not in said and found:
            met.setdefault(found[1], at)
    return met


def last_line(log: Path) -> str:
    """Return the last words of a router."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _lines(log: Path) -> Iterator[tuple[float, str, str]]:
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            at = datetime.strptime(found["at"], "%Y-%m-%d %H:%M:%S,%f")
            yield at.timestamp(), found["part"], found["said"]
