"""nfnetlink as octets: changes of elements, and what the kernel tells of tables. Pure.

    message  len u32 | type u8, subsystem u8 | flags u16 | seq u32 | port u32 | family u8 | version u8 | resource u16 be
    batch    BEGIN, changes, END: one transaction

Only what the hot path needs is here; whole tables go through `nft`. The decoder raises exactly one type,
`GarbledNetlink`, and never reads beyond what it was given.
"""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from struct import Struct, error

from weave.errors import EnvironmentFailure
from weave.npc.ruleset import Kind
from weave.npc.ruleset_change import Element

NLMSG_ERROR = 2
NLMSG_OVERRUN = 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE = 1, 4, 0x400
SUBSYSTEM = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
GETTABLE = SUBSYSTEM << 8 | 1
NEWSETELEM = SUBSYSTEM << 8 | 12
DELSETELEM = SUBSYSTEM << 8 | 14
NEWGEN = SUBSYSTEM << 8 | 15
FAMILY = {"inet": 1, "bridge": 7}
_NESTED = 0x8000
_KIND_MASK = 0x3FFF
_GOTO = -4
ELEMENTS_PER_MESSAGE = 256
"""An attribute holds 64 KiB; 256 elements with a chain need half of it."""

_HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_GENERIC = Struct(">BBH")
_U32 = Struct(">I")
_CODE = Struct("=i")


class GarbledNetlink(EnvironmentFailure):
    """What came from a netlink socket is not laid out as netlink is."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message from the kernel."""

    kind: int
    sequence: int
    port: int
    """Of the socket that caused it."""
    body: bytes
    """Generic header and attributes; of an error its code first."""

    @property
    def code(self) -> int:
        """Return the errno of an error message; 0 acknowledges."""
        if len(self.body) < _CODE.size:
            raise GarbledNetlink("netlink error without a code")
        return -int(_CODE.unpack_from(self.body)[0])


@dataclass(frozen=True, slots=True)
class TableState:
    """What tells one table from its successor, and a full one from an emptied one."""

    handle: bytes
    used: bytes
    """How many chains, sets and other objects it holds."""


def batch(removed: Sequence[Element], added: Sequence[Element], sequence: int) -> tuple[bytes, int]:
    """Return the transaction that changes elements, and the sequence number of the message that acknowledges it."""
    bodies = [(DELSETELEM, 0, body) for body in _bodies(removed)]
    bodies += [(NEWSETELEM, NLM_F_CREATE, body) for body in _bodies(added)]
    last = sequence + len(bodies)
    pieces = [_message(BATCH_BEGIN, NLM_F_REQUEST, sequence, _GENERIC.pack(0, 0, SUBSYSTEM))]
    for number, (kind, flags, body) in enumerate(bodies, sequence + 1):
        pieces.append(_message(kind, flags | NLM_F_REQUEST | (NLM_F_ACK if number == last else 0), number, body))
    pieces.append(_message(BATCH_END, NLM_F_REQUEST, last + 1, _GENERIC.pack(0, 0, SUBSYSTEM)))
    return b"".join(pieces), last


def table_request(family: str, name: str, sequence: int) -> bytes:
    """Return the question for one table."""
    body = _GENERIC.pack(FAMILY[family], 0, 0) + attribute(1, name.encode() + b"\0")
    return _message(GETTABLE, NLM_F_REQUEST, sequence, body)


def table_state(notice: Notice) -> TableState:
    """Return the state of a table as the kernel tells it."""
    found = attributes(notice.body, _GENERIC.size)
    return TableState(found.get(4, b""), found.get(3, b""))


def names_table(notice: Notice, name: str) -> bool:
    """Tell whether a notification is about the table of this name, in any family."""
    if notice.kind >> 8 != SUBSYSTEM or notice.kind == NEWGEN:
        return False
    return attributes(notice.body, _GENERIC.size).get(1, b"").partition(b"\0")[0] == name.encode()


def notices(data: bytes) -> list[Notice]:
    """Return the messages of one datagram."""
    found = []
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, _, sequence, port = _HEADER.unpack_from(data, at)
        if size < _HEADER.size or at + size > len(data):
            raise GarbledNetlink(f"netlink message claims {size} octets of {len(data) - at}")
        found.append(Notice(kind, sequence, port, data[at + _HEADER.size:at + size]))
        at += size + 3 & ~3
    return found


def attributes(data: bytes, at: int) -> dict[int, bytes]:
    """Return the attributes from an offset on by number; the last of a number wins."""
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size or at + size > len(data):
            raise GarbledNetlink(f"netlink attribute claims {size} octets of {len(data) - at}")
        found[kind & _KIND_MASK] = data[at + _ATTRIBUTE.size:at + size]
        at += size + 3 & ~3
    return found


def attribute(kind: int, payload: bytes) -> bytes:
    """Pack one attribute."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + bytes(-size & 3)


def message(kind: int, flags: int, sequence: int, family: int, resource: int, *parts: bytes) -> bytes:
    """Pack a message of any nfnetlink subsystem."""
    return _message(kind, flags, sequence, _GENERIC.pack(family, 0, resource) + b"".join(parts))


def key_octets(kind: Kind, key: str) -> bytes:
    """Return the key of an element as the kernel has it: each part fills up to four octets."""
    try:
        return b"".join(_part(word, text) for word, text in
                        zip(kind.value.split(" . "), key.split(" . "), strict=True))
    except (ValueError, OSError, error) as exc:
        raise AssertionError(f"{key!r} is no element of {kind.value}") from exc


def _part(word: str, text: str) -> bytes:
    if word == "inet_service":
        return int(text).to_bytes(2, "big") + b"\0\0"
    return socket.inet_pton(socket.AF_INET if word == "ipv4_addr" else socket.AF_INET6, text)


def _bodies(elements: Sequence[Element]) -> Iterator[bytes]:
    for (table, name), group in groupby(elements, lambda element: (element.table, element.name)):
        packed = [_element(element) for element in group]
        head = _GENERIC.pack(FAMILY[table[0]], 0, 0) + attribute(1, table[1].encode() + b"\0") \
            + attribute(2, name.encode() + b"\0")
        for start in range(0, len(packed), ELEMENTS_PER_MESSAGE):
            yield head + attribute(3 | _NESTED, b"".join(packed[start:start + ELEMENTS_PER_MESSAGE]))


def _element(element: Element) -> bytes:
    parts = attribute(1 | _NESTED, attribute(1, key_octets(element.kind, element.key)))
    if element.chain is not None:
        verdict = attribute(1, _CODE_BE.pack(_GOTO)) + attribute(2, element.chain.encode() + b"\0")
        parts += attribute(2 | _NESTED, attribute(2 | _NESTED, verdict))
    return attribute(1 | _NESTED, parts)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) & 3)


_CODE_BE = Struct(">i")
