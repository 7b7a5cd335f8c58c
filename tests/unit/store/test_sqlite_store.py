"""The store under trio: grouped commits, neighbours, failures, the bounded queue, opening and closing."""

import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from store import Store, sqlite
from store.changes import Change, Delete, Put
from store.database import Database
from store.errors import ChangeRefused, StoreCorrupt, StoreFailed, StoreLocked
from store.limits import MAX_KEY_BYTES, MAX_WAITING
from store.sqlite import open_store

from .harness import make_database, open_database, puts, rows

Body = Callable[[Store], Awaitable[None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "weave.db"


class Gate:
    """Holds the thread before a commit until it is opened, and remembers how commits were grouped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.groups: list[int] = []
        commit = Database.commit

        def held(database: Database, groups: Sequence[Sequence[Change]]) -> list[ChangeRefused | None]:
            self.entered.set()
            assert self.open.wait(10)
            self.groups.append(len(groups))
            return commit(database, groups)

        monkeypatch.setattr(Database, "commit", held)

    async def wait_entered(self) -> None:
        await trio.to_thread.run_sync(self.entered.wait, 10)


def run(path: Path, body: Body) -> None:
    async def main() -> None:
        async with open_store(path) as store:
            await body(store)

    trio.run(main)


def test_what_was_committed_is_read_now_and_after_reopening(path: Path) -> None:
    async def write(store: Store) -> None:
        await store.commit([Put("t", b"a", b"1"), Put("t", b"b", b"2"), Delete("t", b"a")])
        assert await store.read("t") == {b"b": b"2"}

    async def check(store: Store) -> None:
        assert await store.read("t") == {b"b": b"2"}
        assert await store.read("u") == {}

    run(path, write)
    run(path, check)


def test_commits_that_wait_share_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def body(store: Store) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.commit, [Put("t", b"first", b"")])
            await gate.wait_entered()
            for n in range(50):
                nursery.start_soon(store.commit, [Put("t", bytes([n]), b"")])
            await trio.testing.wait_all_tasks_blocked()
            gate.open.set()
        assert len(await store.read("t")) == 51
        assert gate.groups[:2] == [1, 50]

    run(path, body)


def test_waiters_are_told_after_the_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    done: list[int] = []

    async def commit(store: Store, n: int) -> None:
        await store.commit([Put("t", bytes([n]), b"")])
        done.append(n)

    async def body(store: Store) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(5):
                nursery.start_soon(commit, store, n)
            await gate.wait_entered()
            await trio.testing.wait_all_tasks_blocked()
            assert done == []
            gate.open.set()
        assert sorted(done) == list(range(5))

    run(path, body)


def test_a_refused_change_set_harms_no_neighbour(path: Path) -> None:
    async def refused(store: Store) -> None:
        with pytest.raises(ChangeRefused):
            await store.commit([Put("t", b"bad", b""), Put("t", bytes(MAX_KEY_BYTES + 1), b"")])

    async def body(store: Store) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(store.commit, [Put("t", bytes([n]), b"")])
                nursery.start_soon(refused, store)
        assert sorted(await store.read("t")) == [bytes([n]) for n in range(10)]
        with pytest.raises(ChangeRefused):
            await store.read("")

    run(path, body)


def test_a_set_changed_by_its_caller_while_it_waits_is_stored_as_it_was(path: Path) -> None:
    async def body(store: Store) -> None:
        changes: list[Change] = [Put("t", b"a", b"")]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.commit, changes)
            await trio.testing.wait_all_tasks_blocked()
            changes.append(Put("t", b"late", b""))
        assert await store.read("t") == {b"a": b""}

    run(path, body)


def test_an_empty_change_set_is_no_mistake(path: Path) -> None:
    run(path, lambda store: store.commit([]))


def test_after_a_failed_commit_all_are_told_and_reads_go_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    connections: list[sqlite3.Connection] = []

    def capped(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)  # type: ignore[call-overload]
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA max_page_count = 20")
        connections.append(connection)
        return connection  # type: ignore[no-any-return]

    failures: list[StoreFailed] = []

    async def fail(store: Store, n: int) -> None:
        with pytest.raises(StoreFailed, match="full") as failure:
            await store.commit([Put("t", bytes([n]), bytes(100_000))])
        failures.append(failure.value)

    async def body(store: Store) -> None:
        await store.commit([Put("t", b"kept", b"1")])
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(fail, store, n)
        with pytest.raises(StoreFailed, match="full"):
            await store.commit([Put("t", b"small", b"")])
        assert await store.read("t") == {b"kept": b"1"}

    monkeypatch.setattr(sqlite3, "connect", capped)
    run(path, body)
    assert len({id(failure) for failure in failures}) == 3


def test_the_queue_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def body(store: Store) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.commit, [Put("t", b"first", b"")])
            await gate.wait_entered()
            for n in range(2 * MAX_WAITING):
                nursery.start_soon(store.commit, [Put("t", n.to_bytes(2, "big"), b"")])
            await trio.testing.wait_all_tasks_blocked()
            gate.open.set()
        assert len(await store.read("t")) == 2 * MAX_WAITING + 1
        assert max(gate.groups) <= MAX_WAITING

    run(path, body)


def test_refusals_to_open_reach_the_opener(path: Path) -> None:
    async def refused(kind: type[Exception]) -> None:
        with pytest.raises(kind):
            async with open_store(path):
                pytest.fail("opened")

    database = open_database(path)
    trio.run(refused, StoreLocked)
    database.close()
    path.write_bytes(b"garbage" * 100)
    trio.run(refused, StoreCorrupt)


def test_the_advice_names_what_the_caller_said_is_in_it(path: Path) -> None:
    async def main() -> None:
        with pytest.raises(StoreCorrupt, match="Starting empty loses this router's identity"):
            async with open_store(path, contents="this router's identity"):
                pytest.fail("opened")

    make_database(path, {})
    path.write_bytes(b"")
    trio.run(main)


def test_everything_queued_is_stored_before_closing(path: Path) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery, open_store(path) as store:
            for n in range(20):
                nursery.start_soon(store.commit, [Put("t", bytes([n]), b"")])
            await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    database = open_database(path)
    assert database.rows == 20
    database.close()


def test_a_closed_store_says_so(path: Path) -> None:
    async def main() -> None:
        async with open_store(path) as store:
            pass
        with pytest.raises(trio.ClosedResourceError):
            await store.commit([Put("t", b"a", b"")])
        with pytest.raises(trio.ClosedResourceError):
            await store.read("t")

    trio.run(main)


def test_closing_folds_the_log_and_ends_the_thread(path: Path) -> None:
    run(path, lambda store: store.commit(puts("t", rows(50))))
    assert sorted(file.name for file in path.parent.iterdir()) == ["weave.db", "weave.db.lock"]
    assert "store" not in {thread.name for thread in threading.enumerate()}


def test_a_disk_that_never_answers_does_not_hang_the_exit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    monkeypatch.setattr(sqlite, "CLOSE_DEADLINE_S", 0.05)

    async def body(store: Store) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.commit, [Put("t", b"a", b"")])
            await gate.wait_entered()
            nursery.cancel_scope.cancel()

    with pytest.raises(StoreFailed, match="did not answer"):
        run(path, body)
    gate.open.set()
    for thread in threading.enumerate():
        if thread.name == "store":
            thread.join(10)
    open_database(path).close()
