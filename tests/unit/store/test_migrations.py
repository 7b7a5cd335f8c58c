"""Older files are brought to the newest schema in one step; newer ones are left as they are."""

import sqlite3
from pathlib import Path

import pytest

from store.advice import DatabaseFile
from store.changes import Put
from store.database import Database
from store.engine import checksum
from store.errors import StoreCorrupt, StoreFailed, StoreTooNew
from store.schema import APPLICATION_ID, ENTRY_TABLE, MIGRATIONS, SEAL_TABLE, Connection, Migration

from .harness import make_database, open_database, rows

FIXTURES = Path(__file__).parent / "fixtures"
NOTE_TABLE = "CREATE TABLE note (text TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID"


def add_notes(connection: Connection) -> None:
    connection.execute(NOTE_TABLE)
    connection.execute("INSERT INTO note SELECT 'had ' || entries FROM seal")


NEXT = (*MIGRATIONS, Migration(add_notes, MIGRATIONS[-1].schema | {NOTE_TABLE}))

# The schema as it might have been before rows were sealed: the step from it to ours has work to do.
PLAIN_TABLE = "CREATE TABLE plain (tab TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL)"


def make_plain(connection: Connection) -> None:
    connection.execute(PLAIN_TABLE)


def seal_plain(connection: Connection) -> None:
    MIGRATIONS[0].apply(connection)
    total = 0
    for tab, key, value in list(connection.execute("SELECT tab, key, value FROM plain")):
        assert isinstance(tab, str)
        assert isinstance(key, bytes)
        assert isinstance(value, bytes)
        total += checksum(tab, key, value)
        connection.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (tab, key, value, checksum(tab, key, value)))
    connection.execute("UPDATE seal SET entries = (SELECT count(*) FROM entry), digest = ?", (total,))
    connection.execute("DROP TABLE plain")


FROM_PLAIN = (Migration(make_plain, frozenset({PLAIN_TABLE})), Migration(seal_plain, MIGRATIONS[0].schema))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weave.db"


def plant_plain(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute(PLAIN_TABLE)
    connection.executemany("INSERT INTO plain VALUES ('t', ?, ?)", rows(300).items())
    connection.close()


@pytest.mark.parametrize("dump", sorted(FIXTURES.glob("v*.sql")), ids=lambda dump: dump.stem)
def test_files_of_every_released_schema_open(dump: Path, path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(dump.read_text())
    connection.close()
    database = open_database(path)
    assert database.read("peer") == {b"name": b"\x7a\x9f\xeb\xb6\x0c\x6e", b"empty": b""}
    assert database.read("ring") == {bytes([n]): bytes([n]) * n for n in range(10)}
    database.close()


def test_a_planted_older_schema_is_upgraded_with_its_rows(path: Path) -> None:
    plant_plain(path)
    database = Database(DatabaseFile(str(path)), FROM_PLAIN)
    assert database.read("t") == rows(300)
    database.commit([[Put("t", b"new", b"row")]])
    database.close()
    again = Database(DatabaseFile(str(path)), FROM_PLAIN)
    assert again.rows == 301
    again.close()


def test_todays_file_opens_under_tomorrows_schema(path: Path) -> None:
    make_database(path, rows(5))
    database = Database(DatabaseFile(str(path)), NEXT)
    assert list(database._engine._connection.execute("SELECT text FROM note")) == [("had 5",)]
    database.close()


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    make_database(path, rows(5))
    Database(DatabaseFile(str(path)), NEXT).close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match="format 2, and this version knows up to 1"):
        open_database(path)
    assert path.read_bytes() == before


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    def half_way(connection: Connection) -> None:
        connection.execute(NOTE_TABLE)
        connection.execute("DELETE FROM entry")
        raise OSError(28, "No space left on device")

    make_database(path, rows(5))
    with pytest.raises(StoreFailed, match="No space left"):
        Database(DatabaseFile(str(path)), (*MIGRATIONS, Migration(half_way, frozenset())))
    database = open_database(path)
    assert database.read("t") == rows(5)
    database.close()


def test_a_step_that_makes_other_tables_than_it_says_is_not_committed(path: Path) -> None:
    make_database(path, rows(5))
    wrong = (*MIGRATIONS, Migration(add_notes, frozenset({ENTRY_TABLE, SEAL_TABLE})))
    with pytest.raises(StoreCorrupt, match="tables"):
        Database(DatabaseFile(str(path)), wrong)
    open_database(path).close()


def test_a_claimed_version_must_have_its_tables(path: Path) -> None:
    plant_plain(path)
    with pytest.raises(StoreCorrupt, match="tables"):
        open_database(path)
