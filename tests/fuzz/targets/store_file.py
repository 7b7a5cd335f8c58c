"""Any bytes as a database file, and as its log: opening is a `StoreError`, or gives a store that works.

What lies before the divider is the database, what follows it the write-ahead log.
"""

import shutil
import tempfile
from pathlib import Path

from store.advice import DatabaseFile
from store.changes import Delete, Put
from store.database import Database
from store.errors import StoreError

DIVIDER = b"\n-- log --\n"
_MEMORY = Path("/dev/shm")
"""A disk in memory, where there is one."""


def target(data: bytes) -> None:
    """Open the bytes as a database, read it and write to it."""
    directory = Path(tempfile.mkdtemp(prefix="store-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        path = directory / "weave.db"
        main, divider, log = data.partition(DIVIDER)
        path.write_bytes(main)
        if divider:
            Path(f"{path}-wal").write_bytes(log)
        _use(path)
    finally:
        shutil.rmtree(directory)


def _use(path: Path) -> None:
    try:
        database = Database(DatabaseFile(str(path)))
    except StoreError:
        return
    try:
        _write_and_read(database)
    except StoreError:
        return
    finally:
        database.close()
    _expect_opens_again(path)


def _write_and_read(database: Database) -> None:
    before = database.read("t")
    refusals = database.commit([[Put("t", b"new", b"row"), Delete("t", b"key 1")], [Put("u", b"", b"x" * 5000)]])
    assert refusals == [None, None]
    expected = {key: value for key, value in (before | {b"new": b"row"}).items() if key != b"key 1"}
    assert database.read("t") == expected


def _expect_opens_again(path: Path) -> None:
    database = Database(DatabaseFile(str(path)))
    assert database.read("u")[b""] == b"x" * 5000
    database.close()


def _seeds() -> list[bytes]:
    """Return a small database, one with pages of several kinds, and one whose rows are still in its log."""
    directory = Path(tempfile.mkdtemp(prefix="store-seeds-"))
    try:
        return [_image(directory / "small.db", 3, 10), _image(directory / "large.db", 60, 300), _with_log(directory)]
    finally:
        shutil.rmtree(directory)


def _image(path: Path, rows: int, size: int) -> bytes:
    database = Database(DatabaseFile(str(path)))
    database.commit([[Put("t", b"key %d" % n, bytes([n]) * size) for n in range(rows)]])
    database.close()
    return path.read_bytes()


def _with_log(directory: Path) -> bytes:
    path = directory / "logged.db"
    database = Database(DatabaseFile(str(path)))
    database.commit([[Put("t", b"key %d" % n, bytes([n]) * 10) for n in range(3)]])
    image = path.read_bytes() + DIVIDER + Path(f"{path}-wal").read_bytes()
    database.close()
    return image


SEEDS: list[bytes] = [b"", b"SQLite format 3\0", *_seeds()]
