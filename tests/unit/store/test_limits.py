from typing import Any

import pytest

from store.changes import Delete, Put
from store.errors import ChangeRefused
from store.limits import (
    MAX_CHANGE_SET_BYTES,
    MAX_CHANGES,
    MAX_KEY_BYTES,
    MAX_TABLE_NAME_BYTES,
    MAX_VALUE_BYTES,
    check_changes,
)

BIG = Put("t", b"k", bytes(MAX_VALUE_BYTES))
BAD: dict[str, list[Any]] = {
    "no table": [Put("", b"k", b"v")],
    "long table": [Put("t" * (MAX_TABLE_NAME_BYTES + 1), b"k", b"v")],
    "table beyond ASCII": [Put("tä", b"k", b"v")],
    "lone surrogate": [Put("\ud800", b"k", b"v")],
    "control character": [Put("t\0", b"k", b"v")],
    "table is bytes": [Put(b"t", b"k", b"v")],  # type: ignore[arg-type]
    "long key": [Put("t", bytes(MAX_KEY_BYTES + 1), b"v")],
    "long key deleted": [Delete("t", bytes(MAX_KEY_BYTES + 1))],
    "key is text": [Put("t", "k", b"v")],  # type: ignore[arg-type]
    "value is a bytearray": [Put("t", b"k", bytearray(b"v"))],  # type: ignore[arg-type]
    "long value": [Put("t", b"k", bytes(MAX_VALUE_BYTES + 1))],
    "not a change": [("t", b"k", b"v")],
    "second is bad": [Put("t", b"k", b"v"), Put("t", b"k", None)],  # type: ignore[arg-type]
    "too many": [Put("t", b"k", b"v")] * (MAX_CHANGES + 1),
    "too much": [BIG] * (MAX_CHANGE_SET_BYTES // MAX_VALUE_BYTES + 1),
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD.keys())
def test_out_of_bounds_is_refused_with_advice(changes: list[Any]) -> None:
    with pytest.raises(ChangeRefused, match="report it"):
        check_changes(changes)


def test_the_largest_of_everything_is_admitted() -> None:
    check_changes([Put("t" * MAX_TABLE_NAME_BYTES, bytes(MAX_KEY_BYTES), bytes(MAX_VALUE_BYTES))])
    check_changes([Put("t", b"", b""), Delete("t", b"")])
