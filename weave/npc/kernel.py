"""The kernel's side of nftables, by netlink: change elements, look at tables, hear of changes.

A change of elements takes about a millisecond and is done inside the call, so it blocks rather than going through the
loop. Every notification names the socket that caused it: what comes from no socket of ours was somebody else.
"""

import errno
from collections.abc import Collection, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from struct import error
from typing import Self

import trio

from weave.errors import EnvironmentFailure
from weave.netlink import nftables
from weave.netlink.codec import Message, split_datagram
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.constants import NETLINK_NETFILTER, NFNLGRP_NFTABLES
from weave.netlink.listener import NOTICE_BYTES, drain, listen
from weave.netlink.nftables import NFPROTO_BRIDGE, NFPROTO_INET, TableState
from weave.npc.ruleset import Kind
from weave.npc.ruleset_change import ADMISSION_TABLE, POLICY_TABLE, Change, Element, Table

FAMILIES = {"inet": NFPROTO_INET, "bridge": NFPROTO_BRIDGE}
NOTICES_BYTES = 1 << 22
"""Room for the notifications of a full load; where it does not do, the kernel says so and we look."""
States = tuple[TableState | None, TableState | None]


class Kernel:
    """Own the netlink socket through which elements change."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_NETFILTER)
        self.port = self._netlink.port
        """The number by which notifications name us."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._netlink.close()

    def change(self, change: Change) -> None:
        """Have elements changed, all or none; raise `NetlinkFailure` for none."""
        self._netlink.transact(packed(change), "change elements of our nftables tables")

    def table(self, table: Table) -> TableState | None:
        """Return the state of a table, None where there is none."""
        family, name = table
        try:
            return nftables.read_table(self._netlink.query(nftables.get_table(FAMILIES[family], name),
                                                           f"look at the nftables table {name}"))
        except NetlinkFailure as exc:
            if exc.code == errno.ENOENT:
                return None
            raise

    def tables(self) -> States:
        """Return the states of our two tables."""
        return self.table(POLICY_TABLE), self.table(ADMISSION_TABLE)


class Watch:
    """Own the socket on which the kernel tells of every change of nftables in this network namespace."""

    def __init__(self) -> None:
        self._socket = listen(NETLINK_NETFILTER, (NFNLGRP_NFTABLES,), NOTICES_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    async def foreign_change(self, ours: Collection[int]) -> None:
        """Wait until somebody whose port is not ours changed our tables, or until we may have missed that.

        `ours` may grow meanwhile: it is read for each notification.
        """
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            if self._is_foreign(ours):
                drain(self._socket)
                return

    def _is_foreign(self, ours: Collection[int]) -> bool:
        try:
            notices = split_datagram(self._socket.recv(NOTICE_BYTES))
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno == errno.ENOBUFS:
                return True
            raise EnvironmentFailure(f"cannot hear of changes of nftables: {exc.strerror}; it is tried again") from exc
        return any(notice.port not in ours and nftables.changed_table(notice) == POLICY_TABLE[1] for notice in notices)


def packed(change: Change) -> list[Message]:
    """Return a change of elements as a transaction."""
    return nftables.transaction(_pack(change.removed), _pack(change.added))


def _pack(elements: Sequence[Element]) -> list[nftables.Element]:
    return [nftables.Element(FAMILIES[element.table[0]], element.table[1], element.name,
                             key_octets(element.kind, element.key), element.chain) for element in elements]


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
    return inet_pton(AF_INET if word == "ipv4_addr" else AF_INET6, text)
