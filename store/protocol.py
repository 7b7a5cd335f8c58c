"""The face that every store shows, whatever it is made of."""

from collections.abc import Sequence
from typing import Protocol

from store.changes import Change


class Store(Protocol):
    """Rows of bytes in named tables, kept by one owner."""

    async def read(self, table: str) -> dict[bytes, bytes]:
        """Return every committed row of the table; a table nobody wrote to is empty."""

    async def commit(self, changes: Sequence[Change]) -> None:
        """Store the changes, all or nothing, durably when it returns.

        Concurrent commits share one write to the disk. A cancelled commit may have happened, never by half.
        Raises `ChangeRefused` where the set itself is out of bounds, and `StoreFailed` when the disk fails; after
        that every commit fails.
        """
