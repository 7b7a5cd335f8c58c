"""The twin keeps the same promises, and loses what it may lose."""

import pytest
import trio
import trio.testing

from store.changes import Change, Delete, Put
from store.errors import ChangeRefused, StoreFailed
from store.limits import MAX_KEY_BYTES
from store.memory import MemoryDisk, MemoryStore

from .harness import cancelled_at

ONE: list[Change] = [Put("t", b"a", b"1"), Put("t", b"b", b"1")]
TWO: list[Change] = [Put("t", b"a", b"2"), Delete("t", b"b")]
AFTER_ONE, AFTER_TWO = {b"a": b"1", b"b": b"1"}, {b"a": b"2"}


def test_what_is_not_synced_is_not_seen() -> None:
    disk = MemoryDisk()
    disk.write(ONE)
    assert (disk.read("t"), disk.unsynced) == ({}, 1)
    disk.sync()
    assert (disk.read("t"), disk.unsynced) == (AFTER_ONE, 0)


@pytest.mark.parametrize(("keep", "left"), [(0, {}), (1, AFTER_ONE), (2, AFTER_TWO), (9, AFTER_TWO)])
def test_a_crash_keeps_a_prefix_of_what_was_not_synced(keep: int, left: dict[bytes, bytes]) -> None:
    disk = MemoryDisk()
    disk.write(ONE)
    disk.write(TWO)
    disk.crash(keep)
    disk.sync()
    assert disk.read("t") == left


def test_a_crash_loses_nothing_synced() -> None:
    disk = MemoryDisk()
    disk.write(ONE)
    disk.sync()
    disk.crash()
    assert disk.read("t") == AFTER_ONE


def test_a_failed_disk_refuses_until_the_restart() -> None:
    disk = MemoryDisk()
    disk.write(ONE)
    disk.fail("no space left")
    for act in (disk.sync, lambda: disk.write(TWO)):
        with pytest.raises(StoreFailed, match="no space left"):
            act()
    disk.crash()
    disk.write(TWO)
    disk.sync()
    assert disk.read("t") == AFTER_TWO


def test_bounds_are_those_of_the_real_store() -> None:
    with pytest.raises(ChangeRefused):
        MemoryDisk().write([Put("t", bytes(MAX_KEY_BYTES + 1), b"")])
    with pytest.raises(ChangeRefused):
        MemoryDisk().read("")


def test_reading_gives_a_copy_in_order() -> None:
    disk = MemoryDisk()
    disk.write([Put("t", key, b"") for key in (b"b", b"a", b"c")])
    disk.sync()
    disk.read("t").clear()
    assert list(disk.read("t")) == [b"a", b"b", b"c"]


def test_commit_returns_when_it_is_durable() -> None:
    async def main() -> None:
        store = MemoryStore()
        await store.commit(ONE)
        store.crash()
        assert await store.read("t") == AFTER_ONE

    trio.run(main)


def test_without_auto_sync_commits_wait_for_it() -> None:
    async def main() -> None:
        store = MemoryStore(auto_sync=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.commit, ONE)
            nursery.start_soon(store.commit, TWO)
            await trio.testing.wait_all_tasks_blocked()
            assert (await store.read("t"), store.disk.unsynced) == ({}, 2)
            store.sync()
        assert await store.read("t") in (AFTER_TWO, AFTER_ONE)

    trio.run(main)


@pytest.mark.parametrize("act", ["crash", "fail"])
def test_who_waits_when_it_goes_wrong_is_told_that_it_failed(act: str) -> None:
    async def waiter(store: MemoryStore) -> None:
        with pytest.raises(StoreFailed):
            await store.commit(ONE)

    async def main() -> None:
        store = MemoryStore(auto_sync=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter, store)
            await trio.testing.wait_all_tasks_blocked()
            store.crash() if act == "crash" else store.fail("broken")
        assert await store.read("t") == {}

    trio.run(main)


def test_a_cancelled_commit_happened_wholly_or_not() -> None:
    async def main() -> None:
        for step in (1, 2, 3):
            store = MemoryStore()
            await cancelled_at(step, lambda store=store: store.commit(ONE))  # type: ignore[misc]
            assert await store.read("t") in ({}, AFTER_ONE)

    trio.run(main)


def test_a_commit_cancelled_while_it_waits_may_still_happen() -> None:
    async def main() -> None:
        store = MemoryStore(auto_sync=False)
        assert await cancelled_at(1, lambda: store.commit(ONE))
        store.sync()
        assert await store.read("t") == AFTER_ONE

    trio.run(main)
