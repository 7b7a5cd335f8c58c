"""A cut at every single operation of a commit and of an upgrade, and a disk that fails and seems to recover."""

import random
from collections.abc import Sequence

import apsw
import pytest

from store import schema
from store.changes import Put
from store.engine import Engine
from store.errors import StoreError, StoreFailed
from store.schema import MIGRATIONS, Connection, Migration

from .disk import Disk
from .power import close, create, open_engine

ROWS = {b"%d" % n: bytes([n]) * 500 for n in range(40)}
NOTE_TABLE = "CREATE TABLE note (text TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID"


def add_notes(connection: Connection) -> None:
    connection.execute(NOTE_TABLE)
    for n in range(200):
        connection.execute("INSERT INTO note VALUES (?)", (f"note {n} " * 20,))


NEXT = (*MIGRATIONS, Migration(add_notes, MIGRATIONS[-1].schema | {NOTE_TABLE}))


def disk_with_rows() -> Disk:
    disk = Disk()
    create(disk)
    engine = open_engine(disk)
    engine.commit([[Put("t", key, value) for key, value in ROWS.items()]])
    engine.close()
    disk.sync_all()
    return disk


def cut_off(disk: Disk, fuse: int, steps: Sequence[Migration]) -> bool:
    """Open and commit, with the power going after `fuse` operations; tell whether all of it came first."""
    disk.fuse = fuse
    engine: Engine | None = None
    try:
        engine = open_engine(disk, steps=steps)
        engine.commit([[Put("t", b"one", b"1"), Put("u", b"two", b"2")]])
    except (StoreError, apsw.Error):
        return False
    finally:
        if engine is not None:
            close(engine)
    return not disk.is_dead


@pytest.mark.parametrize("steps", [MIGRATIONS, NEXT], ids=["commit", "upgrade and commit"])
def test_a_cut_at_every_operation_leaves_all_or_nothing(steps: tuple[Migration, ...]) -> None:
    finished, fuse = False, 0
    while not finished:
        for seed in range(4):
            disk = disk_with_rows()
            finished = cut_off(disk, fuse, steps)
            disk.restore(random.Random(seed))
            engine = open_engine(disk, steps=NEXT)
            found = engine.read("t") | engine.read("u")
            assert found in (ROWS, ROWS | {b"one": b"1", b"two": b"2"}), f"fuse {fuse}, seed {seed}"
            engine.close()
        fuse += 1
    assert fuse > 5


def test_after_a_failed_sync_nothing_is_acknowledged_though_the_disk_recovers() -> None:
    disk = disk_with_rows()
    engine = open_engine(disk)
    disk.failing_syncs = 1
    with pytest.raises(StoreFailed):
        engine.commit([[Put("t", b"one", b"1")]])
    assert disk.failing_syncs == 0
    with pytest.raises(StoreFailed):
        engine.commit([[Put("t", b"two", b"2")]])
    assert engine.read("t") == ROWS
    disk.is_dead = True
    close(engine)
    disk.restore(random.Random(0))
    again = open_engine(disk)
    assert again.read("t") == ROWS
    again.close()


def test_the_disk_keeps_what_was_synced_and_may_lose_the_rest() -> None:
    outcomes = set()
    for seed in range(50):
        disk = Disk()
        file = disk.xOpen("f", [apsw.SQLITE_OPEN_CREATE, 0])
        file.xWrite(b"a" * 2048, 0)
        file.xSync(0)
        file.xWrite(b"b" * 2048, 0)
        disk.restore(random.Random(seed))
        outcomes.add(bytes(disk.files["f"].seen))
    assert {b"a" * 2048, b"b" * 2048} < outcomes
    assert all(len(content) == 2048 and set(content) <= {97, 98} for content in outcomes)


def test_the_database_on_the_disk_has_the_stores_settings() -> None:
    disk = disk_with_rows()
    engine = open_engine(disk)
    query = engine._connection.execute
    assert [list(query(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")] == [[("wal",)], [(2,)]]
    assert list(query("PRAGMA application_id")) == [(schema.APPLICATION_ID,)]
    engine.close()
