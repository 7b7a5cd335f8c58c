"""The rows: read them, change them, and know that they are the ones that were written.

All statements on rows are here. They are synchronous and run on any connection that behaves like Python's sqlite3 in
autocommit mode: the thread of `store.sqlite` runs them on the real disk, the power-cut tests on a simulated one.

SQLite checks the shape of its pages, not what is in them. So each row carries a checksum, and one row, the seal, the
number of all rows and the sum of their checksums. A flipped bit, a page that went back in time or a row that vanished
is found when the file is opened.

Invariant: what `commit` returned for is durable; after a commit failed, no other is ever acknowledged.
"""

import zlib
from collections.abc import Sequence

from store.advice import DatabaseFile
from store.changes import Change, Put
from store.errors import ChangeRefused
from store.limits import check_changes, check_table
from store.schema import Connection, Row

DIGEST_MASK = (1 << 62) - 1
"""The sum of checksums is kept modulo 2**62, within SQLite's signed integers."""


def checksum(table: str, key: bytes, value: bytes) -> int:
    """Return the checksum of a row; it covers where the row is as well as what it says."""
    place = zlib.crc32(f"{table}\0{len(key)}\0".encode() + key)
    return zlib.crc32(value, place)


class Engine:
    """The rows of one open database; every call must come from the thread that owns the connection."""

    def __init__(self, connection: Connection, file: DatabaseFile) -> None:
        self._connection = connection
        self._file = file
        self._failure: str | None = None

    def verify(self) -> int:
        """Return the number of rows; raise `StoreCorrupt` unless all of them are the ones that were sealed."""
        rows = self._connection.execute("SELECT tab, key, value, checksum FROM entry ORDER BY tab, key")
        count, digest, before = 0, 0, ("", b"")
        for table, key, _, total in map(self._checked, rows):
            if (table, key) <= before:
                raise self._file.corrupt("its rows are out of order")
            count, digest, before = count + 1, (digest + total) & DIGEST_MASK, (table, key)
        if list(self._connection.execute("SELECT entries, digest FROM seal")) != [(count, digest)]:
            raise self._file.corrupt("rows are missing from it, or older than they should be")
        return count

    def read(self, table: str) -> dict[bytes, bytes]:
        """Return every row of the table, in the order of the keys."""
        check_table(table)
        sql = "SELECT tab, key, value, checksum FROM entry WHERE tab = ? ORDER BY key"
        return {key: value for _, key, value, _ in map(self._checked, self._connection.execute(sql, (table,)))}

    def commit(self, groups: Sequence[Sequence[Change]]) -> list[ChangeRefused | None]:
        """Store all change sets in one transaction, and return the refusals of those that are out of bounds.

        A refused set changes nothing and harms no neighbour. When the disk fails, `StoreFailed` goes to all of them
        and to every commit ever after: a failed write may be half on the disk, and trying again would hide it.
        """
        if self._failure is not None:
            raise self._file.failed(self._failure)
        outcomes = [_refusal(changes) for changes in groups]
        admitted = [group for group, refusal in zip(groups, outcomes, strict=True) if refusal is None]
        changes = [change for group in admitted for change in group]
        if not changes:
            return outcomes
        try:
            self._transact(changes)
        except Exception as exc:
            self._failure = f"a commit failed ({type(exc).__name__}: {exc})"
            self._roll_back(exc)
            raise self._file.failed(self._failure) from exc
        return outcomes

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        self._connection.close()

    def _transact(self, changes: Sequence[Change]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        deltas = [self._apply(change) for change in changes]
        rows, digest = sum(delta[0] for delta in deltas), sum(delta[1] for delta in deltas) & DIGEST_MASK
        execute("UPDATE seal SET entries = entries + ?, digest = (digest + ?) & ?", (rows, digest, DIGEST_MASK))
        execute("COMMIT")

    def _apply(self, change: Change) -> tuple[int, int]:
        """Change one row; return by how much the number of rows and the sum of checksums changed."""
        place = (change.table, change.key)
        found = list(self._connection.execute("SELECT checksum FROM entry WHERE tab = ? AND key = ?", place))
        old = found[0][0] if found else 0
        assert isinstance(old, int), "the table is STRICT"
        if not isinstance(change, Put):
            self._connection.execute("DELETE FROM entry WHERE tab = ? AND key = ?", place)
            return -len(found), -old
        new = checksum(change.table, change.key, change.value)
        self._connection.execute(
            "INSERT INTO entry (tab, key, value, checksum) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value, checksum = excluded.checksum",
            (*place, change.value, new),
        )
        return 1 - len(found), new - old

    def _roll_back(self, cause: Exception) -> None:
        """Leave the failed transaction, so that reads show what was committed; SQLite may have left it already."""
        try:
            self._connection.execute("ROLLBACK")
        except Exception as exc:  # noqa: BLE001 - the failure that led here is the one to tell
            cause.add_note(f"then, rolling back: {type(exc).__name__}: {exc}")

    def _checked(self, row: Row) -> tuple[str, bytes, bytes, int]:
        table, key, value, total = row
        if not (isinstance(table, str) and isinstance(key, bytes) and isinstance(value, bytes)):
            raise self._file.corrupt("a row holds something else than bytes")
        if not isinstance(total, int) or total != checksum(table, key, value):
            raise self._file.corrupt(f"a row of table {table!r} is not what was written (its checksum differs)")
        return table, key, value, total


def _refusal(changes: Sequence[Change]) -> ChangeRefused | None:
    try:
        check_changes(changes)
    except ChangeRefused as refusal:
        return refusal
    return None
