"""Send netlink requests and wait for the kernel's answer, bounded in time.

rtnetlink does its work inside `sendmsg` and has the answer ready when that returns, so a blocking call inside a trio
task costs microseconds where a round through the loop costs fifty. What may hold the kernel's lock for long (removing
a veth waits for RCU) belongs in a thread; one thread at a time may use a connection.

A batch asks for one acknowledgement, that of its last message; failures are reported for each. A socket stays in the
network namespace in which it was made, whatever becomes of its thread.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import Self

from weave.errors import EnvironmentFailure
from weave.netlink.codec import HEADER, Message, Reply, read_done, read_error, split_datagram
from weave.netlink.constants import (
    AF_NETLINK,
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NETLINK_GET_STRICT_CHK,
    NETLINK_ROUTE,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    SOL_NETLINK,
)

ANSWER_DEADLINE_S = 5
"""Only a kernel whose rtnl lock is stuck lets us wait; the caller then tries again later."""
RECEIVE_BYTES = 1 << 18
"""The kernel sends dumps in pieces of at most 32 KiB; a single link can be larger."""
BATCH_MESSAGES = 256
"""Messages for one `sendmsg`: about 15 KB, and their errors fit the receive buffer should all of them fail."""
DUMP_ATTEMPTS = 5
"""A dump is taken again when the table changed under it."""
_TIMEVAL = Struct("@ll")

ADVICE = {
    errno.EPERM: "run the router as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
    errno.EACCES: "run the router as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
    errno.EOPNOTSUPP: "this kernel lacks the feature; load the modules bridge, veth and vxlan",
    errno.EPROTONOSUPPORT: "this kernel was built without it",
    errno.EAFNOSUPPORT: "this kernel runs without that address family; enable IPv6",
    errno.EADDRINUSE: "another overlay network or program uses that UDP port; stop it",
    errno.ENOBUFS: "the kernel is short of memory; it is tried again",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The kernel's no to one message of a batch."""

    index: int
    """Which message of the batch."""
    code: int
    reason: str
    """The kernel's own words, often empty."""


class NetlinkFailure(EnvironmentFailure):
    """The kernel refused a request; `code` is the errno."""

    def __init__(self, subject: str, code: int, reason: str = "") -> None:
        words = os.strerror(code) if code else "no answer"
        detail = f" ({reason})" if reason else ""
        advice = f"; {ADVICE[code]}" if code in ADVICE else ""
        super().__init__(f"cannot {subject}: {words}{detail}{advice}")
        self.code = code


