"""kill -9, again and again: nothing that the real store acknowledged is lost, and no change set is there by half."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.advice import DatabaseFile
from store.database import Database

from .writer import WORKERS

KILLS = 30
ROOT = Path(__file__).parents[2]


@pytest.fixture
def nest() -> Iterator[subprocess.Popen[str]]:
    """The process that forks writers."""
    command = [sys.executable, "-m", "tests.store_faults.writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def write_until_killed(nest: subprocess.Popen[str], path: Path, lines_before_kill: int) -> dict[int, int]:
    """Start a writer, kill it after some lines, and return what it acknowledged to each worker."""
    assert nest.stdin is not None
    assert nest.stdout is not None
    nest.stdin.write(f"{path}\n")
    nest.stdin.flush()
    pid, acknowledged = 0, dict[int, int]()
    for seen, line in enumerate(nest.stdout, 1):
        first, *rest = line.split()
        if first == "gone":
            return acknowledged
        if first == "pid":
            pid = int(rest[0])
        elif first != "ready":
            acknowledged[int(first)] = int(rest[0])
        if pid and seen >= lines_before_kill:
            os.kill(pid, signal.SIGKILL)
            pid = 0
    raise AssertionError("the writers' parent died")


def test_no_acknowledged_commit_is_lost_to_a_kill(nest: subprocess.Popen[str], tmp_path: Path) -> None:
    rng, path = random.Random(7), tmp_path / "weave.db"
    promised = dict.fromkeys(range(WORKERS), 0)
    for kill in range(KILLS):
        acknowledged = write_until_killed(nest, path, rng.choice([1, 2, rng.randrange(3, 60), rng.randrange(60, 400)]))
        promised |= acknowledged
        database = Database(DatabaseFile(str(path)))
        left, right = database.read("left"), database.read("right")
        database.close()
        assert {key: value.strip() for key, value in left.items()} == right, f"kill {kill}: half a change set"
        for worker, number in promised.items():
            found = int(right.get(b"%d" % worker, b"0"))
            assert number <= found <= number + 1, f"kill {kill}: worker {worker} was promised {number}, has {found}"
            promised[worker] = found
    assert sum(promised.values()) > 10 * KILLS


def test_a_killed_owner_leaves_no_lock(nest: subprocess.Popen[str], tmp_path: Path) -> None:
    write_until_killed(nest, tmp_path / "weave.db", 5)
    Database(DatabaseFile(str(tmp_path / "weave.db"))).close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from store.advice import DatabaseFile
from store.changes import Put
from store.database import Database
from store.errors import StoreFailed
database = Database(DatabaseFile(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
number = 0
try:
    while True:
        database.commit([[Put("t", b"%d" % number, bytes(5000))]])
        number += 1
except StoreFailed as exc:
    print(number, exc)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try:
    database.commit([[Put("t", b"later", b"")]])
except StoreFailed:
    print(len(database.read("t")))
    database.close()
"""


def test_a_disk_that_is_full_stops_the_store_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weave.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, timeout=30, cwd=ROOT, check=True
    )
    failure, readable = done.stdout.splitlines()
    count = int(failure.split()[0])
    assert count > 10
    assert "has space" in failure
    assert int(readable) == count
    database = Database(DatabaseFile(str(path)))
    assert database.rows in (count, count + 1)
    assert b"later" not in database.read("t")
    database.close()
