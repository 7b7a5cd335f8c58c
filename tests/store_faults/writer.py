"""The process that the kill tests kill: workers that commit through the real store and say what was acknowledged.

Started once, it loads everything and then forks a writer for each path it reads from standard input (before any event
loop runs), so that a kill costs milliseconds. A writer's worker sets two rows to the same number in one change set,
commits, and prints `worker number` when the commit has returned.
"""

import os
import sys
from pathlib import Path

import trio

from store.changes import Change, Put
from store.protocol import Store
from store.sqlite import open_store

WORKERS = 6
ROW_BYTES = 300


def pair(worker: int, number: int) -> list[Change]:
    value = b"%d" % number
    return [Put("left", b"%d" % worker, value.ljust(ROW_BYTES)), Put("right", b"%d" % worker, value)]


async def _work(store: Store, worker: int, number: int) -> None:
    while True:
        number += 1
        await store.commit(pair(worker, number))
        os.write(1, b"%d %d\n" % (worker, number))


async def _write(path: Path) -> None:
    async with open_store(path) as store, trio.open_nursery() as nursery:
        rows = await store.read("right")
        os.write(1, b"ready\n")
        for worker in range(WORKERS):
            nursery.start_soon(_work, store, worker, int(rows.get(b"%d" % worker, b"0")))


def main() -> None:
    """Fork a writer for each path on standard input, tell its pid, and say when it is gone."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            trio.run(_write, Path(line.strip()))
        os.write(1, b"pid %d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"gone\n")


if __name__ == "__main__":
    main()