class NetlinkOverrun(EnvironmentFailure):
    """Answers were lost: what the kernel holds is unknown until it is read again."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"cannot {subject}: answers of the kernel were lost; its state is read again")


class Netlink:
    """Own one netlink socket."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        """Open the socket in the network namespace of the calling thread."""
        self.sent = 0
        self.refused = 0
        self._sequence = 0
        try:
            self._socket = socket.socket(AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as exc:
            raise NetlinkFailure("open a netlink socket", exc.errno or 0) from exc
        try:
            self._socket.bind((0, 0))
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(ANSWER_DEADLINE_S, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        except OSError as exc:
            self._socket.close()
            raise NetlinkFailure("open a netlink socket", exc.errno or 0) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Return the number by which the kernel's notices name us as their cause."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, messages: Sequence[Message], subject: str | Callable[[int], str]) -> None:
        """Have all messages done; raise `NetlinkFailure` for the first refusal, the others are still tried.

        `subject` completes "cannot ...", for the whole batch or for the message of that index.
        """
        for refusal in self.attempt(messages):
            words = subject if isinstance(subject, str) else subject(refusal.index)
            raise NetlinkFailure(words, refusal.code, refusal.reason)

    def attempt(self, messages: Sequence[Message]) -> list[Refusal]:
        """Have all messages done, in order, and return what the kernel refused."""
        refusals: list[Refusal] = []
        for start in range(0, len(messages), BATCH_MESSAGES):
            refusals += self._attempt_batch(messages[start:start + BATCH_MESSAGES], start)
        self.sent += len(messages)
        self.refused += len(refusals)
        return refusals

    def transact(self, messages: Sequence[Message], subject: str) -> None:
        """Have all messages between the first and the last, which only enclose them, done, or none of them.

        The message before the last asks for the acknowledgement: nfnetlink has none for what encloses.
        """
        first = self._send(messages, NLM_F_ACK, asking=-2)
        last = first + len(messages) - 2
        self.sent += 1
        while True:
            for reply in self._receive(subject):
                if reply.kind != NLMSG_ERROR or not first <= reply.sequence <= last:
                    continue
                code, reason = read_error(reply)
                if code:
                    self.refused += 1
                    raise NetlinkFailure(subject, code, reason)
                if reply.sequence == last:
                    return

    def query(self, message: Message, subject: str) -> bytes:
        """Return the body of the one answer to a request."""
        first = self._send([message], 0)
        while True:
            for reply in self._receive(subject):
                if reply.sequence != first:
                    continue
                if reply.kind == NLMSG_ERROR:
                    code, reason = read_error(reply)
                    raise NetlinkFailure(subject, code, reason)
                return reply.body

    def dump(self, message: Message, subject: str) -> list[bytes]:
        """Return the bodies of all answers, of one consistent moment where the kernel can tell.

        A list that breaks off, or that the kernel cannot begin, is a `NetlinkFailure`: it is no shorter list.
        """
        bodies: list[bytes] = []
        for _ in range(DUMP_ATTEMPTS):
            bodies, torn = self._dump_once(message, subject)
            if not torn:
                break
        return bodies

    def _dump_once(self, message: Message, subject: str) -> tuple[list[bytes], bool]:
        first = self._send([message._replace(flags=message.flags | NLM_F_DUMP)], 0)
        bodies: list[bytes] = []
        torn = False
        while True:
            for reply in self._receive(subject):
                if reply.sequence != first:
                    continue
                torn = torn or bool(reply.flags & NLM_F_DUMP_INTR)
                if reply.kind == NLMSG_DONE:
                    code, reason = read_done(reply)
                    if code:
                        raise NetlinkFailure(subject, code, reason)
                    return bodies, torn
                if reply.kind == NLMSG_ERROR:
                    code, reason = read_error(reply)
                    raise NetlinkFailure(subject, code, reason)
                bodies.append(reply.body)

    def _attempt_batch(self, messages: Sequence[Message], offset: int) -> list[Refusal]:
        first = self._send(messages, NLM_F_ACK)
        last = first + len(messages) - 1
        refusals: list[Refusal] = []
        while True:
            for reply in self._receive("change the network"):
                if reply.kind != NLMSG_ERROR or not first <= reply.sequence <= last:
                    continue
                code, reason = read_error(reply)
                if code:
                    refusals.append(Refusal(offset + reply.sequence - first, code, reason))
                if reply.sequence == last:
                    return refusals

    def _send(self, messages: Sequence[Message], more_flags: int, asking: int = -1) -> int:
        """Send all messages in one datagram, one with more flags; return the sequence number of the first."""
        first = self._sequence + 1
        self._sequence += len(messages)
        marked = first + asking % len(messages)
        pieces = []
        for sequence, (kind, flags, body) in enumerate(messages, first):
            asked = flags | NLM_F_REQUEST | (more_flags if sequence == marked else 0)
            pieces.append(HEADER.pack(HEADER.size + len(body), kind, asked, sequence, 0))
            pieces.append(body)
            pieces.append(bytes(-len(body) & 3))
        try:
            self._socket.send(b"".join(pieces))
        except OSError as exc:
            raise NetlinkFailure("ask the kernel", exc.errno or 0) from exc
        return first

    def _receive(self, subject: str) -> list[Reply]:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError as exc:
            raise NetlinkFailure(f"{subject} within {ANSWER_DEADLINE_S} s", 0) from exc
        except OSError as exc:
            if exc.errno == errno.ENOBUFS:
                self._drain()
                raise NetlinkOverrun(subject) from exc
            raise NetlinkFailure(subject, exc.errno or 0) from exc
        replies = split_datagram(data)
        if any(reply.kind == NLMSG_OVERRUN for reply in replies):
            raise NetlinkOverrun(subject)
        return replies

    def _drain(self) -> None:
        """Throw away what is waiting: the kernel drops every further answer until an overrun socket is empty."""
        with suppress(OSError):
            while True:
                self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
