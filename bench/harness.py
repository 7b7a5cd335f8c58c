"""The frame around every bench: options, the exit status, one run of a kind at a time, a place on the disk.

A bench is a module with NAME, MEASURED, GOAL and `main(argv) -> int`; `main` hands its measuring function to `run`.
Exit status 0 when it was measured, whatever came out; 1 with one line on standard error when it could not be.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.report import Result
from weave.errors import WeaveError

Measure = Callable[[argparse.Namespace], Result]
LOCK_DIR = Path("/run/lock")
REPOSITORY = Path(__file__).resolve().parents[1]


class CannotMeasure(WeaveError):  # noqa: N818 - it says what happened
    """Something that the measurement needs is not there; the message says what."""


def run(name: str, measure: Measure, argv: Sequence[str], *,
        options: Callable[[argparse.ArgumentParser], None] = lambda _parser: None) -> int:
    """Parse the options, measure, print; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", allow_abbrev=False,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    options(parser)
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _end)  # what was built for the measurement is taken down, as after an interrupt
    try:
        with exclusive(name):
            result = measure(given)
    except WeaveError as exc:
        print(f"{name}: cannot measure: {exc}", file=sys.stderr)
        return 1
    print(json.dumps(result.as_json(), indent=1, ensure_ascii=False) if given.json else result.as_text())
    return 0


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Let one run of a bench at a time happen: what it makes has names of its own, but only one set of them."""
    LOCK_DIR.mkdir(parents=True, exist_ok=True)
    path = LOCK_DIR / f"weave-bench-{name}"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise CannotMeasure(f"another run of this bench holds {path}; wait for its end") from exc
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch(name: str, parent: str | os.PathLike[str] = "/var/tmp") -> Iterator[Path]:
    """Give an empty directory on a disk and remove it afterwards; what a crashed run left there goes first."""
    place = Path(parent) / f"weave-bench-{name}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700, parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def need_root() -> None:
    """Refuse to measure where network namespaces cannot be made."""
    if os.geteuid() != 0:
        raise CannotMeasure("it makes network namespaces, which only root can; try it with sudo")


def need_program(name: str, package: str) -> str:
    """Return the path of a program; say which Debian package has it where it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise CannotMeasure(f"{name} is not installed (Debian package {package})")
    return found
