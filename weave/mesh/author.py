"""What this peer writes in one channel: versions, tombstones, the floor, and what to do about entries under our own
key that we did not write in this life.

Every write takes the next version of a counter that starts at our incarnation, so a later life always writes above an
earlier one and no version is ever used twice. Entries of an earlier life die by the floor. Entries that come back to
us from above our counter mean that our database is old, or that another machine runs with our key: in a durable
channel they are adopted (they are ours, and the application knows what they mean), in the others our own state is
written again above them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from weave.errors import LocalError
from weave.mesh import limits
from weave.mesh.channel import Channel, live_keys
from weave.mesh.entries import (
    FLOOR_KEY,
    INCARNATION_SHIFT,
    SIGNATURE_BYTES,
    Entry,
    Signer,
    size_of,
    write_entry,
)
from weave.names import PeerName


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a write."""

    entries: Sequence[Entry] = ()
    """To be spread, a floor last."""
    dropped: tuple[bytes, ...] = ()
    """Keys that a raised floor removed."""


@dataclass(slots=True)
class Strangers:
    """How often entries under our key came from elsewhere, and when we may answer again."""

    count: int = 0
    next_answer: float = 0.0
    pause: float = limits.REASSERT_INTERVAL_S


class Author:
    """The owner's side of a channel."""

    def __init__(self, me: PeerName, channel: Channel, signer: Signer, incarnation: int) -> None:
        self._me = me
        self._channel = channel
        self._signer = signer
        self._first_version = incarnation << INCARNATION_SHIFT
        held = channel.held(me)
        self._counter = max(self._first_version, held.top if held else 0)
        self._strangers = Strangers()

    @property
    def strangers(self) -> int:
        """How often entries from above our counter came back to us."""
        return self._strangers.count

    def write(self, key: bytes, value: bytes | None) -> Written:
        """Set or withdraw a key; nothing is written where nothing changes.

        Raise `LocalError` for what no other peer would take.
        """
        self.check(key, value)
        held = self._channel.held(self._me)
        old = held.entries.get(key) if held else None
        if (old.value if old else None) == value:
            return Written()
        self._counter += 1
        written = self._put(key, self._counter, value)
        held = self._channel.held(self._me)
        assert held is not None
        is_crowded = len(held.entries) > limits.MAX_ENTRIES_PER_OWNER - limits.MIN_TOMBSTONES
        if held.tombstones > limits.MIN_TOMBSTONES and (held.tombstones > held.live or is_crowded):
            return self.raise_floor()
        return Written([written])

    def check(self, key: bytes, value: bytes | None) -> None:
        """Raise `LocalError` for what no other peer would take."""
        if not 0 < len(key) <= limits.MAX_KEY_BYTES:
            raise LocalError(f"a key has 1 to {limits.MAX_KEY_BYTES} bytes, this one has {len(key)}")
        if value is None:
            return
        if len(value) > limits.MAX_VALUE_BYTES:
            raise LocalError(f"a value has up to {limits.MAX_VALUE_BYTES} bytes, this one has {len(value)}")
        held = self._channel.held(self._me)
        if held and not held.has_room_for(key, size_of(key, value, SIGNATURE_BYTES)):
            raise LocalError(f"this peer has {held.live} entries in {self._channel.name}, it can have no more")

    def sweep(self) -> Written:
        """Let the entries of our earlier lives die."""
        held = self._channel.held(self._me)
        if held is not None and held.floor >= self._first_version:
            return Written()
        return self._put_floor([], self._first_version)

    def raise_floor(self) -> Written:
        """Write our live entries again above a new floor."""
        held = self._channel.held(self._me)
        values = [(key, held.entries[key].value) for key in sorted(live_keys(held))] if held else []
        floor_version = self._counter + 1
        self._counter += 1 + len(values)
        news = [self._put(key, floor_version + n, value) for n, (key, value) in enumerate(values, start=1)]
        return self._put_floor(news, floor_version)

    def adopt(self, version: int) -> None:
        """Take note that an entry of ours, news to us, was accepted into a durable channel."""
        if version > self._counter:
            self._strangers.count += 1
            self._counter = version

    def answer(self, entries: Sequence[Entry], now: float) -> Written:
        """Take in verified entries under our own key that are news to us; return what to spread instead of them."""
        top = max(entry.version for entry in entries)
        if top <= self._first_version:
            return Written()  # an earlier life: the floor comes soon
        if now < self._strangers.next_answer:
            return Written()
        self._strangers.count += 1
        self._strangers.next_answer = now + self._strangers.pause
        self._strangers.pause = min(2 * self._strangers.pause, limits.REASSERT_INTERVAL_MAX_S)
        self._counter = max(self._counter, top)
        return self.raise_floor()

    def _put(self, key: bytes, version: int, value: bytes | None) -> Entry:
        entry = write_entry(self._channel.name, self._me, key, version, value, self._signer)
        merged = self._channel.put(entry)
        assert merged.is_new, "our own versions only rise"
        return entry

    def _put_floor(self, news: Sequence[Entry], version: int) -> Written:
        """Write a floor under entries that were just written."""
        floor = write_entry(self._channel.name, self._me, FLOOR_KEY, version, b"", self._signer)
        return Written([*news, floor], self._channel.put(floor).dropped)
