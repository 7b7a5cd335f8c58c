"""The one adapter of Python's sqlite3: from a path to an open, checked database, and from its errors to ours.

Synchronous; whoever opens a database must use and close it on the same thread.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from store import files, schema
from store.advice import DatabaseFile
from store.changes import Change
from store.engine import Engine
from store.errors import ChangeRefused, StoreError
from store.limits import MAX_VALUE_BYTES
from store.schema import MIGRATIONS, Migration

OLDEST_SQLITE = (3, 37, 0)
"""The first SQLite with STRICT tables."""
MAX_ROW_BYTES = 2 * MAX_VALUE_BYTES
"""The longest string or blob SQLite may build, so that a damaged length cannot ask for gigabytes."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_ENVIRONMENT = frozenset({
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH,
})  # fmt: skip


class Database:
    """An open database file and the ownership of it."""

    def __init__(self, file: DatabaseFile, steps: Sequence[Migration] = MIGRATIONS) -> None:
        """Open the database, making it where there is none; raise a `StoreError` where it cannot be trusted."""
        self._file = file
        with _translated(file):
            files.make_directory(Path(file.path).parent)
            self._lock = files.take_ownership(file)
        try:
            with _translated(file):
                self._engine, self.rows = _open_engine(file, steps)
        except BaseException:
            os.close(self._lock)
            raise

    def read(self, table: str) -> dict[bytes, bytes]:
        """Return every row of the table."""
        with _translated(self._file):
            return self._engine.read(table)

    def commit(self, groups: Sequence[Sequence[Change]]) -> list[ChangeRefused | None]:
        """Store all change sets in one transaction; see `Engine.commit`."""
        return self._engine.commit(groups)

    def close(self) -> None:
        """Fold the log into the file, and let go of both."""
        try:
            with _translated(self._file):
                self._engine.close()
        finally:
            os.close(self._lock)


def connect(path: str) -> sqlite3.Connection:
    """Open a connection in autocommit mode, set up for the store; nothing is written yet."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=True)
    with _closed_on_failure(connection):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        schema.configure(connection)
    return connection


def _open_engine(file: DatabaseFile, steps: Sequence[Migration]) -> tuple[Engine, int]:
    """Return the rows of the database, all of them checked, and their number."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise file.failed(f"SQLite {sqlite3.sqlite_version} is too old, it takes 3.37")
    files.ensure_database(file, lambda path: _fill(path, file, steps))
    files.check_header(file)
    files.restrict_modes(file)
    connection = connect(file.path)
    with _closed_on_failure(connection):
        schema.admit(connection, file, steps)
        engine = Engine(connection, file)
        return engine, engine.verify()


def _fill(path: str, file: DatabaseFile, steps: Sequence[Migration]) -> None:
    connection = connect(path)
    try:
        schema.create(connection, file, steps)
    finally:
        connection.close()


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    """Let go of the file when it cannot be used: a connection that lingers holds its lock."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def _translated(file: DatabaseFile) -> Iterator[None]:
    """Turn what Python and SQLite raise about files into a `StoreError` about this one."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(exc, file) from exc
    except UnicodeDecodeError as exc:  # sqlite3 decodes SQLite's messages, which may quote the damage
        raise file.corrupt("SQLite quotes text from it that is none") from exc
    except OSError as exc:
        raise file.failed(str(exc)) from exc
    except MemoryError as exc:
        raise file.failed("there is not enough memory") from exc


def _translate(exc: sqlite3.Error, file: DatabaseFile) -> StoreError:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _BUSY:
        return file.locked("another program, perhaps a sqlite3 shell")
    said = f"SQLite says: {exc} ({getattr(exc, 'sqlite_errorname', type(exc).__name__)})"
    return file.failed(said) if code in _ENVIRONMENT else file.corrupt(said)
