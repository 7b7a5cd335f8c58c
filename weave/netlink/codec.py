"""Pack netlink attributes and take datagrams apart. Pure.

    message    len u32 | type u16 | flags u16 | seq u32 | pid u32 | fixed header of the type | attributes
    attribute  len u16 | type u16 (top bits: nested, network order) | payload | padding to 4 octets

The decoder raises exactly one type, `GarbledNetlink`; it never reads beyond what it was given.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from weave.errors import EnvironmentFailure
from weave.netlink.constants import (
    NLA_F_NESTED,
    NLA_TYPE_MASK,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSGERR_ATTR_MSG,
)

HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_U8 = Struct("=HHB3x")
_U16 = Struct("=HHH2x")
_U32 = Struct("=HHI")
_U64 = Struct("=HHQ")
_ERROR_CODE = Struct("=i")
ALIGNMENT = 4
NOTHING: Mapping[int, bytes] = {}


class GarbledNetlink(EnvironmentFailure):
    """What came from a netlink socket is not laid out as netlink is."""


class Message(NamedTuple):
    """A request, but for its header."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """One message from the kernel."""

    kind: int
    flags: int
    sequence: int
    body: bytes
    """Fixed header of the type and attributes."""
    port: int = 0
    """Of the socket whose request caused it; 0: the kernel itself."""


def frame(message: Message, sequence: int) -> bytes:
    """Return a message as it is sent."""
    size = HEADER.size + len(message.body)
    return HEADER.pack(size, message.kind, message.flags, sequence, 0) + message.body + bytes(-size % ALIGNMENT)


def attribute(kind: int, payload: bytes) -> bytes:
    """Pack one attribute."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + b"\0" * (-size % ALIGNMENT)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Pack an attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """Pack an attribute of one octet."""
    return _U8.pack(5, kind, value)


def u16(kind: int, value: int) -> bytes:
    """Pack an attribute of two octets, host order."""
    return _U16.pack(6, kind, value)


def u32(kind: int, value: int) -> bytes:
    """Pack an attribute of four octets, host order."""
    return _U32.pack(8, kind, value)


def u64(kind: int, value: int) -> bytes:
    """Pack an attribute of eight octets, host order."""
    return _U64.pack(12, kind, value)


def text(kind: int, value: str) -> bytes:
    """Pack a zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def mapping(kind: int, values: Mapping[int, bytes]) -> bytes:
    """Pack a nest of raw attributes, in the order of their numbers."""
    return nested(kind, *(attribute(key, values[key]) for key in sorted(values)))


def read_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Return the attributes from `offset` to the end by number; the last of a number wins."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size or offset + size > end:
            raise GarbledNetlink(f"netlink attribute {kind & NLA_TYPE_MASK} claims {size} octets of {end - offset}")
        found[kind & NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size:offset + size]
        offset += (size + ALIGNMENT - 1) & -ALIGNMENT
    return found


def read_list(data: bytes) -> list[bytes]:
    """Return the payloads of a nest whose attributes are items, all of one number."""
    items: list[bytes] = []
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, _ = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size or offset + size > len(data):
            raise GarbledNetlink(f"item of a netlink list claims {size} octets of {len(data) - offset}")
        items.append(data[offset + _ATTRIBUTE.size:offset + size])
        offset += (size + ALIGNMENT - 1) & -ALIGNMENT
    return items


def read_u32(payload: bytes | None, default: int = 0) -> int:
    """Return the number in an attribute of four octets; `default` where there is none."""
    if payload is None:
        return default
    if len(payload) != 4:
        raise GarbledNetlink(f"netlink number of {len(payload)} octets where 4 are due")
    return int.from_bytes(payload, sys.byteorder)


def read_text(payload: bytes | None) -> str:
    """Return a zero-terminated string; empty where there is none."""
    return "" if payload is None else payload.partition(b"\0")[0].decode(errors="replace")


def read_mac(payload: bytes | None) -> str:
    """Return six octets as `02:00:00:00:00:01`; empty where there are none."""
    return payload.hex(":") if payload is not None and len(payload) == 6 else ""


def read_fixed(layout: Struct, body: bytes) -> tuple[int, ...]:
    """Return the fixed header at the start of a body."""
    if len(body) < layout.size:
        raise GarbledNetlink(f"netlink message of {len(body)} octets where {layout.size} are due")
    return layout.unpack_from(body)


def split_datagram(data: bytes) -> list[Reply]:
    """Return the messages of one datagram."""
    replies = []
    offset = 0
    while offset + HEADER.size <= len(data):
        size, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if size < HEADER.size or offset + size > len(data):
            raise GarbledNetlink(f"netlink message claims {size} octets of {len(data) - offset}")
        replies.append(Reply(kind, flags, sequence, data[offset + HEADER.size:offset + size], port))
        offset += (size + ALIGNMENT - 1) & -ALIGNMENT
    if offset < len(data):
        raise GarbledNetlink(f"{len(data) - offset} octets follow the last netlink message")
    return replies


def read_error(reply: Reply) -> tuple[int, str]:
    """Return errno (0: acknowledged) and the kernel's own words of an NLMSG_ERROR message."""
    (code,) = read_fixed(_ERROR_CODE, reply.body)
    if not reply.flags & NLM_F_ACK_TLVS:
        return -code, ""
    offset = _ERROR_CODE.size + HEADER.size
    if not reply.flags & NLM_F_CAPPED:
        (size, *_) = read_fixed(HEADER, reply.body[_ERROR_CODE.size:])
        offset = _ERROR_CODE.size + ((size + ALIGNMENT - 1) & -ALIGNMENT)
    return -code, read_text(read_attributes(reply.body, offset).get(NLMSGERR_ATTR_MSG))


def read_done(reply: Reply) -> tuple[int, str]:
    """Return errno (0: that was all) and the kernel's own words of the NLMSG_DONE message at the end of a dump."""
    (code,) = read_fixed(_ERROR_CODE, reply.body)
    words = read_attributes(reply.body, _ERROR_CODE.size) if reply.flags & NLM_F_ACK_TLVS else {}
    return -code, read_text(words.get(NLMSGERR_ATTR_MSG))
