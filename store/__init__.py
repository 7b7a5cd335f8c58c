"""The embedded database: rows of bytes in named tables, transactional and crash-safe.

It knows nothing of networks and nothing of who uses it. A program owns one database file; whatever `Store.commit`
has returned for survives a crash of the program and of the machine, and nothing is ever half there.

Names are loaded when they are first used: a core may import `store.changes` without paying for trio and sqlite3.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store.changes import Change, Delete, Put
    from store.errors import (
        ChangeRefused,
        StoreCorrupt,
        StoreError,
        StoreFailed,
        StoreForeign,
        StoreLocked,
        StoreTooNew,
    )
    from store.memory import MemoryDisk, MemoryStore
    from store.protocol import Store
    from store.sqlite import open_store

__all__ = [
    "Change",
    "ChangeRefused",
    "Delete",
    "MemoryDisk",
    "MemoryStore",
    "Put",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreFailed",
    "StoreForeign",
    "StoreLocked",
    "StoreTooNew",
    "open_store",
]

_HOMES = {
    "Change": "changes",
    "Delete": "changes",
    "Put": "changes",
    "MemoryDisk": "memory",
    "MemoryStore": "memory",
    "Store": "protocol",
    "open_store": "sqlite",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
