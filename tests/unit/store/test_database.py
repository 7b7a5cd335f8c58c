"""Opening: what is made, what is refused, and that a refusal leaves the file as it is."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from store import database as adapter
from store import files
from store.advice import DatabaseFile
from store.changes import Put
from store.database import Database
from store.errors import StoreCorrupt, StoreFailed, StoreForeign, StoreLocked

from .harness import make_database, open_database, puts, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "weave" / "weave.db"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_and_files_are_the_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        database = open_database(path)
        database.commit([[Put("t", b"a", b"1")]])
    finally:
        os.umask(old)
    assert mode(path.parent) == 0o700
    assert {file.name: mode(file) for file in path.parent.iterdir()} == {
        "weave.db": 0o600, "weave.db-wal": 0o600, "weave.db.lock": 0o600,
    }  # fmt: skip
    database.close()


def test_a_directory_that_is_there_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o750)
    make_database(path, {})
    assert mode(path.parent) == 0o750


def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    make_database(path, {})
    path.chmod(0o644)
    open_database(path).close()
    assert mode(path) == 0o600


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    make_database(path, rows(500))
    database = open_database(path)
    assert (database.rows, database.read("t")) == (500, rows(500))
    database.close()


def test_the_settings_are_the_durable_ones(path: Path) -> None:
    database = open_database(path)
    query = database._engine._connection.execute
    wanted = {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive", "application_id": 0x57454156,
              "mmap_size": 0, "user_version": 1, "trusted_schema": 0}  # fmt: skip
    found = {name: next(iter(query(f"PRAGMA {name}")), (0,))[0] for name in wanted}
    assert found == wanted
    assert not Path(f"{path}-shm").exists()
    database.close()


def test_names_are_synced_when_something_is_created(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    make_database(path, {})
    assert synced == [path.parent.parent.parent, path.parent.parent, path.parent]


def test_a_creation_that_was_cut_short_is_begun_again(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for suffix in ("", "-wal", "-journal"):
        Path(f"{path}.new{suffix}").write_bytes(b"half made")
    make_database(path, rows(3))
    assert sorted(file.name for file in path.parent.iterdir()) == ["weave.db", "weave.db.lock"]


def test_a_log_without_its_database_is_no_fresh_start(path: Path) -> None:
    path.parent.mkdir(parents=True)
    Path(f"{path}-wal").write_bytes(b"log")
    with pytest.raises(StoreCorrupt, match="is missing, but its log"):
        open_database(path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\0", b"hello " * 1000, bytes(8192)])
def test_what_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt):
        open_database(path)
    assert path.read_bytes() == content


def test_the_advice_after_damage_works_and_names_the_price(path: Path) -> None:
    make_database(path, rows(3))
    path.write_bytes(b"garbage" * 100)
    with pytest.raises(StoreCorrupt) as refusal:
        Database(DatabaseFile(str(path), "all addresses"))
    assert "Starting empty loses all addresses" in str(refusal.value)
    first = refusal.value.advice.split("moving them aside: ")[1].split(";")[0]
    subprocess.run(first, shell=True, check=True)
    make_database(path, rows(1))


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreForeign, match="another program"):
        open_database(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("sql", [
    "CREATE TABLE more (x)",
    "CREATE TRIGGER t AFTER INSERT ON entry BEGIN DELETE FROM seal; END",
    "CREATE VIEW v AS SELECT 1",
    "DROP TABLE seal",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = -1",
])  # fmt: skip
def test_tables_that_are_not_ours_are_refused(path: Path, sql: str) -> None:
    make_database(path, rows(3))
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()
    with pytest.raises(StoreCorrupt):
        open_database(path)


def test_a_second_owner_in_this_process_is_refused_at_once(path: Path) -> None:
    database = open_database(path)
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        open_database(path)
    database.commit([puts("t", rows(3))])
    database.close()
    open_database(path).close()


OPENER = """
import sys
from store.advice import DatabaseFile
from store.database import Database
from store.errors import StoreLocked
try:
    Database(DatabaseFile(sys.argv[1]))
except StoreLocked as exc:
    print(exc)
"""


def test_a_second_process_is_refused_and_told_who_owns_it(path: Path) -> None:
    database = open_database(path)
    done = subprocess.run([sys.executable, "-c", OPENER, path], capture_output=True, text=True, timeout=20, check=True)
    assert f"in use by process {os.getpid()}" in done.stdout
    database.close()


def test_a_database_shell_that_reads_is_an_owner_too(path: Path) -> None:
    make_database(path, rows(3))
    shell = sqlite3.connect(path, isolation_level=None)
    shell.execute("BEGIN")
    shell.execute("SELECT count(*) FROM entry").fetchone()
    with pytest.raises(StoreLocked, match="another program"):
        open_database(path)
    shell.close()
    open_database(path).close()


def test_while_it_is_owned_no_shell_can_write(path: Path) -> None:
    database = open_database(path)
    shell = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        shell.execute("DELETE FROM entry")
    shell.close()
    database.close()


def test_a_place_that_cannot_be_a_directory_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailed, match="writable"):
        open_database(tmp_path / "file" / "weave.db")


def test_a_directory_in_place_of_the_file_is_a_failure(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreFailed):
        open_database(path)


def test_a_file_that_may_only_be_read_is_refused_when_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect_to_read(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0, isolation_level=None)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        return connection

    make_database(path, rows(3))
    monkeypatch.setattr(adapter, "connect", connect_to_read)
    with pytest.raises(StoreFailed, match="cannot be written"):
        open_database(path)


def test_a_refused_open_lets_go_of_everything(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage" * 1000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(StoreCorrupt):
            open_database(path)
    assert len(os.listdir("/proc/self/fd")) == before
