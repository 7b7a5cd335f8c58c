"""The kernel's side of nftables, by netlink: change elements, look at tables, hear of changes.

A change of elements takes about a millisecond and is done inside the call, so it blocks rather than going through the
loop. Every notification names the socket that caused it: what comes from no socket of ours was somebody else.
"""

import errno
import os
import socket
from collections.abc import Collection
from contextlib import suppress
from struct import Struct
from typing import Self

import trio

from weave.errors import EnvironmentFailure
from weave.npc import nft_netlink as wire
from weave.npc.ruleset_change import ADMISSION_TABLE, POLICY_TABLE, Change, Table

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_CAP_ACK = 10
GROUP_NFTABLES = 7
ANSWER_DEADLINE_S = 5
RECEIVE_BYTES = 1 << 18
NOTICES_BYTES = 1 << 22
"""Room for the notifications of a full load; where it does not do, the kernel says so and we look."""
_TIMEVAL = Struct("@ll")


class KernelRefusal(EnvironmentFailure):
    """The kernel refused a change; it did none of it."""


class Kernel:
    """Own the netlink socket through which elements change."""

    def __init__(self) -> None:
        self._sequence = 1
        self._socket = _open()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(ANSWER_DEADLINE_S, 0))
        self.port = int(self._socket.getsockname()[0])
        """The number by which notifications name us."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def change(self, change: Change) -> None:
        """Have elements changed, all or none; raise `KernelRefusal` for none."""
        first = self._sequence
        octets, last = wire.batch(change.removed, change.added, first)
        self._sequence = last + 2
        self._send(octets)
        code = 0
        while True:
            for notice in self._receive():
                if notice.kind != wire.NLMSG_ERROR or not first <= notice.sequence <= last:
                    continue
                code = code or notice.code
                if notice.sequence == last or (notice.sequence == first and code):
                    self._check(code)
                    return

    def table(self, table: Table) -> wire.TableState | None:
        """Return the state of a table, None where there is none."""
        self._sequence += 1
        asked = self._sequence
        self._send(wire.table_request(*table, asked))
        while True:
            for notice in self._receive():
                if notice.sequence != asked:
                    continue
                if notice.kind != wire.NLMSG_ERROR:
                    return wire.table_state(notice)
                if notice.code == errno.ENOENT:
                    return None
                self._check(notice.code or errno.EIO)

    def tables(self) -> tuple[wire.TableState | None, wire.TableState | None]:
        """Return the states of our two tables."""
        return self.table(POLICY_TABLE), self.table(ADMISSION_TABLE)

    def _check(self, code: int) -> None:
        if code:
            raise KernelRefusal(f"cannot change elements of our nftables tables: {os.strerror(code)}; they are "
                                "loaded again as a whole")

    def _send(self, octets: bytes) -> None:
        try:
            self._socket.send(octets)
        except OSError as exc:
            raise EnvironmentFailure(f"cannot ask the kernel's nftables: {exc.strerror}; it is tried again") from exc

    def _receive(self) -> list[wire.Notice]:
        try:
            return wire.notices(self._socket.recv(RECEIVE_BYTES))
        except BlockingIOError as exc:
            raise EnvironmentFailure(f"the kernel's nftables did not answer within {ANSWER_DEADLINE_S} s; it is tried "
                                     "again") from exc
        except OSError as exc:
            raise EnvironmentFailure(f"cannot read from the kernel's nftables: {exc.strerror}; it is tried again"
                                     ) from exc


class Watch:
    """Own the socket on which the kernel tells of every change of nftables in this network namespace."""

    def __init__(self) -> None:
        self._socket = _open()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NOTICES_BYTES)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, GROUP_NFTABLES)

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
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as exc:
                if exc.errno == errno.ENOBUFS:
                    self._drain()
                    return
                raise EnvironmentFailure(f"cannot hear of changes of nftables: {exc.strerror}; it is tried again"
                                         ) from exc
            for notice in wire.notices(data):
                if notice.port not in ours and wire.names_table(notice, POLICY_TABLE[1]):
                    self._drain()
                    return

    def _drain(self) -> None:
        """Throw away what is waiting: whoever heard of one change looks at everything."""
        with suppress(OSError):
            while True:
                self._socket.recv(RECEIVE_BYTES)


def _open() -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot open a netlink socket to nftables: {exc.strerror}; run as root on a kernel "
                                 "with nf_tables") from exc
    opened.bind((0, 0))
    opened.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    return opened
