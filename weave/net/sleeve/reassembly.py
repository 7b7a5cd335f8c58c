"""Put fragments of sealed units together. Pure.

Nothing is believed of a fragment before its unit authenticates, so everything is bounded: how far ahead of what is
authenticated a unit may be, how many lack fragments, how much they hold. A forged fragment spoils at most the one unit
whose counter it bears, and that one is asked for again.
"""

from dataclasses import dataclass

from weave.net.sleeve import limits
from weave.net.sleeve.replay import ReplayWindow
from weave.net.sleeve.wire import TAG_BYTES


@dataclass(slots=True)
class Partial:
    """A unit that lacks fragments."""

    total: int
    began: float
    pieces: list[bytes | None]
    octets: int = 0
    lacking: int = 0
    """One bit for each fragment that is not there."""


class Reassembly:
    """The units of one session that are not whole yet, oldest counter first to go."""

    def __init__(self, seen: ReplayWindow) -> None:
        self.partial: dict[int, Partial] = {}
        self.dropped = 0
        """Fragments and units that were thrown away."""
        self.reach = 0
        """Counters below it exist: the other end says so."""
        self._seen = seen
        self._octets = 0

    def add(self, counter: int, total: int, index: int, piece: bytes, now: float) -> bytes | None:
        """Take one fragment; return the sealed unit once it is whole."""
        unit = self.partial.get(counter)
        if unit is None:
            if not self._may_begin(counter, total):
                self.dropped += 1
                return None
            unit = self.partial[counter] = Partial(total, now, [None] * total, lacking=(1 << total) - 1)
        if total != unit.total or index >= total or not unit.lacking >> index & 1:
            self.dropped += 1
            return None
        unit.pieces[index] = piece
        unit.lacking ^= 1 << index
        unit.octets += len(piece)
        self._octets += len(piece)
        if unit.octets > limits.MAX_UNIT:
            self.forget(counter)
            self.dropped += 1
            return None
        if not unit.lacking:
            self.forget(counter)
            return b"".join(piece for piece in unit.pieces if piece is not None)
        self._shrink()
        return None

    def forget(self, counter: int) -> None:
        """Drop what there is of a unit."""
        unit = self.partial.pop(counter, None)
        if unit is not None:
            self._octets -= unit.octets

    def _may_begin(self, counter: int, total: int) -> bool:
        return (0 < total <= limits.MAX_FRAGMENTS and counter <= max(self._seen.highest, self.reach) + limits.MAX_AHEAD
                and self._seen.is_new(counter))

    def _shrink(self) -> None:
        while len(self.partial) > limits.MAX_PARTIAL or self._octets > limits.MAX_PARTIAL_BYTES:
            self.dropped += 1
            self.forget(min(self.partial))


def fits(octets: int) -> bool:
    """Say whether a sealed unit may have this many octets."""
    return TAG_BYTES < octets <= limits.MAX_UNIT
