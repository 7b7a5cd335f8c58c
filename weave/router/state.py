"""What a router remembers of itself between two lives: its key, how often it started, whom it joined.

The rows of the address ring belong to `weave.ipam`, those of containers to `weave.router.attach`.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from store import Store
from store.changes import Delete, Put
from weave.errors import LocalError
from weave.mesh.core import TABLES
from weave.mesh.identity import Identity

SELF_TABLE = "router.self"
TARGETS_TABLE = "router.targets"
SEED_KEY = b"identity"
INCARNATION_KEY = b"incarnation"
SEED_BYTES = 32
INCARNATION_BYTES = 4


@dataclass(frozen=True, slots=True)
class SelfState:
    """Who this router is in this life."""

    identity: Identity
    incarnation: int
    """Rises with every start, so that what we publish now beats what we published before."""
    targets: tuple[str, ...]
    mesh_rows: Mapping[str, Mapping[bytes, bytes]]
    """What the mesh core kept of the durable channels."""


async def load_self(store: Store) -> SelfState:
    """Return our identity, made at the first start, in a new incarnation; both are durable before anyone sees them."""
    rows = await store.read(SELF_TABLE)
    seed = rows.get(SEED_KEY) or secrets.token_bytes(SEED_BYTES)
    if len(seed) != SEED_BYTES:
        raise LocalError("the identity in the state file is damaged; restore the file from a backup, or move it away "
                         "to start as a new peer (`weave rmpeer` then returns the old one's addresses)")
    incarnation = int.from_bytes(rows.get(INCARNATION_KEY, b"")) + 1
    await store.commit([
        Put(SELF_TABLE, SEED_KEY, seed),
        Put(SELF_TABLE, INCARNATION_KEY, incarnation.to_bytes(INCARNATION_BYTES)),
    ])
    targets = tuple(sorted(key.decode() for key in await store.read(TARGETS_TABLE)))
    mesh_rows = {table: await store.read(table) for table in TABLES}
    return SelfState(Identity.from_seed(seed), incarnation, targets, mesh_rows)


async def remember_targets(store: Store, added: tuple[str, ...], dropped: tuple[str, ...]) -> None:
    """Keep the targets that a person added, so that they are joined again at the next start."""
    await store.commit([
        *(Delete(TARGETS_TABLE, target.encode()) for target in dropped),
        *(Put(TARGETS_TABLE, target.encode(), b"") for target in added),
    ])
