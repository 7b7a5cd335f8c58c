import sqlite3
from collections.abc import Iterator

import pytest

from store import schema
from store.advice import DatabaseFile
from store.changes import Delete, Put
from store.engine import Engine, checksum
from store.errors import ChangeRefused, StoreCorrupt, StoreFailed
from store.limits import MAX_KEY_BYTES, MAX_VALUE_BYTES
from store.schema import Connection

FILE = DatabaseFile("test.db")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for step in schema.MIGRATIONS:
        step.apply(connection)
    yield connection
    connection.close()


@pytest.fixture
def engine(connection: Connection) -> Engine:
    return Engine(connection, FILE)


def test_a_table_nobody_wrote_to_is_empty(engine: Engine) -> None:
    assert engine.read("t") == {}


def test_put_replaces_and_delete_removes(engine: Engine) -> None:
    engine.commit([[Put("t", b"a", b"1"), Put("t", b"b", b"2"), Put("t", b"a", b"3"), Delete("t", b"b")]])
    assert engine.read("t") == {b"a": b"3"}
    assert engine.verify() == 1


def test_tables_do_not_mix(engine: Engine) -> None:
    engine.commit([[Put("t", b"a", b"1"), Put("u", b"a", b"2"), Delete("v", b"a")]])
    assert (engine.read("t"), engine.read("u"), engine.read("v")) == ({b"a": b"1"}, {b"a": b"2"}, {})


def test_rows_come_in_the_order_of_their_keys(engine: Engine) -> None:
    keys = [b"", b"\0", b"a", b"ab", b"b", b"\xff"]
    engine.commit([[Put("t", key, b"") for key in reversed(keys)]])
    assert list(engine.read("t")) == keys


def test_the_largest_row_is_kept(engine: Engine) -> None:
    key, value = b"k" * MAX_KEY_BYTES, b"v" * MAX_VALUE_BYTES
    engine.commit([[Put("t", key, value)]])
    assert engine.read("t") == {key: value}


def test_a_refused_change_set_harms_no_neighbour(engine: Engine) -> None:
    bad = [Put("t", b"bad", b""), Put("t", bytes(MAX_KEY_BYTES + 1), b"")]
    outcomes = engine.commit([[Put("t", b"a", b"1")], bad, [], [Put("t", b"b", b"2")]])
    assert [type(outcome) for outcome in outcomes] == [type(None), ChangeRefused, type(None), type(None)]
    assert engine.read("t") == {b"a": b"1", b"b": b"2"}


def test_after_a_failed_commit_nothing_is_acknowledged(connection: sqlite3.Connection, engine: Engine) -> None:
    engine.commit([[Put("t", b"a", b"1")]])
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreFailed, match="full"):
        engine.commit([[Put("t", b"b", b"2")], [Put("t", b"c", bytes(1 << 20))]])
    connection.execute("PRAGMA max_page_count = 100000")
    with pytest.raises(StoreFailed, match="full"):
        engine.commit([[Put("t", b"d", b"4")]])
    assert engine.read("t") == {b"a": b"1"}


TAMPERING = {
    "value changed": "UPDATE entry SET value = x'32' WHERE key = x'61'",
    "key changed": "UPDATE entry SET key = x'7a' WHERE key = x'61'",
    "moved to another table": "UPDATE entry SET tab = 'u' WHERE key = x'61'",
    "row lost": "DELETE FROM entry WHERE key = x'61'",
    "all rows lost": "DELETE FROM entry",
    "seal lost": "DELETE FROM seal",
    "count wrong": "UPDATE seal SET entries = entries + 1",
    "sum wrong": "UPDATE seal SET digest = digest + 1",
}


@pytest.mark.parametrize("sql", TAMPERING.values(), ids=TAMPERING.keys())
def test_what_sqlite_does_not_notice_the_seal_does(connection: sqlite3.Connection, engine: Engine, sql: str) -> None:
    engine.commit([[Put("t", b"a", b"1"), Put("t", b"b", b"2")]])
    connection.execute(sql)
    with pytest.raises(StoreCorrupt, match=r"test\.db"):
        engine.verify()


def test_a_row_that_went_back_in_time_is_noticed(connection: sqlite3.Connection, engine: Engine) -> None:
    engine.commit([[Put("t", b"a", b"new")]])
    connection.execute("UPDATE entry SET value = ?, checksum = ?", (b"old", checksum("t", b"a", b"old")))
    with pytest.raises(StoreCorrupt, match="older"):
        engine.verify()


def test_a_damaged_row_is_never_returned(connection: sqlite3.Connection, engine: Engine) -> None:
    engine.commit([[Put("t", b"a", b"1"), Put("u", b"b", b"2")]])
    connection.execute("UPDATE entry SET value = x'ff' WHERE tab = 't'")
    with pytest.raises(StoreCorrupt, match="checksum"):
        engine.read("t")
    assert engine.read("u") == {b"b": b"2"}


def test_the_seal_agrees_after_many_changes(engine: Engine) -> None:
    for round_ in range(20):
        engine.commit([[Put("t", bytes([n]), bytes([round_])) for n in range(round_)], [Delete("t", b"\3")]])
    assert engine.verify() == 18
