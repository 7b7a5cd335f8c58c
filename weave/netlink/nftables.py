"""What is hot about nftables: elements of sets and maps come and go, tables are looked at, changes are heard of. Pure.

    message   header | family u8 | version u8 | resource u16, network order | attributes
    BEGIN | DELSETELEM … | NEWSETELEM … | END          one transaction, acknowledged by its last change

Whole tables go through `nft`, which takes 10 ms and more for what is 0.1 ms here. Source: linux/netfilter/nfnetlink.h,
nf_tables.h.
"""

import errno
from collections.abc import Iterator, Sequence
from itertools import groupby
from struct import Struct
from typing import NamedTuple

from weave.netlink.codec import Message, Reply, attribute, nested, read_attributes, read_text, text
from weave.netlink.constants import NLM_F_CREATE

NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17
NFT_MSG_GETTABLE = 1
NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_NEWGEN, NFT_MSG_GETGEN = 12, 13, 14, 15, 16
NFPROTO_INET, NFPROTO_BRIDGE = 1, 7
NFTA_TABLE_NAME, NFTA_TABLE_USE, NFTA_TABLE_HANDLE = 1, 3, 4
"""A table's name has this number in its chains, rules, sets and elements as well."""
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA = 1, 1, 2
NFTA_GEN_ID = 1
NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN = 1, 2, 1, 2
NFT_GOTO = -4
GENERIC = Struct(">BBH")
"""nfgenmsg: family, version, resource; the resource of a batch is its subsystem."""
GONE = frozenset({errno.ENOENT})
ELEMENTS_PER_MESSAGE = 256
"""An attribute holds 64 KiB; 256 elements with a chain need half of it."""
_VERDICT = Struct(">i")


class Element(NamedTuple):
    """One element of a set, or with a chain to go to of a verdict map."""

    family: int
    table: str
    name: str
    """Of the set."""
    key: bytes
    """As the kernel has it: each part fills up to four octets."""
    goto: str | None = None


class TableState(NamedTuple):
    """What tells one table from its successor, and a full one from an emptied one."""

    handle: bytes
    used: bytes
    """How many chains, sets and other objects it holds."""


def transaction(removed: Sequence[Element], added: Sequence[Element]) -> list[Message]:
    """Return what changes elements, all or none, for `Netlink.transact`; those of one set stand together.

    What is there already is no failure to the kernel, nor is in newer kernels what is gone; a table or set that is
    missing is (ENOENT).
    """
    edge = GENERIC.pack(0, 0, NFNL_SUBSYS_NFTABLES)
    return [Message(NFNL_MSG_BATCH_BEGIN, 0, edge),
            *(Message(_kind(NFT_MSG_DELSETELEM), 0, body) for body in _bodies(removed)),
            *(Message(_kind(NFT_MSG_NEWSETELEM), NLM_F_CREATE, body) for body in _bodies(added)),
            Message(NFNL_MSG_BATCH_END, 0, edge)]


def get_element(element: Element) -> Message:
    """Ask for one element of a set."""
    return Message(_kind(NFT_MSG_GETSETELEM), 0, next(_bodies([element])))


def get_table(family: int, name: str) -> Message:
    """Ask for one table."""
    return Message(_kind(NFT_MSG_GETTABLE), 0, GENERIC.pack(family, 0, 0) + text(NFTA_TABLE_NAME, name))


def read_table(body: bytes) -> TableState:
    """Read the answer to `get_table`."""
    found = read_attributes(body, GENERIC.size)
    return TableState(found.get(NFTA_TABLE_HANDLE, b""), found.get(NFTA_TABLE_USE, b""))


def get_generation() -> Message:
    """Ask for the generation of all tables of a network namespace."""
    return Message(_kind(NFT_MSG_GETGEN), 0, GENERIC.pack(0, 0, 0))


def read_generation(body: bytes) -> int:
    """Read the answer to `get_generation`: a number that each transaction raises by one."""
    return int.from_bytes(read_attributes(body, GENERIC.size).get(NFTA_GEN_ID, b""))


def changed_table(notice: Reply) -> str:
    """Return the name of the table that a notice tells a change of; empty where it tells of none."""
    if notice.kind >> 8 != NFNL_SUBSYS_NFTABLES or notice.kind & 0xFF == NFT_MSG_NEWGEN:
        return ""
    return read_text(read_attributes(notice.body, GENERIC.size).get(NFTA_TABLE_NAME))


def _kind(message: int) -> int:
    return NFNL_SUBSYS_NFTABLES << 8 | message


def _bodies(elements: Sequence[Element]) -> Iterator[bytes]:
    for (family, table, name), group in groupby(elements, lambda element: element[:3]):
        packed = [_element(element) for element in group]
        head = (GENERIC.pack(family, 0, 0) + text(NFTA_SET_ELEM_LIST_TABLE, table)
                + text(NFTA_SET_ELEM_LIST_SET, name))
        for start in range(0, len(packed), ELEMENTS_PER_MESSAGE):
            yield head + nested(NFTA_SET_ELEM_LIST_ELEMENTS, *packed[start:start + ELEMENTS_PER_MESSAGE])


def _element(element: Element) -> bytes:
    parts = nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, element.key))
    if element.goto is not None:
        verdict = attribute(NFTA_VERDICT_CODE, _VERDICT.pack(NFT_GOTO)) + text(NFTA_VERDICT_CHAIN, element.goto)
        parts += nested(NFTA_SET_ELEM_DATA, nested(NFTA_DATA_VERDICT, verdict))
    return nested(NFTA_LIST_ELEM, parts)
