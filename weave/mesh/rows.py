"""How the entries of durable channels lie in the store: also those of others, so that what a dead peer wrote outlives
a restart of everybody.

    table mesh_entry       key: channel 0x00 owner(6) key       value: msgpack [version, value, signature]
    table mesh_identity    key: owner(6)                        value: the encoded public identity

The store is our own, so a row that cannot be read is a bug or a newer version's: it is left out, gossip brings it back.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from store.changes import Delete, Put
from weave import wire
from weave.errors import RemoteError
from weave.mesh.entries import Entry
from weave.mesh.messages import decode_entry
from weave.names import PEER_NAME_BYTES, PeerName, peer_name_from_bytes, peer_name_to_bytes

ENTRY_TABLE = "mesh_entry"
IDENTITY_TABLE = "mesh_identity"
TABLES = (ENTRY_TABLE, IDENTITY_TABLE)

Tables: TypeAlias = Mapping[str, Mapping[bytes, bytes]]


def entry_row(channel: str, entry: Entry) -> Put:
    """Return the row that keeps an entry."""
    value = wire.pack([entry.version, entry.value, entry.signature])
    return Put(ENTRY_TABLE, _key(channel, entry.owner, entry.key), value)


def dropped_row(channel: str, owner: PeerName, key: bytes) -> Delete:
    """Return the change that drops an entry."""
    return Delete(ENTRY_TABLE, _key(channel, owner, key))


def identity_row(owner: PeerName, identity: bytes) -> Put:
    """Return the row that keeps an identity."""
    return Put(IDENTITY_TABLE, peer_name_to_bytes(owner), identity)


def read(tables: Tables) -> tuple[list[tuple[PeerName, bytes]], list[tuple[str, Entry]]]:
    """Return the identities and the entries (with their channels) of stored tables."""
    identities = [
        (peer_name_from_bytes(key), value)
        for key, value in sorted(tables.get(IDENTITY_TABLE, {}).items())
        if len(key) == PEER_NAME_BYTES
    ]
    return identities, list(_read_entries(tables.get(ENTRY_TABLE, {})))


def _read_entries(stored: Mapping[bytes, bytes]) -> Iterator[tuple[str, Entry]]:
    for key, value in sorted(stored.items()):
        channel, _, rest = key.partition(b"\0")
        try:
            owner = peer_name_from_bytes(rest[:PEER_NAME_BYTES])
            fields = wire.expect_list(wire.unpack(value), "stored entry")
            yield channel.decode(errors="replace"), decode_entry(owner, [rest[PEER_NAME_BYTES:], *fields])
        except RemoteError:
            continue


def _key(channel: str, owner: PeerName, key: bytes) -> bytes:
    return channel.encode() + b"\0" + peer_name_to_bytes(owner) + key
