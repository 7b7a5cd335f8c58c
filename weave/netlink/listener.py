"""Sockets on which the kernel tells of changes, by multicast groups of netlink."""

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack, suppress

from weave.netlink.connection import NetlinkFailure
from weave.netlink.constants import AF_NETLINK, NETLINK_ADD_MEMBERSHIP, SOL_NETLINK

NOTICE_BYTES = 1 << 16
"""For one `recv`; the kernel's notices have some hundred octets."""
BUFFER_BYTES = 1 << 18
"""Room for thousands of notices; what does not fit is a reason to look, so more would gain nothing."""


def listen(protocol: int, groups: Iterable[int], buffer: int = BUFFER_BYTES,
           subject: str = "listen to what changes in the kernel") -> socket.socket:
    """Return a socket, not blocking, that hears these groups in the network namespace of the calling thread.

    What does not fit its buffer (octets) is lost, and then `recv` fails once with ENOBUFS. Where there is no such
    socket, `NetlinkFailure` says so of the subject.
    """
    with ExitStack() as undo:
        try:
            listener = undo.enter_context(socket.socket(
                AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            listener.bind((0, 0))
            for group in groups:
                listener.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError as exc:
            raise NetlinkFailure(subject, exc.errno or 0) from exc
        undo.pop_all()
    return listener


def drain(listener: socket.socket) -> None:
    """Throw away what is waiting: whoever heard of one change looks at everything."""
    with suppress(BlockingIOError):
        while True:
            try:
                listener.recv(NOTICE_BYTES)
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    raise
