"""What the tests of the store share: databases by path, and rows in bulk."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from store.advice import DatabaseFile
from store.changes import Put
from store.database import Database


def open_database(path: Path) -> Database:
    return Database(DatabaseFile(str(path)))


def rows(count: int, *, size: int = 100, salt: bytes = b"") -> dict[bytes, bytes]:
    """Rows that fill pages, each different from its neighbours."""
    return {b"key %04d" % n: (salt + b"value %04d " % n) * (size // 10) for n in range(count)}


def puts(table: str, content: dict[bytes, bytes]) -> list[Put]:
    return [Put(table, key, value) for key, value in content.items()]


def make_database(path: Path, content: dict[bytes, bytes], table: str = "t") -> None:
    database = open_database(path)
    database.commit([puts(table, content)])
    database.close()


class _CancelAt(trio.abc.Instrument):
    """Cancel a scope after the n-th step of one task."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self._task, self._scope, self._left = task, scope, step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(step: int, operation: Callable[[], Awaitable[object]]) -> bool:
    """Run the operation, cancelled when its task has yielded `step` times; tell whether it was cut short."""
    with trio.CancelScope() as scope:
        instrument = _CancelAt(trio.lowlevel.current_task(), scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught
