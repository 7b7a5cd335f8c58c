"""The unicast messages of kind "ipam": requests for space, for a view, and their answers.

Each is [type, family, ring id, nonce, ...]; the nonce ties an answer to its request. Any of them may be lost, come
twice or come late. What is of another family, another ring or a later version is no concern of ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from weave import wire
from weave.errors import RemoteError
from weave.ipam import codec
from weave.ipam.blocks import Universe
from weave.ipam.limits import MAX_ENTRIES_PER_MESSAGE, MAX_IDENT_CHARS
from weave.ipam.ring import Range
from weave.names import PeerName, peer_name_to_bytes

MAX_NONCE = (1 << 63) - 1
MAX_BYTES = 64 * 1024


class Denial(IntEnum):
    """Why no space was given."""

    NONE_FREE = 1
    NOT_OWNER = 2
    IN_USE = 3
    LATER = 4


@dataclass(frozen=True, slots=True)
class Ask:
    """Give me space between `low` and `high`."""

    nonce: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Grant:
    """These ranges are yours; durable here before it was sent."""

    nonce: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    """No; and this is what we know of who owns what there."""

    nonce: int
    reason: Denial
    holder: str = ""
    """Who uses the address, for `IN_USE`."""
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True, slots=True)
class AskView:
    """What do you know of the ranges of this peer? It is to be taken over."""

    nonce: int
    peer: PeerName


@dataclass(frozen=True, slots=True)
class View:
    """This is what we know of them."""

    nonce: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Bequest:
    """We leave; these ranges are yours. The heir answers by publishing them."""

    nonce: int
    ranges: tuple[Range, ...]


Message: TypeAlias = Ask | Grant | Deny | AskView | View | Bequest
_ASK, _GRANT, _DENY, _ASK_VIEW, _VIEW, _BEQUEST = range(1, 7)
_CARRIERS: tuple[tuple[int, Callable[[int, tuple[Range, ...]], Message]], ...] = (
    (_GRANT, Grant), (_VIEW, View), (_BEQUEST, Bequest))


def encode(universe: Universe, ring_id: bytes, message: Message) -> bytes:
    """Encode a message."""
    kind, rest = _body(universe, message)
    return wire.pack([kind, universe.family, ring_id, message.nonce, *rest])


def decode(universe: Universe, ring_id: bytes, payload: bytes) -> Message | None:
    """Decode a message; None for what is no concern of this ring; raise `RemoteError` for what is wrong."""
    head = wire.expect_list(wire.unpack(payload, max_bytes=MAX_BYTES), "message")
    kind, family, ring, nonce = codec.fields(head, "message", 4)
    if family != universe.family or ring != ring_id:
        return None
    return _decode_body(universe, kind, wire.expect_int(nonce, "nonce", 0, MAX_NONCE), head[4:])


def _body(universe: Universe, message: Message) -> tuple[int, list[wire.Plain]]:
    match message:
        case Ask():
            return _ASK, [message.low.to_bytes(universe.octets), message.high.to_bytes(universe.octets + 1)]
        case Grant():
            return _GRANT, [_ranges(universe, message.ranges)]
        case Deny():
            return _DENY, [int(message.reason), message.holder, _ranges(universe, message.ranges)]
        case AskView():
            return _ASK_VIEW, [peer_name_to_bytes(message.peer)]
        case View():
            return _VIEW, [_ranges(universe, message.ranges)]
        case Bequest():
            return _BEQUEST, [_ranges(universe, message.ranges)]


def _decode_body(universe: Universe, kind: object, nonce: int, rest: Sequence[object]) -> Message | None:
    if kind == _ASK:
        low, high = codec.fields(rest, "request for space", 2)
        return _decode_ask(universe, nonce, low, high)
    for code, make in _CARRIERS:
        if kind == code:
            (ranges,) = codec.fields(rest, "ranges", 1)
            return make(nonce, _decode_ranges(universe, ranges))
    if kind == _DENY:
        reason, holder, ranges = codec.fields(rest, "denial", 3)
        return Deny(nonce, Denial(wire.expect_int(reason, "reason", 1, len(Denial))),
                    wire.expect_str(holder, "holder", most=MAX_IDENT_CHARS), _decode_ranges(universe, ranges))
    if kind == _ASK_VIEW:
        (peer,) = codec.fields(rest, "request for a view", 1)
        return AskView(nonce, codec.name_of(peer))
    return None


def _decode_ask(universe: Universe, nonce: int, low: object, high: object) -> Ask:
    first = int.from_bytes(wire.expect_bytes(low, "first address", size=universe.octets))
    last = int.from_bytes(wire.expect_bytes(high, "last address", size=universe.octets + 1))
    if not universe.start <= first < last <= universe.end:
        raise RemoteError("a request for space outside of the range")
    return Ask(nonce, first, last)


def _ranges(universe: Universe, ranges: Sequence[Range]) -> list[wire.Plain]:
    return [[codec.encode_block(universe, each.block), *codec.range_fields(each)] for each in ranges]


def _decode_ranges(universe: Universe, value: object) -> tuple[Range, ...]:
    found = []
    for item in wire.expect_list(value, "ranges", most=MAX_ENTRIES_PER_MESSAGE):
        block, *rest = codec.fields(item, "range", 4)
        found.append(codec.decode_range(codec.decode_block(universe, block), rest))
    return tuple(found)
