"""The files of a database: who owns them, with which modes, and how one comes into being.

A database appears under its name only when it is complete: it is made under another name, written to the disk, then
renamed. So a file that is there and empty is damage, never a start. The owner holds a lock on a file beside it,
taken before anything else is touched (closing any other descriptor of the database would drop SQLite's own locks)
and let go by the kernel however the process ends.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from store.advice import DatabaseFile
from store.errors import StoreLocked
from store.schema import APPLICATION_ID

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
HEADER_BYTES = 100
MAGIC = b"SQLite format 3\0"
_FORMAT_FIELD = slice(18, 20)
_FORMATS = frozenset({b"\1\1", b"\2\2"})
"""Without and with a write-ahead log; any other value makes SQLite open the file, but refuse to write."""
_APPLICATION_ID_FIELD = slice(68, 72)
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


def make_directory(directory: Path) -> None:
    """Make the directory, for its owner alone, and whatever is missing above it; one that is there stays as it is."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        if place == directory:
            place.chmod(DIRECTORY_MODE)
        sync_directory(place.parent)


def take_ownership(file: DatabaseFile) -> int:
    """Return a descriptor that holds the ownership until it is closed; raise `StoreLocked` when it is taken."""
    lock = os.open(file.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        _lock_or_refuse(lock, file)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def ensure_database(file: DatabaseFile, fill: Callable[[str], None]) -> None:
    """See to it that a complete database is there; `fill` makes one in the empty file whose path it gets."""
    if os.path.lexists(file.path):
        return
    if os.path.lexists(file.wal):
        raise file.orphaned_log()
    unborn = file.path + ".new"
    for suffix in _SIDE_FILES:
        Path(unborn + suffix).unlink(missing_ok=True)
    os.close(os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    fill(unborn)
    if os.path.lexists(unborn + "-wal"):
        raise file.failed("a new database could not be written to the end")
    _sync(unborn, os.O_RDWR)
    Path(unborn).rename(file.path)
    sync_directory(Path(file.path).parent)


def check_header(file: DatabaseFile) -> None:
    """Recognise the file by its first bytes, before SQLite may touch it: ours, somebody else's, or damaged."""
    with Path(file.path).open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise file.corrupt(f"it has only {len(header)} bytes" if header else "it is empty")
    if not header.startswith(MAGIC):
        raise file.corrupt("it does not start like a database")
    if header[_FORMAT_FIELD] not in _FORMATS:
        raise file.corrupt("its header names an unknown format")
    application_id = int.from_bytes(header[_APPLICATION_ID_FIELD], "big")
    if application_id != APPLICATION_ID:
        raise file.foreign(application_id)


def restrict_modes(file: DatabaseFile) -> None:
    """Keep everybody but the owner from reading the database and its log: it holds secrets."""
    Path(file.path).chmod(FILE_MODE)
    with suppress(FileNotFoundError):
        Path(file.wal).chmod(FILE_MODE)


def sync_directory(directory: Path) -> None:
    """Write the names in the directory to the disk."""
    _sync(str(directory), os.O_RDONLY | os.O_DIRECTORY)


def _lock_or_refuse(lock: int, file: DatabaseFile) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise _locked(lock, file) from exc


def _locked(lock: int, file: DatabaseFile) -> StoreLocked:
    holder = os.pread(lock, 20, 0).strip()
    return file.locked(f"process {int(holder)}" if holder.isdigit() else "another process")


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
