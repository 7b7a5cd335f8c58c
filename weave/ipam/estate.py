"""What we know of the ring, what of it is ours, and what we publish of it.

Every way in which the ring changes leads through `merge`: the change is stored, what is ours is computed anew, and
our entries in the gossip channel follow. We publish a range if it is ours, or if we wrote it and its owner does not
publish it yet. So each range ends up published by exactly its owner, nothing that one peer alone knew is lost with
its writer, and the entries of a peer are no more than what it owns.
"""

from collections.abc import Iterable

from weave.ipam.blocks import Block, Universe
from weave.ipam.division import Division
from weave.ipam.gossip import Keys, encode_range
from weave.ipam.outbox import Outbox
from weave.ipam.ring import Range, Ring, Segment
from weave.ipam.space import Space
from weave.ipam.stored import Rows
from weave.names import PeerName


class Estate:
    """The ring and our part of it."""

    def __init__(self, me: PeerName, universe: Universe, division: Division, space: Space, outbox: Outbox) -> None:
        self.ring = Ring(universe, division)
        self.division = division
        self.space = space
        self.mine: tuple[Segment, ...] = ()
        """What we own, in the order of the addresses."""
        self.disputed: dict[Block, Range] = {}
        """Records that lost against another of the same version: two wrote at once."""
        self._me = me
        self._outbox = outbox
        self._keys = Keys(universe)
        self._rows = Rows(universe)
        self._copies: dict[Block, Range] = {}
        self._own()

    def restore(self, ranges: Iterable[Range]) -> None:
        """Take in what was stored; nothing is published yet."""
        for range_ in ranges:
            self.ring.merge(range_)
        self._own()

    def announce(self) -> None:
        """Publish everything that we have to, as after a restart."""
        for range_ in self.ring.ranges():
            self._reconcile(range_.block)

    def merge(self, ranges: Iterable[Range]) -> list[Range]:
        """Join records into the ring and return those that were news, durable before anything else leaves."""
        news = [range_ for range_ in ranges if self._merge(range_)]
        for range_ in news:
            self._reconcile(range_.block)
        if any(map(self._concerns_us, news)):
            self._own()
        return news

    def heard(self, publisher: PeerName, block: Block, range_: Range | None) -> None:
        """Take note of what a peer publishes of a block; the record itself is merged apart."""
        if range_ is not None and range_.owner == publisher:
            self._copies[block] = range_
        self._reconcile(block)

    def is_published_by_owner(self, range_: Range) -> bool:
        """Say whether the owner of a range, or a later one, publishes it."""
        copy = self._copies.get(range_.block)
        return copy is not None and copy.rank >= range_.rank

    def size_of(self, owner: PeerName) -> int:
        """Return how many addresses a peer owns."""
        return sum(segment.size for segment in self.ring.segments() if segment.range.owner == owner)

    def has_other_owners(self) -> bool:
        """Say whether anything belongs to somebody else."""
        return any(segment.range.owner != self._me for segment in self.ring.segments())

    def _merge(self, new: Range) -> bool:
        old = self.ring.get(new.block)
        if old is not None and old.version == new.version and old.owner != new.owner:
            self.disputed[new.block] = min(old, new, key=lambda range_: range_.rank)
        if not self.ring.merge(new):
            return False
        if old is not None and old.version != new.version:
            self.disputed.pop(new.block, None)
        self._outbox.persist([self._rows.range(self.division.ring_id, new)])
        return True

    def _concerns_us(self, new: Range) -> bool:
        """Say whether a record may change what is ours; most do not, and the walk around the ring is long."""
        return new.owner == self._me or self.space.owned.count(new.block.start, new.block.end) > 0

    def _own(self) -> None:
        mine = tuple(self.ring.of(self._me))
        if mine != self.mine:
            self.mine = mine
            self.space.own(mine)

    def _reconcile(self, block: Block) -> None:
        """Publish or withdraw our record of a block."""
        held = self.ring.get(block)
        is_due = held is not None and held.version > 0 and (
            held.owner == self._me or (held.writer == self._me and not self.is_published_by_owner(held)))
        value = encode_range(self.division.ring_id, held) if is_due and held is not None else None
        self._outbox.publish(self._keys.range(block), value)
