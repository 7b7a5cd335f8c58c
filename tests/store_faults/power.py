"""One machine, whose power goes again and again while the store's own statements run on it.

The driver commits groups of change sets, remembers what was acknowledged, cuts the power at a random operation, brings
it back, opens the database again (which the next cut may interrupt) and compares. After each cut the rows must be
what was acknowledged, with or without the one group that was on its way, wholly.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import apsw

from store import schema
from store.advice import DatabaseFile
from store.changes import Change, Delete, Put
from store.engine import Engine
from store.errors import StoreError
from store.schema import MIGRATIONS, Connection, Migration

from .disk import Disk

FILE = DatabaseFile("weave.db")
TABLES = ("t", "u")
MOST_COMMITS = 60
"""After so many the power goes in any case, between two operations."""
Rows = dict[tuple[str, bytes], bytes]
Opener = Callable[[Disk], Engine]
Committer = Callable[[Engine, Sequence[Sequence[Change]]], object]


class LostWrites(AssertionError):  # noqa: N818
    """The test's verdict: an acknowledged commit is gone, half a transaction is there, or nothing opens."""


def connect(disk: Disk) -> apsw.Connection:
    connection = apsw.Connection(FILE.path, vfs=disk.name)
    try:
        schema.configure(connection)
    except BaseException:
        close(connection)
        raise
    return connection


def open_engine(disk: Disk, *extra: str, steps: Sequence[Migration] = MIGRATIONS) -> Engine:
    """Open the database on the simulated disk the way the store does; `extra` pragmas spoil it or speed it up."""
    connection = connect(disk)
    try:
        schema.admit(connection, FILE, steps)
        for pragma in extra:
            connection.execute(f"PRAGMA {pragma}")
        engine = Engine(connection, FILE)
        engine.verify()
    except BaseException:
        close(connection)
        raise
    return engine


def create(disk: Disk, make: Callable[[Connection], None] | None = None) -> None:
    """Make an empty database that is wholly on the disk, as the store's rename does."""
    connection = connect(disk)
    if make is None:
        schema.create(connection, FILE)
    else:
        make(connection)
    connection.close()
    disk.sync_all()


def close(resource: Engine | apsw.Connection) -> None:
    with suppress(apsw.Error):  # the power may be gone
        resource.close()


def commit(engine: Engine, groups: Sequence[Sequence[Change]]) -> None:
    assert engine.commit(groups) == [None] * len(groups)


@dataclass(slots=True)
class Machine:
    """A machine under test and what it was promised to remember."""

    rng: random.Random
    open_on: Opener = open_engine
    commit_with: Committer = commit
    disk: Disk = field(default_factory=Disk)
    promised: Rows = field(default_factory=dict)
    under_way: Rows | None = None
    acknowledged: int = 0
    cuts: int = 0
    happened: int = 0
    vanished: int = 0

    def run(self, cuts: int) -> None:
        """Live through this many power cuts."""
        create(self.disk)
        while self.cuts < cuts:
            self._light_fuse()
            self._work_until_cut()
            self.disk.restore(self.rng)
            self.cuts += 1
            if self.rng.random() < 0.7:
                self._check()
        self._check()

    def _light_fuse(self) -> None:
        rng, disk = self.rng, self.disk
        disk.is_late, disk.waits_for_sync = rng.random() < 0.5, rng.random() < 0.3
        disk.fuse = rng.randrange(20) if disk.waits_for_sync else rng.randrange(rng.choice([8, 60, 300]))

    def _work_until_cut(self) -> None:
        engine = None
        try:
            engine = self.open_on(self.disk)
            for _ in range(MOST_COMMITS):
                self._commit_one(engine)
                if self.rng.random() < 0.1:
                    close(engine)
                    engine = self.open_on(self.disk)
            self.disk.is_dead = True
        except (StoreError, apsw.Error) as exc:
            if not self.disk.is_dead:
                raise LostWrites(f"after {self.cuts} cuts: {exc}") from exc
        finally:
            if engine is not None:
                close(engine)

    def _commit_one(self, engine: Engine) -> None:
        if self.under_way is not None:
            self._settle(_rows(engine))
        groups = [self._change_set() for _ in range(self.rng.randrange(1, 4))]
        after = dict(self.promised)
        for change in (change for group in groups for change in group):
            _apply(after, change)
        self.under_way = after
        self.commit_with(engine, groups)
        self.promised, self.under_way, self.acknowledged = after, None, self.acknowledged + 1

    def _change_set(self) -> list[Change]:
        rng, changes = self.rng, list[Change]()
        for _ in range(rng.randrange(1, 6)):
            table, key = rng.choice(TABLES), b"key %d" % rng.randrange(60)
            size = rng.choice([10, 100, 100, 100, 3000, 9000])
            changes.append(Delete(table, key) if rng.random() < 0.2 else Put(table, key, rng.randbytes(size)))
        return changes

    def _check(self) -> None:
        """Open the database undisturbed and compare it with what was promised."""
        try:
            engine = self.open_on(self.disk)
        except (StoreError, apsw.Error) as exc:
            raise LostWrites(f"after {self.cuts} cuts it does not open: {exc}") from exc
        self._settle(_rows(engine))
        close(engine)

    def _settle(self, found: Rows) -> None:
        """Learn whether the group that was on its way at the cut has happened; nothing else may have."""
        if found in (self.promised, self.under_way):
            if self.under_way is not None:
                self.happened += found == self.under_way
                self.vanished += found == self.promised
            self.promised, self.under_way = found, None
            return
        wrong = sorted(place for place in {*found, *self.promised} if found.get(place) != self.promised.get(place))
        raise LostWrites(f"after {self.cuts} cuts and {self.acknowledged} commits: differs at {wrong[:5]}")


def _rows(engine: Engine) -> Rows:
    return {(table, key): value for table in TABLES for key, value in engine.read(table).items()}


def _apply(rows: Rows, change: Change) -> None:
    if isinstance(change, Put):
        rows[change.table, change.key] = change.value
    else:
        rows.pop((change.table, change.key), None)
