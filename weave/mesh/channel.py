"""One replica of a gossip channel: everybody's entries, joined, with the hashes that compare two replicas.

`put` is the join: commutative, associative, idempotent, and it tells only what was new. It trusts its caller to have
verified the entry. Hashes are kept up as entries come and go, over the *covered* owners: those reachable now, or all
in a durable channel, so that two peers with the same view of who is there have equal roots exactly when they hold
equal entries. The module knows neither connections nor time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from weave.mesh import limits
from weave.mesh.entries import FLOOR_KEY, ChannelChange, Entry, supersedes
from weave.names import PeerName

EMPTY_ROOT = 0


@dataclass(slots=True)
class Owned:
    """The entries of one owner, its floor among them."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    floor: int = 0
    top: int = 0
    """The highest version ever held of this owner."""
    hash: int = 0
    tombstones: int = 0
    size: int = 0
    """About the octets of all entries."""

    @property
    def live(self) -> int:
        """Return how many entries are none of the withdrawn."""
        return len(self.entries) - self.tombstones

    def has_room_for(self, key: bytes, size: int) -> bool:
        """Say whether an entry of this size may be added, or take the place of the one that has its key."""
        old = self.entries.get(key)
        if old is None and len(self.entries) >= limits.MAX_ENTRIES_PER_OWNER:
            return False
        growth = size - (old.size if old is not None else 0)
        return growth <= 0 or self.size + growth <= limits.MAX_BYTES_PER_OWNER


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replica holds of one owner, in 22 octets."""

    owner: PeerName
    top: int
    hash: int


@dataclass(frozen=True, slots=True)
class Merged:
    """What `put` made of an entry."""

    is_new: bool
    changes: tuple[ChannelChange, ...] = ()
    dropped: tuple[bytes, ...] = ()
    """Keys that a raised floor removed."""
    refused: str = ""
    """Why it was refused, or what it conflicted with."""


STALE = Merged(False)
_FULL = Merged(False, refused="too many entries")
_BAD_FLOOR = Merged(False, refused="malformed floor")
_CONFLICT = "two contents of one version"


def bucket_of(owner: PeerName) -> int:
    """Return the bucket of a digest that an owner falls into; names are hashes, so their last octet spreads well."""
    return int(owner[-2:], 16) % limits.DIGEST_BUCKETS


class Channel:
    """A replica; see the module."""

    def __init__(self, name: str, *, durable: bool = False) -> None:
        self.name = name
        self.durable = durable
        self.root = EMPTY_ROOT
        self.buckets = [0] * limits.DIGEST_BUCKETS
        self.owners: dict[PeerName, Owned] = {}
        self.entry_count = 0
        self._covered: frozenset[PeerName] = frozenset()

    def covers(self, owner: PeerName) -> bool:
        """Say whether the owner's entries are gossiped and hashed."""
        return self.durable or owner in self._covered

    def cover(self, owners: frozenset[PeerName]) -> None:
        """Set who is reachable."""
        changed = self._covered ^ owners
        self._covered = owners
        if self.durable:
            return
        for owner in changed:
            held = self.owners.get(owner)
            if held is not None:
                self._toggle(owner, held.hash)

    def held(self, owner: PeerName) -> Owned | None:
        """Return what is held of an owner."""
        return self.owners.get(owner)

    def is_news(self, entry: Entry) -> bool:
        """Say whether `put` would change anything, before the signature is worth its check."""
        held = self.owners.get(entry.owner)
        if held is None:
            return True
        if entry.version <= held.floor:
            return False
        old = held.entries.get(entry.key)
        return old is None or supersedes(entry, old)

    def put(self, entry: Entry) -> Merged:
        """Join one verified entry."""
        held = self.owners.get(entry.owner)
        if held is None:
            held = self.owners[entry.owner] = Owned()
        if entry.version <= held.floor:
            return STALE
        if entry.key == FLOOR_KEY:
            return self._raise_floor(held, entry)
        old = held.entries.get(entry.key)
        if old is not None and not supersedes(entry, old):
            return STALE
        if not held.has_room_for(entry.key, entry.size):
            return _FULL
        self._replace(held, old, entry)
        refused = _CONFLICT if old is not None and old.version == entry.version else ""
        if (old.value if old is not None else None) == entry.value:
            return Merged(True, refused=refused)
        return Merged(True, (ChannelChange(entry.owner, entry.key, entry.value),), refused=refused)

    def forget(self, owner: PeerName) -> tuple[ChannelChange, ...]:
        """Drop everything of an owner and return the withdrawals."""
        held = self.owners.pop(owner, None)
        if held is None:
            return ()
        self._account(owner, held.hash)
        self.entry_count -= len(held.entries)
        return tuple(ChannelChange(owner, key, None) for key in sorted(live_keys(held)))

    def covered_owners(self) -> Iterator[PeerName]:
        """Yield the owners that are hashed, in the order in which we came to know them."""
        if self.durable:
            return iter(self.owners)
        return (owner for owner in self.owners if owner in self._covered)

    def summaries(self, buckets: int) -> list[Summary]:
        """Return what is held of each covered owner in a set of buckets (a bit mask), sorted."""
        rows = []
        for owner in self.covered_owners():
            if buckets >> bucket_of(owner) & 1:
                held = self.owners[owner]
                if held.entries:
                    rows.append(Summary(owner, held.top, held.hash))
        rows.sort(key=lambda row: row.owner)
        return rows

    def after(self, owner: PeerName, version: int) -> list[Entry]:
        """Return an owner's entries above a version in the order of writing, but its floor last.

        What a floor kills was often written again above it: whoever receives the floor last sees no gap.
        """
        held = self.owners.get(owner)
        if held is None:
            return []
        news = [entry for entry in held.entries.values() if entry.version > version]
        news.sort(key=lambda entry: (entry.key == FLOOR_KEY, entry.version))
        return news

    def changes(self) -> Iterable[ChannelChange]:
        """Yield every live entry as a listener would have been told it."""
        for owner in sorted(self.owners):
            held = self.owners[owner]
            for key in sorted(live_keys(held)):
                yield ChannelChange(owner, key, held.entries[key].value)

    def _raise_floor(self, held: Owned, entry: Entry) -> Merged:
        """Join a floor: whatever of its owner is not above it dies."""
        if entry.value != b"":
            return _BAD_FLOOR
        dead = [old for old in held.entries.values() if old.version <= entry.version and old.key != FLOOR_KEY]
        for old in dead:
            self._remove(held, old)
        self._replace(held, held.entries.get(FLOOR_KEY), entry)
        held.floor = entry.version
        gone = sorted(old.key for old in dead if old.value is not None)
        changes = tuple(ChannelChange(entry.owner, key, None) for key in gone)
        return Merged(True, changes, tuple(sorted(old.key for old in dead)))

    def _replace(self, held: Owned, old: Entry | None, entry: Entry) -> None:
        if old is not None:
            self._remove(held, old)
        held.entries[entry.key] = entry
        held.top = max(held.top, entry.version)
        held.tombstones += entry.value is None
        held.size += entry.size
        held.hash ^= entry.digest
        self.entry_count += 1
        self._account(entry.owner, entry.digest)

    def _remove(self, held: Owned, old: Entry) -> None:
        del held.entries[old.key]
        held.tombstones -= old.value is None
        held.size -= old.size
        held.hash ^= old.digest
        self.entry_count -= 1
        self._account(old.owner, old.digest)

    def _account(self, owner: PeerName, digest: int) -> None:
        if self.durable or owner in self._covered:
            self._toggle(owner, digest)

    def _toggle(self, owner: PeerName, digest: int) -> None:
        self.root ^= digest
        self.buckets[bucket_of(owner)] ^= digest


def live_keys(held: Owned) -> list[bytes]:
    """Return the keys that have a value, unsorted."""
    return [key for key, entry in held.entries.items() if entry.value is not None and key != FLOOR_KEY]
