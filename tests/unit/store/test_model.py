"""The store against a dictionary: whatever is committed, refused and reopened, both say the same."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store.changes import Change, Delete, Put
from store.database import Database
from store.errors import ChangeRefused
from store.limits import MAX_KEY_BYTES
from store.memory import MemoryDisk

from .harness import open_database

TABLES = st.sampled_from(["t", "u", "a table"])
KEYS = st.one_of(st.binary(max_size=2), st.sampled_from([b"k" * MAX_KEY_BYTES, b"\0", b"\xff" * 8]))
VALUES = st.one_of(st.binary(max_size=20), st.integers(0, 9000).map(lambda size: b"v" * size))
CHANGES: st.SearchStrategy[Change] = st.one_of(st.builds(Put, TABLES, KEYS, VALUES), st.builds(Delete, TABLES, KEYS))
CHANGE_SETS = st.lists(CHANGES, max_size=6)
BAD: list[Change] = [Put("t", b"never", b"seen"), Delete("t", bytes(MAX_KEY_BYTES + 1))]
Tables = dict[str, dict[bytes, bytes]]


def applied(tables: Tables, changes: list[Change]) -> Tables:
    after = {table: dict(rows) for table, rows in tables.items()}
    for change in changes:
        rows = after.setdefault(change.table, {})
        if isinstance(change, Put):
            rows[change.key] = change.value
        else:
            rows.pop(change.key, None)
    return after


class StoreAgainstDictionary(RuleBasedStateMachine):
    """The real database and its twin in memory, beside the plain model of both."""

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="store-model-", dir="/dev/shm"))
        self.database: Database = open_database(self.directory / "weave.db")
        self.disk = MemoryDisk()
        self.model: Tables = {}

    @rule(groups=st.lists(CHANGE_SETS, min_size=1, max_size=4))
    def commit(self, groups: list[list[Change]]) -> None:
        assert self.database.commit(groups) == [None] * len(groups)
        for changes in groups:
            self.disk.write(changes)
            self.model = applied(self.model, changes)
        self.disk.sync()

    @rule(before=CHANGE_SETS, after=CHANGE_SETS)
    def commit_around_a_refusal(self, before: list[Change], after: list[Change]) -> None:
        outcomes = self.database.commit([before, BAD, after])
        assert [isinstance(outcome, ChangeRefused) for outcome in outcomes] == [False, True, False]
        for changes in (before, after):
            self.disk.write(changes)
            self.model = applied(self.model, changes)
        self.disk.sync()

    @rule(changes=CHANGE_SETS)
    def lose(self, changes: list[Change]) -> None:
        self.disk.write(changes)
        self.disk.crash()

    @precondition(lambda self: self.model)
    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.database = open_database(self.directory / "weave.db")
        assert self.database.rows == sum(map(len, self.model.values()))

    @invariant()
    def all_agree(self) -> None:
        for table in self.model:
            wanted = dict(sorted(self.model[table].items()))
            assert list(self.database.read(table).items()) == list(wanted.items())
            assert list(self.disk.read(table).items()) == list(wanted.items())

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.directory)


TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase
TestStoreAgainstDictionary.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
