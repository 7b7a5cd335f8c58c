"""What can happen to a row: the values in which a core says what must be remembered.

Tables are named groups of rows; they need not be declared. Within one change set, changes apply in order.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Put:
    """Set the row `key` of `table` to `value`, whether or not it is there."""

    table: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the row `key` of `table`; where there is none, nothing happens."""

    table: str
    key: bytes


Change: TypeAlias = Put | Delete
