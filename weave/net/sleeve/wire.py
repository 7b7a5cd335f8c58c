"""How datagrams of the sleeve look (docs/sleeve.md), and the one place where they are taken apart. Pure.

    fragments and control   0 kind · 1 total · 2 index · 3 zero · 4 receiver (u32) · 8 counter (u64) · 16 sealed
    initiation              0 kind · 4 sender (u32)  · 8 Noise message 1 · tag 1 (16) · tag 2 (16)
    response                0 kind · 4 sender · 8 receiver · 12 Noise message 2 · tag 1 (16)
    cookie                  0 kind · 4 receiver · 8 nonce (12) · sealed cookie (32)
    relayed                 0 kind · 1 hops left · 2 zeros · 4 to (8) · 12 from (8) · 20 any of the above

Numbers are little-endian: nearly every machine is, and header fields are filled 50 at a time. What is sealed inside a
control datagram begins with one octet that says what it is; padding behind it is ignored.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2s
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import NewType

from weave.addresses import IPAddress
from weave.errors import RemoteError
from weave.net.sleeve import limits

Key = NewType("Key", bytes)
"""The static public key of a peer: who it is, here."""
Address = tuple[str, int]
"""Host as text and UDP port, as sockets want them; or, with a mark before it, the peer that passes it on."""


class Kind(IntEnum):
    """The first octet of a datagram."""

    DATA = 1
    CONTROL = 2
    INITIATION = 3
    RESPONSE = 4
    COOKIE = 5
    RELAYED = 6


class Word(IntEnum):
    """The first octet inside a control datagram."""

    PROBE = 1
    ECHO = 2
    NACK = 3
    ASK = 4
    HINT = 5


HEADER = Struct("<BBBxIQ")
HEADER_BYTES = HEADER.size
INITIATION_HEAD = Struct("<B3xI")
RESPONSE_HEAD = Struct("<B3xII")
RELAY_HEAD = Struct("<BB2x8s8s")
RELAY_BYTES = RELAY_HEAD.size
SHORT_BYTES = 8
_VIA = "~"
BROKEN = "a unit ends within a record"
COOKIE_HEAD = Struct("<B3xI12s32s")
RECORD_LENGTH = Struct("<I")
RECORD_HEAD = RECORD_LENGTH.size
TAG_BYTES = 16
"""Of AES-GCM and of our own keyed tags alike."""
KEY_BYTES = 32
NOISE_1_BYTES = 96
NOISE_2_BYTES = 48
INITIATION_BYTES = INITIATION_HEAD.size + NOISE_1_BYTES + 2 * TAG_BYTES
RESPONSE_BYTES = RESPONSE_HEAD.size + NOISE_2_BYTES + TAG_BYTES
_record_length = RECORD_LENGTH.unpack_from
_PROBE = Struct("<BBHIQ")
_ECHO = Struct("<BBHI16sH")
_COMPARES, _TRIAL = 1, 2
"""Flags of probes and echoes."""
_NACK_ITEM = Struct("<QB")
_HINT = Struct("<B32s16sH")
_ASK = Struct("<B32s")
_MAPPED = b"\0" * 10 + b"\xff\xff"


class SleeveError(RemoteError):
    """A datagram that is none of ours, or that does not hold what it should."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask for an echo; the datagram was padded to `size`."""

    size: int
    number: int
    sent: int
    """How many units were sealed so far, so that an outage is not mistaken for a forgery."""
    is_trial: bool = False
    """It goes one of several ways to measure it: its echo goes back the same way, and neither moves anybody."""
    compares: bool = True
    """Its sender knows what a trial is."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Answer a probe that arrived whole, from where we saw it come."""

    size: int
    number: int
    seen_at: Address | None
    is_trial: bool = False
    compares: bool = True


@dataclass(frozen=True, slots=True)
class Lack:
    """A unit that did not arrive whole; bit i of `missing` stands for fragment i, 0 for all of them."""

    counter: int
    missing: int


