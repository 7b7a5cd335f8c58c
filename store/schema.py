"""What the file looks like: how a connection is set up, how a database is made, recognised, checked and upgraded.

`application_id` says that the file is ours, `user_version` which schema it has. A migration is one transaction: a
crash leaves the old schema or the new one. Nothing here depends on the driver, so that the tests can run the same
statements on a simulated disk.

The settings (measured in simulated power cuts): WAL with synchronous=FULL loses nothing that was acknowledged, NORMAL
does. One exclusive connection keeps the log's index in memory, outside the reach of SQLite's WAL-reset fault (fixed in
3.51.3), which needs two; memory mapping stays off, it turns stray writes into damage.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from store.advice import DatabaseFile

APPLICATION_ID = 0x57454156
"""`WEAV`, at offset 68 of the file: the sign by which `file` and we know the database."""
PAGE_BYTES = 4096
BUSY_TIMEOUT_MS = 0
"""Do not wait for another owner: say at once that there is one."""

Row: TypeAlias = tuple[object, ...]


class Connection(Protocol):
    """The part of a database connection that the store uses; it must be in autocommit mode."""

    def execute(self, sql: str, parameters: Sequence[str | int | bytes] = ..., /) -> Iterable[Row]:
        """Run one statement and return its rows."""

    def close(self) -> None:
        """Let go of the file."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a schema to the next: what it does, and the statements SQLite keeps of the tables after it."""

    apply: Callable[[Connection], None]
    schema: frozenset[str]


ENTRY_TABLE = (
    "CREATE TABLE entry (tab TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL,"
    " PRIMARY KEY (tab, key)) STRICT, WITHOUT ROWID"
)
SEAL_TABLE = (
    "CREATE TABLE seal (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), entries INTEGER NOT NULL,"
    " digest INTEGER NOT NULL) STRICT, WITHOUT ROWID"
)


def _first_schema(connection: Connection) -> None:
    """Make the rows, and the seal that counts and sums them up."""
    connection.execute(ENTRY_TABLE)
    connection.execute(SEAL_TABLE)
    connection.execute("INSERT INTO seal (one, entries, digest) VALUES (1, 0, 0)")


MIGRATIONS: tuple[Migration, ...] = (Migration(_first_schema, frozenset({ENTRY_TABLE, SEAL_TABLE})),)
"""Step n leads from schema n to n + 1; steps are only ever appended."""


def configure(connection: Connection) -> None:
    """Set what holds for a connection; locking comes first, for it must be settled before the file is read."""
    for setting in (
        "locking_mode = EXCLUSIVE",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "mmap_size = 0",
        "synchronous = FULL",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "foreign_keys = ON",
        "temp_store = MEMORY",
    ):
        list(connection.execute(f"PRAGMA {setting}"))


def use_log(connection: Connection, file: DatabaseFile) -> None:
    """Write through a write-ahead log from now on."""
    mode = _first(connection, "PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise file.failed(f"its file system cannot do write-ahead logging (it offers {mode})")


def create(connection: Connection, file: DatabaseFile, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Make an empty database of the newest schema in an empty file."""
    list(connection.execute(f"PRAGMA page_size = {PAGE_BYTES}"))
    use_log(connection, file)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    _migrate(connection, 0, steps)
    connection.execute("COMMIT")


def admit(connection: Connection, file: DatabaseFile, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Check that the file is ours, of a version we know and undamaged, and bring it to the newest schema."""
    application_id = _integer(connection, "PRAGMA application_id")
    if application_id != APPLICATION_ID:
        raise file.foreign(application_id)
    version = _integer(connection, "PRAGMA user_version")
    if version > len(steps):
        raise file.too_new(version, len(steps))
    if version < 1:
        raise file.corrupt(f"it has the impossible schema version {version}")
    _check_tables(connection, file, steps[version - 1])
    _check_pages(connection, file)
    use_log(connection, file)
    if version < len(steps):
        _upgrade(connection, file, version, steps)
    _check_writable(connection)


def _check_writable(connection: Connection) -> None:
    """Begin to write: SQLite opens what it may only read, and would tell at the first commit."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")


def _upgrade(connection: Connection, file: DatabaseFile, version: int, steps: Sequence[Migration]) -> None:
    """Bring the file to the newest schema, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    _migrate(connection, version, steps)
    _check_tables(connection, file, steps[-1])
    connection.execute("COMMIT")


def _migrate(connection: Connection, version: int, steps: Sequence[Migration]) -> None:
    for step in steps[version:]:
        step.apply(connection)
    connection.execute(f"PRAGMA user_version = {len(steps)}")


def _check_tables(connection: Connection, file: DatabaseFile, step: Migration) -> None:
    """Raise `StoreCorrupt` unless the file holds the tables of this step and nothing else, to the letter."""
    found = [row[0] for row in connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_schema")]
    if sorted(map(repr, found)) != sorted(repr(sql.encode()) for sql in step.schema):
        raise file.corrupt("its tables are not the ones this program makes")


def _check_pages(connection: Connection, file: DatabaseFile) -> None:
    verdict = _first(connection, "PRAGMA quick_check(1)")
    if verdict != "ok":
        raise file.corrupt(" ".join(str(verdict).split()))


def _first(connection: Connection, sql: str) -> object:
    """Return the first column of the first row, reading the statement to its end so that it is finished."""
    rows = list(connection.execute(sql))
    return rows[0][0] if rows else None


def _integer(connection: Connection, sql: str) -> int:
    value = _first(connection, sql)
    assert isinstance(value, int), f"{sql} is an integer in every version of SQLite"
    return value
