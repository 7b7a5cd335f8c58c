"""What a router remembers of itself between two lives: its key, how often it started, whom it joined.

The rows of the address ring belong to `weave.ipam`, those of containers to `weave.router.attach`.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store import Store
from store.changes import Delete, Put
from weave.errors import LocalError
from weave.mesh.core import TABLES
from weave.mesh.dial_address import dial_key
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


async def remember_targets(store: Store, added: Iterable[str], dropped: Iterable[str], *, port: int,
                           replace: bool = False) -> None:
    """Keep the targets that a person added, so that they are joined again at the next start; one call at a time.

    A target has many spellings (with `port`, in brackets): all of one that goes go, and of one that comes the latest
    stays. With `replace` all go but those added.
    """
    texts = {dial_key(text, port): text.strip() for text in added}
    going = {*texts, *(dial_key(text, port) for text in dropped)}
    stored = [key.decode() for key in sorted(await store.read(TARGETS_TABLE))]
    await store.commit([
        *(Delete(TARGETS_TABLE, text.encode()) for text in stored if replace or dial_key(text, port) in going),
        *(Put(TARGETS_TABLE, text.encode(), b"") for text in texts.values()),
    ])
