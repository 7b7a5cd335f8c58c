"""Cancelled at every checkpoint: nothing is stored by half, and nothing is left behind."""

import os
import threading
from pathlib import Path

import trio
import trio.testing

from store import Store
from store.changes import Put
from store.sqlite import open_store

from .harness import cancelled_at, make_database, open_database, rows

SET = [Put("t", b"%d" % n, b"new") for n in range(10)]
WHOLE = {change.key: change.value for change in SET}


def leftovers() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), sum(thread.name == "store" for thread in threading.enumerate())


def test_a_commit_cancelled_anywhere_happened_wholly_or_not(tmp_path: Path) -> None:
    finished = False
    for step in range(1, 50):
        path = tmp_path / f"{step}.db"

        async def main(path: Path = path, step: int = step) -> bool:
            async with open_store(path) as store:
                cut = await cancelled_at(step, lambda: store.commit(SET))
                assert await store.read("t") in ({}, WHOLE)
                return not cut

        finished = trio.run(main)
        database = open_database(path)
        assert database.read("t") in ((WHOLE,) if finished else ({}, WHOLE))
        database.close()
        if finished:
            break
    assert finished


def test_a_cancelled_waiter_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    async def neighbour(store: Store, n: int) -> None:
        await store.commit([Put("n", bytes([n]), b"")])

    async def main() -> None:
        async with open_store(tmp_path / "weave.db") as store:
            for step in range(1, 6):
                async with trio.open_nursery() as nursery:
                    for n in range(10):
                        nursery.start_soon(neighbour, store, 10 * step + n)
                    await cancelled_at(step, lambda: store.commit(SET))
            assert len(await store.read("n")) == 50
            assert await store.read("t") in ({}, WHOLE)

    trio.run(main)


def test_a_cancelled_read_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "weave.db") as store:
            await store.commit(SET)
            for step in range(1, 6):
                await cancelled_at(step, lambda: store.read("t"))
                assert await store.read("t") == WHOLE

    trio.run(main)


def test_opening_and_closing_cancelled_anywhere_leaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weave.db"
    make_database(path, rows(100))

    async def session() -> None:
        async with open_store(path) as store:
            await store.read("t")
            await store.commit(SET)

    async def main() -> int:
        before = leftovers()
        for step in range(1, 50):
            finished = not await cancelled_at(step, session)
            await trio.testing.wait_all_tasks_blocked()
            assert leftovers()[1] == 0 or wait_for_thread()
            assert leftovers() == before
            if finished:
                return step
        return 0

    def wait_for_thread() -> bool:
        """The thread says that it closed as its last act but one; give it the time to end."""
        for thread in threading.enumerate():
            if thread.name == "store":
                thread.join(10)
        return leftovers()[1] == 0

    assert trio.run(main) > 2
    open_database(path).close()


def test_waiting_for_room_cancelled_means_nothing_happened(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_store(tmp_path / "weave.db") as store:
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.commit(SET)
            assert scope.cancelled_caught
            assert await store.read("t") == {}

    trio.run(main)
