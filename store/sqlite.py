"""The store on the disk, for trio: one thread owns the one connection, and tasks wait for what it answers.

Requests queue up while the thread writes; it then takes all of them, commits every change set in one transaction (one
fsync) and tells each waiter after it. The more wait, the less each costs; a lone commit never waits for company.

No waiter is told before the disk has its changes. A waiter that is cancelled after its request was queued leaves the
request there: it may still happen, wholly. Requests waiting are bounded; who comes later waits before the queue.
"""

import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar

import trio

from store.advice import UNNAMED_CONTENTS, DatabaseFile
from store.changes import Change
from store.database import Database
from store.errors import StoreError
from store.limits import MAX_WAITING, check_changes, check_table
from store.protocol import Store

CLOSE_DEADLINE_S = 30.0
"""How long closing may wait for the disk; one that takes longer is not coming back."""

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class _Reply(Generic[Answer]):
    """What a task waits for; settled once, in trio's thread."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._outcome: Answer | Exception | None = None

    def settle(self, outcome: Answer | Exception) -> None:
        self._outcome = outcome
        self._settled.set()

    async def wait(self) -> Answer:
        await self._settled.wait()
        outcome = self._outcome
        if isinstance(outcome, StoreError):  # many may wait for one outcome: each raises its own copy
            raise type(outcome)(outcome.problem, outcome.advice) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        return outcome


@dataclass(frozen=True, slots=True)
class _Commit:
    changes: tuple[Change, ...]
    reply: _Reply[bool] = field(default_factory=_Reply)


@dataclass(frozen=True, slots=True)
class _Read:
    table: str
    reply: _Reply[dict[bytes, bytes]] = field(default_factory=_Reply)


_Request: TypeAlias = _Commit | _Read
_Settlement: TypeAlias = Callable[[], None]


class _Thread:
    """The thread that owns the database, from opening it to closing it; the methods without underscore are trio's."""

    def __init__(self, file: DatabaseFile) -> None:
        self.opened: _Reply[bool] = _Reply()
        self.closed: _Reply[bool] = _Reply()
        self._file = file
        self._slots = trio.Semaphore(MAX_WAITING)
        self._stopped = False
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, name="store", daemon=True).start()

    async def put(self, request: _Request) -> None:
        """Queue a request when there is room; cancelled here, nothing has happened."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._slots.acquire_nowait()  # without a turn for other tasks, so that requests of one turn share a write
        except trio.WouldBlock:
            await self._slots.acquire()
        if self._stopped:
            self._slots.release()
            raise trio.ClosedResourceError("the store is closed")
        self._queue.put(request)

    def stop(self) -> None:
        """Let the thread close the database after everything that is queued."""
        self._stopped = True
        self._queue.put(None)

    def _run(self) -> None:
        """Live: open, serve, close. When trio is gone, nobody waits for what is left."""
        with suppress(trio.RunFinishedError):
            try:
                database = Database(self._file)
            except Exception as exc:  # noqa: BLE001 - raised again where it is waited for
                self._settle([partial(self.opened.settle, exc), partial(self.closed.settle, True)])
                return
            log.info("open path=%s rows=%d sqlite=%s", self._file.path, database.rows, sqlite3.sqlite_version)
            try:
                self._settle([partial(self.opened.settle, True)])
                self._serve(database)
            finally:
                failure = _attempt(database.close)
                self._settle([partial(self.closed.settle, failure or True)])

    def _serve(self, database: Database) -> None:
        batch: list[_Request | None] = []
        while None not in batch:
            batch = self._take_all()
            requests = [request for request in batch if request is not None]
            self._settle([*_answer(database, requests), *[self._slots.release] * len(requests)])

    def _take_all(self) -> list[_Request | None]:
        """Wait for a request, and take with it every other that waits."""
        batch = [self._queue.get()]
        with suppress(Empty):
            while True:
                batch.append(self._queue.get_nowait())
        return batch

    def _settle(self, settlements: Sequence[_Settlement]) -> None:
        self._token.run_sync_soon(_run_each, tuple(settlements))


class _SqliteStore:
    """The face of an open database."""

    def __init__(self, thread: _Thread) -> None:
        self._thread = thread

    async def read(self, table: str) -> dict[bytes, bytes]:
        check_table(table)
        request = _Read(table)
        await self._thread.put(request)
        return await request.reply.wait()

    async def commit(self, changes: Sequence[Change]) -> None:
        request = _Commit(tuple(changes))
        check_changes(request.changes)
        await self._thread.put(request)
        await request.reply.wait()


@asynccontextmanager
async def open_store(path: Path, *, contents: str = UNNAMED_CONTENTS) -> AsyncIterator[Store]:
    """Open the database at `path`, making it and its directory where there is none, and own it until the exit.

    Raises a `StoreError` that says what to do where the file is damaged, not ours, from the future, in use, or cannot
    be written. `contents` says in words what the database holds, for the advice on how to go on without it.
    """
    file = DatabaseFile(str(path), contents)
    thread = _Thread(file)
    try:
        await thread.opened.wait()
        yield _SqliteStore(thread)
    finally:
        thread.stop()
        with trio.move_on_after(CLOSE_DEADLINE_S, shield=True) as deadline:
            await thread.closed.wait()
        if deadline.cancelled_caught:
            raise file.failed(f"its disk did not answer for {CLOSE_DEADLINE_S:.0f} seconds")


def _answer(database: Database, requests: Sequence[_Request]) -> list[_Settlement]:
    """Commit what is to be committed, in one transaction, then read; nobody is told yet."""
    commits = [request for request in requests if isinstance(request, _Commit)]
    reads = [request for request in requests if isinstance(request, _Read)]
    outcomes = _commit_all(database, commits)
    rows = [_attempt(partial(database.read, request.table)) for request in reads]
    return [
        *(partial(request.reply.settle, outcome) for request, outcome in zip(commits, outcomes, strict=True)),
        *(partial(request.reply.settle, found) for request, found in zip(reads, rows, strict=True)),
    ]


def _commit_all(database: Database, commits: Sequence[_Commit]) -> Sequence[bool | Exception]:
    refusals = _attempt(partial(database.commit, [commit.changes for commit in commits]))
    if isinstance(refusals, Exception):
        return [refusals] * len(commits)
    return [refusal or True for refusal in refusals]


def _attempt(function: Callable[[], Answer]) -> Answer | Exception:
    """Return what the function returns or raises: the thread lives on, the error is raised where it is waited for."""
    try:
        return function()
    except Exception as exc:  # noqa: BLE001
        return exc


def _run_each(settlements: Sequence[_Settlement]) -> None:
    for settle in settlements:
        settle()
