"""The store's twin in memory: the same promises, on a disk that loses its unsynced writes when the test says so.

`MemoryDisk` is plain and synchronous, for the simulator; `MemoryStore` puts the face of a store on it. As on the real
disk, change sets reach durability in the order in which they were written, so that a crash leaves a prefix of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.advice import DatabaseFile
from store.changes import Change, Put
from store.errors import StoreFailed
from store.limits import check_changes, check_table

if TYPE_CHECKING:
    import trio


class MemoryDisk:
    """Tables that survive a crash, and the change sets written since the last sync, which need not."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._unsynced: list[tuple[Change, ...]] = []
        self._failure: str | None = None

    @property
    def unsynced(self) -> int:
        """Count the change sets that a crash would lose."""
        return len(self._unsynced)

    def read(self, table: str) -> dict[bytes, bytes]:
        """Return every durable row of the table, in the order of the keys."""
        check_table(table)
        return dict(sorted(self._tables.get(table, {}).items()))

    def write(self, changes: Sequence[Change]) -> None:
        """Write a change set; it is not durable, and not seen, before the next `sync`."""
        check_changes(changes)
        self._raise_failure()
        self._unsynced.append(tuple(changes))

    def sync(self) -> None:
        """Make everything durable that was written."""
        self._raise_failure()
        self._keep(len(self._unsynced))

    def crash(self, keep: int = 0) -> None:
        """Lose what was not synced, but for the first `keep` change sets; then the disk is as after a restart."""
        self._keep(keep)
        self._unsynced.clear()
        self._failure = None

    def fail(self, reason: str) -> None:
        """Refuse every write and sync from now on, as a full or broken disk does; what was not synced is lost."""
        self._failure = reason
        self._unsynced.clear()

    def _keep(self, count: int) -> None:
        for changes in self._unsynced[:count]:
            for change in changes:
                self._apply(change)
        del self._unsynced[:count]

    def _apply(self, change: Change) -> None:
        rows = self._tables.setdefault(change.table, {})
        if isinstance(change, Put):
            rows[change.key] = change.value
        else:
            rows.pop(change.key, None)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self.failure(self._failure)

    @staticmethod
    def failure(reason: str) -> StoreFailed:
        """Make the error of a disk that failed."""
        return DatabaseFile("memory").failed(reason)


@dataclass(slots=True)
class _Waiter:
    done: "trio.Event"
    failure: str | None = None


class MemoryStore:
    """The face of a store on a `MemoryDisk`; with `auto_sync` off, commits wait until the test calls `sync`."""

    def __init__(self, disk: MemoryDisk | None = None, *, auto_sync: bool = True) -> None:
        self.disk = disk or MemoryDisk()
        self.auto_sync = auto_sync
        self._waiting: list[_Waiter] = []

    async def read(self, table: str) -> dict[bytes, bytes]:
        """Return every committed row of the table."""
        import trio

        rows = self.disk.read(table)
        await trio.lowlevel.checkpoint()
        return rows

    async def commit(self, changes: Sequence[Change]) -> None:
        """Store the changes; return when they are synced, raise `StoreFailed` when a crash came before."""
        import trio

        await trio.lowlevel.checkpoint_if_cancelled()
        self.disk.write(changes)
        if self.auto_sync:
            self.sync()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        waiter = _Waiter(trio.Event())
        self._waiting.append(waiter)
        await waiter.done.wait()
        if waiter.failure is not None:
            raise MemoryDisk.failure(waiter.failure)

    def sync(self) -> None:
        """Make every commit that waits durable, and let it return."""
        self.disk.sync()
        self._release(None)

    def crash(self, keep: int = 0) -> None:
        """Lose every commit that waits, but for the first `keep`; nobody is told which were kept."""
        self.disk.crash(keep)
        self._release("the machine crashed")

    def fail(self, reason: str) -> None:
        """Fail every commit that waits, and all that come."""
        self.disk.fail(reason)
        self._release(reason)

    def _release(self, failure: str | None) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.failure = failure
            waiter.done.set()
