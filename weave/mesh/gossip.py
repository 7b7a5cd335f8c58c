"""The replicated channels of this peer: what is published and received in them, and what goes on to whom.

Entries come in from our own applications or in a delta, are verified one by one and merged; what was new is queued
for the next hops of its owner's broadcast tree, told to the listeners and, in durable channels, to the store. What is
wrong with an entry is counted and costs nobody else anything. `Spread` decides the next hops: the core knows routes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from store.changes import Change
from weave.errors import LocalError
from weave.mesh import rows, topology
from weave.mesh.author import Author, Written
from weave.mesh.channel import Channel, live_keys
from weave.mesh.connections import Connection
from weave.mesh.entries import FLOOR_KEY, ChannelChange, Entry, Signer, Verifier, signed_bytes
from weave.mesh.healing import Healing, Replica
from weave.mesh.identities import Identities
from weave.mesh.messages import Delta, Group
from weave.mesh.peers import LocalPeer, MeshConfig
from weave.mesh.views import ChannelView
from weave.names import PeerName

BAD_SIGNATURE = "bad signature"
UNKNOWN_CHANNEL = "unknown channel"
MALFORMED_ENTRY = "malformed entry"

Spread = Callable[[PeerName, int | None], Iterable[Connection]]
"""The connections to which what an owner wrote goes on; not back to the connection it came from."""


@dataclass(slots=True)
class Received:
    """What came of a delta."""

    changes: list[ChannelChange] = field(default_factory=list)
    rows: list[Change] = field(default_factory=list)
    is_new: bool = False


class Gossip:
    """All channels; see the module."""

    def __init__(
        self, me: LocalPeer, signer: Signer, verifier: Verifier, config: MeshConfig, restored: rows.Tables
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.identities = Identities(verifier)
        self.replicas: dict[str, Replica] = {}
        self.healing: dict[str, Healing] = {}
        self.authors: dict[str, Author] = {}
        self._me = me.name
        self._verifier = verifier
        self._stored_identities: set[PeerName] = set()
        self.identities.admit(me.name, me.identity)
        for name in sorted({topology.CHANNEL, *config.channels}):
            replica = Replica(Channel(name, durable=name in config.durable))
            self.replicas[name] = replica
            self.healing[name] = Healing(replica)
        self._restore(restored)
        for name, replica in self.replicas.items():
            self.authors[name] = Author(me.name, replica.channel, signer, me.incarnation)

    def channel(self, name: str) -> Channel:
        """Return a channel; raise `LocalError` for one that was not configured."""
        replica = self.replicas.get(name)
        if replica is None:
            raise LocalError(f"there is no gossip channel {name!r}; it should be one of {', '.join(self.replicas)}")
        return replica.channel

    def check(self, name: str, key: bytes, value: bytes | None) -> None:
        """Raise `LocalError` for what could not be published now."""
        self.channel(name)
        self.authors[name].check(key, value)

    def publish(self, name: str, key: bytes, value: bytes | None, spread: Spread, now: float) -> list[Change]:
        """Write an entry of our own and queue it; return the rows to store."""
        self.channel(name)
        return self._own(name, self.authors[name].write(key, value), spread, now)

    def sweep(self, spread: Spread, now: float) -> None:
        """Let what is left of our previous lives die everywhere."""
        for name, replica in self.replicas.items():
            if not replica.channel.durable and name != topology.CHANNEL:
                self._own(name, self.authors[name].sweep(), spread, now)

    def withdraw(self, spread: Spread, now: float) -> None:
        """Withdraw all that we publish in channels that are not durable, but for the links that carry the news."""
        for name, replica in self.replicas.items():
            held = replica.channel.held(self._me)
            if replica.channel.durable or held is None:
                continue
            for key in sorted(live_keys(held)):
                if (name, key) != (topology.CHANNEL, topology.LINKS_KEY):
                    self._own(name, self.authors[name].write(key, None), spread, now)

    def receive(self, conn: int, delta: Delta, spread: Spread, now: float) -> Received:
        """Merge a delta, entry by entry, and queue what was new."""
        received = Received()
        self._count(MALFORMED_ENTRY, delta.malformed)
        replica = self.replicas.get(delta.channel)
        if replica is None:
            self._count(UNKNOWN_CHANNEL)
            return received
        for group in delta.groups:
            self._receive_group(replica, conn, group, received, spread, now)
        if received.is_new:
            replica.merged_at = now
        return received

    def channels(self) -> list[tuple[str, Channel]]:
        """Return all channels with their names, sorted."""
        return [(name, replica.channel) for name, replica in self.replicas.items()]

    def strangers(self) -> int:
        """Return how often entries under our own key came to us that this life did not write."""
        return sum(author.strangers for author in self.authors.values())

    def views(self, sent_bytes: Counter[str]) -> list[ChannelView]:
        """Return how every channel does."""
        return [
            ChannelView(
                channel=name,
                owners=len(replica.channel.owners),
                entries=replica.channel.entry_count,
                merges=replica.merges,
                sent_bytes=sent_bytes[name],
                root=f"{replica.channel.root:016x}",
            )
            for name, replica in self.replicas.items()
        ]

    def forget(self, owner: PeerName) -> list[tuple[str, tuple[ChannelChange, ...]]]:
        """Drop an owner everywhere but in durable channels; return the withdrawals by channel."""
        gone = []
        is_remembered = False
        for name, replica in self.replicas.items():
            if replica.channel.durable:
                is_remembered = is_remembered or replica.channel.held(owner) is not None
                continue
            changes = replica.channel.forget(owner)
            if changes:
                gone.append((name, changes))
        if not is_remembered:
            self.identities.forget(owner)
        return gone

    def cover(self, owners: frozenset[PeerName]) -> None:
        """Tell every channel who is reachable."""
        for replica in self.replicas.values():
            replica.channel.cover(owners)

    def forgettable(self) -> set[PeerName]:
        """Return everybody of whom anything is held that `forget` would drop: entries, or nothing but an identity."""
        owners: dict[bool, set[PeerName]] = {True: set(), False: set()}
        for replica in self.replicas.values():
            owners[replica.channel.durable].update(replica.channel.owners)
        return owners[False] | (self.identities.names() - owners[True])

    def roots(self) -> tuple[tuple[str, int], ...]:
        """Return the roots for a heartbeat; what is empty stays out."""
        named = ((name, replica.channel.root) for name, replica in self.replicas.items())
        return tuple((name, root) for name, root in named if root)

    def root_of(self, name: str) -> int:
        """Return the root of one channel."""
        return self.replicas[name].channel.root

    def _receive_group(
        self, replica: Replica, conn: int, group: Group, received: Received, spread: Spread, now: float
    ) -> None:
        channel = replica.channel
        news = [entry for entry in group.entries if channel.is_news(entry)]
        if not news:
            return
        refusal = self.identities.refusal(group.owner, group.identity)
        if refusal:
            self._count(refusal, len(news))
            return
        news = [entry for entry in news if entry.owner == group.owner and self._is_genuine(channel.name, group, entry)]
        if not news:
            return
        self.identities.admit(group.owner, group.identity)
        if group.owner == self._me:
            news = self._meet_own(replica, news, received, spread, now)
        merged = self._merge(replica, news, received)
        if merged:
            received.is_new = True
            replica.merges += len(merged)
            for connection in spread(group.owner, conn):
                connection.outbox.add(channel.name, merged)

    def _meet_own(
        self, replica: Replica, news: list[Entry], received: Received, spread: Spread, now: float
    ) -> list[Entry]:
        """Decide about entries under our own key that we do not know; return those to merge."""
        author = self.authors[replica.channel.name]
        if replica.channel.durable:
            for entry in news:
                author.adopt(entry.version)
            return news
        self._own(replica.channel.name, author.answer(news, now), spread, now)
        received.is_new = True
        return []

    def _merge(self, replica: Replica, news: list[Entry], received: Received) -> list[Entry]:
        channel = replica.channel
        if len(news) > 1:
            news.sort(key=lambda entry: (entry.key == FLOOR_KEY, entry.version))
        kept = []
        for entry in news:
            merged = channel.put(entry)
            if merged.refused:
                self._count(merged.refused)
            if not merged.is_new:
                continue
            kept.append(entry)
            received.changes.extend(merged.changes)
            if channel.durable:
                received.rows.extend(self._rows(channel.name, entry.owner, [entry], merged.dropped))
        return kept

    def _own(self, name: str, written: Written, spread: Spread, now: float) -> list[Change]:
        """Queue entries that we wrote; return the rows to store."""
        if not written.entries:
            return []
        replica = self.replicas[name]
        replica.merges += len(written.entries)
        replica.merged_at = now
        for connection in spread(self._me, None):
            connection.outbox.add(name, written.entries)
        return self._rows(name, self._me, written.entries, written.dropped) if replica.channel.durable else []

    def _rows(
        self, name: str, owner: PeerName, entries: Iterable[Entry], dropped: tuple[bytes, ...]
    ) -> list[Change]:
        changes: list[Change] = []
        if owner not in self._stored_identities:
            self._stored_identities.add(owner)
            changes.append(rows.identity_row(owner, self.identities.of(owner) or b""))
        changes.extend(rows.dropped_row(name, owner, key) for key in dropped)
        changes.extend(rows.entry_row(name, entry) for entry in entries)
        return changes

    def _is_genuine(self, channel: str, group: Group, entry: Entry) -> bool:
        data = signed_bytes(channel, entry.owner, entry.key, entry.version, entry.value)
        if self._verifier.verify(group.identity, entry.signature, data):
            return True
        self._count(BAD_SIGNATURE)
        return False

    def _restore(self, restored: Mapping[str, Mapping[bytes, bytes]]) -> None:
        identities, entries = rows.read(restored)
        for owner, identity in identities:
            refusal = self.identities.admit(owner, identity)
            self._count(refusal, 1 if refusal else 0)
            self._stored_identities.add(owner)
        for name, entry in entries:
            replica = self.replicas.get(name)
            if replica is not None and replica.channel.durable and self.identities.of(entry.owner) is not None:
                replica.channel.put(entry)

    def _count(self, reason: str, number: int = 1) -> None:
        if number:
            self.refused[reason] += number
