"""Every bound of the store, and the check of a change set against them.

The bounds keep one mistaken caller from filling the disk or the memory; they are far above what a router writes.
"""

from collections.abc import Sequence

from store.changes import Change, Delete, Put
from store.errors import ChangeRefused

MAX_TABLE_NAME_BYTES = 64
"""The longest name of a table; names are printable ASCII, so that a dump can be read."""
MAX_KEY_BYTES = 1024
"""The longest key; longer ones would leave the tree's inner pages and cost a chain of pages each."""
MAX_VALUE_BYTES = 1 << 20
"""The longest value: as long as the longest message between two peers."""
MAX_CHANGES = 1 << 16
"""The most changes in one change set: a first start with every address of a busy host is a tenth of it."""
MAX_CHANGE_SET_BYTES = 1 << 25
"""The most bytes of keys and values in one change set."""
MAX_WAITING = 256
"""The most requests that wait for the thread; who comes later waits before it is queued."""


def check_changes(changes: Sequence[Change]) -> None:
    """Raise `ChangeRefused` unless every change is well formed and the set is within bounds."""
    if len(changes) > MAX_CHANGES:
        raise _refused(f"{len(changes)} changes in one set are over the limit of {MAX_CHANGES}")
    total = sum(_checked_size(change) for change in changes)
    if total > MAX_CHANGE_SET_BYTES:
        raise _refused(f"{total} bytes in one change set are over the limit of {MAX_CHANGE_SET_BYTES}")


def check_table(table: str) -> None:
    """Raise `ChangeRefused` unless `table` can name a table."""
    if not isinstance(table, str) or not table.isascii() or not table.isprintable():
        raise _refused("a table's name should be printable ASCII")
    if not 0 < len(table) <= MAX_TABLE_NAME_BYTES:
        raise _refused(f"a table's name should have 1 to {MAX_TABLE_NAME_BYTES} bytes, not {len(table)}")


def _checked_size(change: Change) -> int:
    if not isinstance(change, Put | Delete):
        raise _refused(f"a change should be a Put or a Delete, not {type(change).__name__}")
    check_table(change.table)
    size = _checked_bytes("key", change.key, MAX_KEY_BYTES)
    return size + (_checked_bytes("value", change.value, MAX_VALUE_BYTES) if isinstance(change, Put) else 0)


def _checked_bytes(what: str, value: bytes, most: int) -> int:
    if not isinstance(value, bytes):
        raise _refused(f"a {what} should be bytes, not {type(value).__name__}")
    if len(value) > most:
        raise _refused(f"a {what} of {len(value)} bytes is over the limit of {most}")
    return len(value)


def _refused(problem: str) -> ChangeRefused:
    return ChangeRefused(f"The change set was not stored: {problem}", "This is a mistake in the program: report it")
