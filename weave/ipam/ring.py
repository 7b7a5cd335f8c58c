"""The ring: which peer owns which part of the range.

It is a set of blocks, each with an owner and a version, over the blocks of the first division. The owner of an address
is that of the smallest block around it that anybody ever wrote, as in a routing table:

    10.32.0.0/12   first division          a a a a a a a a b b b b b b b b
    10.34.0.0/15   a gave to c, version 1  . . . . c c . .
    10.35.0.0/16   c gave to b, version 1  . . . . . b . .
                                           a a a a c b a a b b b b b b b b

Why blocks and not bare tokens that reach up to the next one: blocks travel one by one, so anybody may know some and
not others. The reach of a token would depend on tokens one does not know yet, and two peers would own the same address.
A block says all of itself. The rules that make every partial view safe:

* Only the owner of *all* of a block writes it, onto the block itself with a higher version, or inside it where nothing
  smaller was written. So along the history of each address every record beats the one before: smaller, or newer.
* A writer knows what it wrote (it is durable before it leaves), so who gave an address away never believes to own it.

Then whoever holds the last record of an address is its one owner, and no former owner thinks so, whatever else they
know. The exceptions are takeovers and restored databases; there the merge still has one result for everybody.

Merging is a join for each block: the higher version wins, of two the higher owner, then the higher writer. It never
fails and never forgets.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from weave.ipam.blocks import Block, Universe, blocks_between
from weave.ipam.division import Division
from weave.names import PeerName


@dataclass(frozen=True, slots=True)
class Range:
    """A block with its owner: what is gossiped, stored and sent."""

    block: Block
    owner: PeerName
    version: int
    """0 in the first division, which is derived and never written."""
    writer: PeerName
    """Who wrote this: the owner before, or who took it."""

    @property
    def rank(self) -> tuple[int, PeerName, PeerName]:
        """Return what decides between two records of one block."""
        return self.version, self.owner, self.writer


@dataclass(frozen=True, slots=True)
class Segment:
    """Addresses whose owner follows from one range: a block, or what smaller blocks leave of it."""

    start: int
    end: int
    range: Range

    @property
    def size(self) -> int:
        """Return how many addresses these are."""
        return self.end - self.start


class Ring:
    """What one peer knows of who owns what."""

    def __init__(self, universe: Universe, division: Division) -> None:
        self.universe = universe
        self.division = division
        self.written = 0
        """How many blocks were written beyond the first division."""
        self._by_size: dict[int, dict[int, Range]] = {}
        self._sizes: list[int] = []
        self._segments: tuple[Segment, ...] | None = None
        self._starts: list[int] = []
        for block, owner in division.shares():
            self._put(Range(block, owner, 0, owner))

    def merge(self, new: Range) -> bool:
        """Join one record; say whether it was news."""
        old = self.get(new.block)
        if old is not None and old.rank >= new.rank:
            return False
        self.written += old is None or old.version == 0
        self._put(new)
        return True

    def get(self, block: Block) -> Range | None:
        """Return the record of exactly this block."""
        return self._by_size.get(block.size, {}).get(block.start)

    def at(self, address: int) -> Range:
        """Return the range that an address of the universe follows from."""
        for size in self._sizes:
            found = self._by_size[size].get(address & -size)
            if found is not None:
                return found
        raise AssertionError(f"{address} is outside the ring")

    def segments(self) -> tuple[Segment, ...]:
        """Return the whole ring in the order of the addresses."""
        if self._segments is None:
            self._segments = tuple(self._sweep())
            self._starts = [segment.start for segment in self._segments]
        return self._segments

    def between(self, low: int, high: int) -> Iterator[Segment]:
        """Yield the segments that have addresses between `low` and `high`, whole."""
        segments = self.segments()
        index = max(0, bisect_right(self._starts, low) - 1)
        while index < len(segments) and segments[index].start < high:
            if segments[index].end > low:
                yield segments[index]
            index += 1

    def of(self, owner: PeerName) -> list[Segment]:
        """Return what a peer owns."""
        return [segment for segment in self.segments() if segment.range.owner == owner]

    def ranges(self) -> list[Range]:
        """Return every written record, in the order of the addresses."""
        found = [range_ for by_start in self._by_size.values() for range_ in by_start.values() if range_.version]
        return sorted(found, key=lambda range_: (range_.block.start, -range_.block.size))

    def around(self, low: int, high: int, most: int) -> list[Range]:
        """Return up to `most` written records that say who owns what lies between `low` and `high`."""
        found = {segment.range.block: segment.range for segment in self.between(low, high) if segment.range.version}
        return [found[block] for block in sorted(found)][:most]

    def pass_on(self, segment: Segment, block: Block, heir: PeerName, writer: PeerName, bump: int = 1) -> Range:
        """Return the record by which a block of a segment passes to `heir`; merging it is the caller's.

        The block lies in the segment, so nothing smaller was ever written inside it.
        """
        assert segment.start <= block.start
        assert block.end <= segment.end
        base = segment.range.version if block == segment.range.block else 0
        return Range(block, heir, base + bump, writer)

    def pass_all(self, segments: list[Segment], heir: PeerName, writer: PeerName, bump: int = 1) -> list[Range]:
        """Return the records by which whole segments pass to `heir`."""
        return [
            self.pass_on(segment, block, heir, writer, bump)
            for segment in segments
            for block in blocks_between(segment.start, segment.end)
        ]

    def _put(self, new: Range) -> None:
        by_start = self._by_size.get(new.block.size)
        if by_start is None:
            by_start = self._by_size[new.block.size] = {}
            self._sizes = sorted(self._by_size)
        by_start[new.block.start] = new
        self._segments = None

    def _sweep(self) -> Iterator[Segment]:
        """Yield the segments: walk the blocks from left to right, outer before inner, with a stack of open ones."""
        everything = [range_ for by_start in self._by_size.values() for range_ in by_start.values()]
        everything.sort(key=lambda range_: (range_.block.start, -range_.block.size))
        position = self.universe.start
        stack: list[Range] = []
        for range_ in everything:
            while stack and stack[-1].block.end <= range_.block.start:
                closed = stack.pop()
                if position < closed.block.end:
                    yield Segment(position, closed.block.end, closed)
                    position = closed.block.end
            if stack and position < range_.block.start:
                yield Segment(position, range_.block.start, stack[-1])
            position = range_.block.start
            stack.append(range_)
        while stack:
            closed = stack.pop()
            if position < closed.block.end:
                yield Segment(position, closed.block.end, closed)
                position = closed.block.end
