"""What this peer does with the addresses it owns: which are in use and by whom, which are free, which rest.

Free is what is owned, not used and not resting. A freed address rests so that caches on the network forget it; space
taken from a dead peer rests so that two who took it can find out. Used addresses that are no longer owned (or never
were: outside the range) stay used: what runs goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from weave.ipam.blocks import Block, largest_block
from weave.ipam.intervals import Intervals
from weave.ipam.ring import Segment


@dataclass(frozen=True, slots=True)
class Holding:
    """Who uses an address, and the prefix length of its subnet."""

    ident: str
    prefix: int


class Space:
    """The addresses of one peer."""

    def __init__(self) -> None:
        self.owned = Intervals()
        self.free = Intervals()
        self._used: dict[int, Holding] = {}
        self._by_ident: dict[str, dict[int, int]] = {}
        self._rests: list[tuple[float, int]] = []
        self._resting: dict[int, float] = {}
        self._fenced: list[tuple[float, int, int]] = []

    # --- reading -------------------------------------------------------------------------------------------------

    @property
    def active(self) -> int:
        """Return how many addresses are in use."""
        return len(self._used)

    def holder(self, address: int) -> Holding | None:
        """Return who uses an address."""
        return self._used.get(address)

    def of(self, ident: str) -> dict[int, int]:
        """Return the addresses of `ident` with their prefix lengths."""
        return self._by_ident.get(ident, {})

    def holdings(self) -> Iterator[tuple[int, Holding]]:
        """Yield everything in use, in the order of the addresses."""
        for address in sorted(self._used):
            yield address, self._used[address]

    def idents(self) -> list[str]:
        """Return everybody who uses an address, sorted."""
        return sorted(self._by_ident)

    @property
    def fences(self) -> tuple[tuple[float, int, int], ...]:
        """Return the space that was taken just now: until when it rests, from where, up to where."""
        return tuple(self._fenced)

    def is_fenced(self, address: int) -> bool:
        """Say whether an address lies in space that was taken just now."""
        return any(start <= address < end for _, start, end in self._fenced)

    def oldest_resting(self, low: int, high: int) -> int | None:
        """Return the owned address between `low` and `high` that was freed first and still rests."""
        found = [
            (until, address)
            for address, until in self._resting.items()
            if low <= address < high and address in self.owned and not self.is_fenced(address)
        ]
        return min(found)[1] if found else None

    def largest_gift(self, segments: Sequence[Segment], low: int, high: int) -> tuple[Segment, Block] | None:
        """Return the block between `low` and `high` to give away, and the segment that it comes from.

        It is the largest that leaves us half of what is free there, and the highest of those: we hand out from below.
        A single free address is given away all the same.
        """
        most = max(1, self.free.count(low, high) // 2)
        best: tuple[Segment, Block] | None = None
        for segment in segments:
            for start, end in self.free.between(max(low, segment.start), min(high, segment.end)):
                block = largest_block(start, end, most)
                if block is not None and (best is None or block.size >= best[1].size):
                    best = segment, block
        return best

    # --- changing ------------------------------------------------------------------------------------------------

    def take(self, address: int, holding: Holding) -> None:
        """Mark an address as used; it may be outside of what we own."""
        self._used[address] = holding
        self._by_ident.setdefault(holding.ident, {})[address] = holding.prefix
        self._resting.pop(address, None)
        self.free.remove(address, address + 1)

    def drop(self, address: int, until: float) -> None:
        """Mark an address as no longer used; it rests until then."""
        ident = self._used.pop(address).ident
        mine = self._by_ident[ident]
        del mine[address]
        if not mine:
            del self._by_ident[ident]
        if address in self.owned:
            self._resting[address] = until
            heappush(self._rests, (until, address))

    def fence(self, start: int, end: int, until: float) -> None:
        """Let space that was taken rest."""
        self._fenced.append((until, start, end))
        self.free.remove(start, end)

    def own(self, segments: Sequence[Segment]) -> None:
        """Take note of what we own now."""
        owned = Intervals((segment.start, segment.end) for segment in segments)
        if owned == self.owned:
            return
        self.owned = owned
        self._refill()

    def expire(self, now: float) -> bool:
        """End the rests that are over; say whether there were any."""
        is_over = False
        while self._rests and self._rests[0][0] <= now:
            until, address = heappop(self._rests)
            if self._resting.get(address) == until:
                del self._resting[address]
                self._refill_one(address)
                is_over = True
        fenced = [fence for fence in self._fenced if fence[0] > now]
        if len(fenced) != len(self._fenced):
            self._fenced = fenced
            self._refill()
            is_over = True
        return is_over

    def deadline(self) -> float:
        """Return when the next rest is over."""
        first = self._rests[0][0] if self._rests else inf
        return min([first, *(until for until, _, _ in self._fenced)])

    def _refill_one(self, address: int) -> None:
        if address in self.owned and not self.is_fenced(address):
            self.free.add(address, address + 1)

    def _refill(self) -> None:
        self.free = Intervals(self.owned)
        for address in (*self._used, *self._resting):
            self.free.remove(address, address + 1)
        for _, start, end in self._fenced:
            self.free.remove(start, end)