@dataclass(frozen=True, slots=True)
class Nack:
    """Ask for fragments again."""

    lacks: tuple[Lack, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask where a peer is."""

    key: Key


@dataclass(frozen=True, slots=True)
class Hint:
    """Say where a peer was last heard from."""

    key: Key
    address: Address


Control = Probe | Echo | Nack | Ask | Hint


def encode_control(message: Control) -> bytes:
    """Return what is sealed into a control datagram; a probe is padded by its sender."""
    match message:
        case Probe(size, number, sent):
            return _PROBE.pack(Word.PROBE, _flags(message), size, number, sent)
        case Echo(size, number, seen_at):
            return _ECHO.pack(Word.ECHO, _flags(message), size, number, *_pack_address(seen_at))
        case Nack(lacks):
            return bytes([Word.NACK, len(lacks)]) + b"".join(map(_pack_lack, lacks))
        case Ask(key):
            return _ASK.pack(Word.ASK, key)
        case Hint(key, address):
            return _HINT.pack(Word.HINT, key, *_pack_address(address))


def decode_control(body: bytes) -> Control | None:
    """Return the message inside a control datagram; None for a word of a later version; raise `SleeveError`."""
    if not body:
        raise SleeveError("a control message is empty")
    try:
        match body[0]:
            case Word.PROBE:
                _, flags, size, number, sent = _PROBE.unpack_from(body)
                return Probe(size, number, sent, bool(flags & _TRIAL), bool(flags & _COMPARES))
            case Word.ECHO:
                _, flags, size, number, packed, port = _ECHO.unpack_from(body)
                return Echo(size, number, _unpack_address(packed, port), bool(flags & _TRIAL), bool(flags & _COMPARES))
            case Word.NACK:
                return Nack(tuple(_unpack_lacks(body)))
            case Word.ASK:
                return Ask(_ASK.unpack_from(body)[1])
            case Word.HINT:
                _, key, packed, port = _HINT.unpack_from(body)
                address = _unpack_address(packed, port)
                if address is None:
                    raise SleeveError("a hint names no address")
                return Hint(Key(key), address)
    except (ValueError, ArithmeticError, IndexError, struct.error) as exc:
        raise SleeveError("a control message is cut short") from exc
    return None


def via(helper: str) -> Address:
    """Return the address of whoever is reached through a peer of that name."""
    return _VIA + helper, 0


def helper_of(address: Address) -> str | None:
    """Return the name of the peer that passes datagrams on to an address; None where they go there directly."""
    return address[0][len(_VIA):] if address[0].startswith(_VIA) else None


def short(key: Key) -> bytes:
    """Return what stands for a peer in the header of a relayed datagram."""
    return blake2s(key, digest_size=SHORT_BYTES, person=b"relay").digest()


def host(address: Address) -> IPAddress:
    """Return the host of an address; an IPv4 one that an IPv6 socket wrote as mapped is an IPv4 one."""
    found = ip_address(address[0].partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def records(unit: memoryview) -> Iterator[memoryview]:
    """Yield the frames of a unit, each with its virtio header; raise `SleeveError` where a record is not whole."""
    at, end = 0, len(unit)
    while at < end:
        begin, at = at + RECORD_HEAD, record_end(unit, at)
        yield unit[begin:at]


def record_end(unit: memoryview, at: int) -> int:
    """Return where a record ends; raise `SleeveError` where that is not in the unit."""
    end = at + RECORD_HEAD
    if end <= len(unit):
        end += _record_length(unit, at)[0]
    if end > len(unit):
        raise SleeveError(BROKEN)
    return end


def fragments_of(octets: int, size: int) -> int:
    """Return into how many datagrams of `size` a sealed unit of that many octets goes."""
    return -(-octets // (size - HEADER_BYTES))


def split(header_of: Sequence[bytes], sealed: bytes | memoryview, size: int) -> list[bytes]:
    """Return the datagrams of a unit the plain way, for tests and for what is sent singly."""
    room = size - HEADER_BYTES
    return [header + bytes(sealed[index * room:(index + 1) * room]) for index, header in enumerate(header_of)]


def lack_bytes(lack: Lack) -> int:
    """Return how many octets it takes to ask for a unit."""
    return _NACK_ITEM.size + _mask_bytes(lack)


def _flags(message: Probe | Echo) -> int:
    return (_TRIAL if message.is_trial else 0) | (_COMPARES if message.compares else 0)


def _pack_address(address: Address | None) -> tuple[bytes, int]:
    if address is None:
        return bytes(16), 0
    packed = host(address).packed
    return (_MAPPED + packed if len(packed) == 4 else packed), address[1]


def _unpack_address(packed: bytes, port: int) -> Address | None:
    if port == 0:
        return None
    if packed.startswith(_MAPPED):
        return str(IPv4Address(packed[12:])), port
    return str(IPv6Address(packed)), port


def _mask_bytes(lack: Lack) -> int:
    return -(-lack.missing.bit_length() // 8)


def _pack_lack(lack: Lack) -> bytes:
    octets = _mask_bytes(lack)
    return _NACK_ITEM.pack(lack.counter, octets) + lack.missing.to_bytes(octets, "little")


def _unpack_lacks(body: bytes) -> list[Lack]:
    count, at = body[1], 2
    if count > limits.MAX_NACK_ITEMS:
        raise SleeveError("too many units are asked for at once")
    lacks = []
    for _ in range(count):
        counter, octets = _NACK_ITEM.unpack_from(body, at)
        at += _NACK_ITEM.size
        if octets > limits.MAX_FRAGMENTS // 8 or at + octets > len(body):
            raise SleeveError("more fragments are asked for than a unit has")
        lacks.append(Lack(counter, int.from_bytes(body[at:at + octets], "little")))
        at += octets
    return lacks
