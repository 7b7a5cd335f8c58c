"""The entries of the gossip channel: which keys there are, and what their values mean.

    t <address> <prefix length>   a range of the ring         [ring id, owner, version, writer]
    seed<family>                  the first division          [range, names]
    paxos<family>                 the state of an elector     [range, expected, wants, promised, accepted, value]
    wish<family>                  an observer waits           [range]
    free<family>                  which ring a peer runs, and how much of it is free there: [ring id, bits]

The entry's owner in the channel is its writer. Keys of the other address family are another allocator's.
"""

from dataclasses import dataclass
from typing import TypeAlias

from weave import wire
from weave.addresses import IPNetwork
from weave.ipam import codec
from weave.ipam.blocks import Block, Universe
from weave.ipam.division import Division
from weave.ipam.paxos import Vote
from weave.ipam.ring import Range

RANGE_PREFIX = b"t"


@dataclass(frozen=True, slots=True)
class RangeEntry:
    """A range of a ring, or (None) that its writer no longer says anything about this block."""

    block: Block
    ring_id: bytes = b""
    range: Range | None = None


@dataclass(frozen=True, slots=True)
class SeedEntry:
    """A first division."""

    division: Division | None


@dataclass(frozen=True, slots=True)
class VoteEntry:
    """The state of an elector, and the range that it votes on."""

    network: IPNetwork | None
    vote: Vote | None


@dataclass(frozen=True, slots=True)
class WishEntry:
    """An observer waits for the ring."""

    network: IPNetwork | None


@dataclass(frozen=True, slots=True)
class HintEntry:
    """Which ring a peer runs, and the bit length of the number of free addresses it has."""

    ring_id: bytes = b""
    bits: int = 0


AnyEntry: TypeAlias = RangeEntry | SeedEntry | VoteEntry | WishEntry | HintEntry


class Keys:
    """The keys of one family."""

    def __init__(self, universe: Universe) -> None:
        suffix = b"%d" % universe.family
        self.seed, self.vote, self.wish, self.hint = (word + suffix for word in (b"seed", b"paxos", b"wish", b"free"))
        self._universe = universe
        self._range_length = len(RANGE_PREFIX) + universe.octets + 1

    def range(self, block: Block) -> bytes:
        """Return the key of a block."""
        return RANGE_PREFIX + codec.encode_block(self._universe, block)

    def decode(self, key: bytes, value: bytes | None) -> AnyEntry | None:
        """Return what an entry means; None where it is no concern of ours; raise `RemoteError` where it is wrong."""
        if key[:1] == RANGE_PREFIX and len(key) == self._range_length:
            return self._decode_range(codec.decode_block(self._universe, key[1:]), value)
        if key == self.seed:
            return SeedEntry(None if value is None else codec.decode_division(self._universe, value))
        if key == self.vote:
            return VoteEntry(*((None, None) if value is None else codec.decode_vote(self._universe, value)))
        if key == self.wish:
            return WishEntry(None if value is None else self._decode_wish(value))
        if key == self.hint:
            return HintEntry() if value is None else self._decode_hint(value)
        return None

    def _decode_range(self, block: Block, value: bytes | None) -> RangeEntry:
        if value is None:
            return RangeEntry(block)
        ring_id, *rest = codec.fields(wire.unpack(value), "range", 4)
        return RangeEntry(block, codec.ring_id_of(ring_id), codec.decode_range(block, rest))

    def _decode_wish(self, value: bytes) -> IPNetwork:
        (network,) = codec.fields(wire.unpack(value), "wish", 1)
        return codec.decode_network(network, self._universe)

    def _decode_hint(self, value: bytes) -> HintEntry:
        ring_id, bits = codec.fields(wire.unpack(value), "hint", 2)
        return HintEntry(codec.ring_id_of(ring_id), wire.expect_int(bits, "free bits", 0, self._universe.bits + 1))


def encode_range(ring_id: bytes, range_: Range) -> bytes:
    """Encode the value of a range."""
    return wire.pack([ring_id, *codec.range_fields(range_)])


def encode_hint(ring_id: bytes, bits: int) -> bytes:
    """Encode the value of a hint."""
    return wire.pack([ring_id, bits])


def encode_wish(network: IPNetwork) -> bytes:
    """Encode the value of a wish."""
    return wire.pack([str(network)])
