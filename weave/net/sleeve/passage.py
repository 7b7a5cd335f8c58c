"""Relayed datagrams as they lie in a landing: what is for others goes on from there, what is for us is opened. Hot.

    headers  [ r ][ r ]...              the first 16 octets of the relay header
    payload  [ r h0 c0 ][ r h1 c1 ]...  its last 4, then the fragment that is relayed

A run of them with one and the same relay header from one sender is judged, passed on and put together at once. Whatever
does not fit that picture is left to the caller, who takes it one by one; nothing was done with it then.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from weave.net.sleeve import limits
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.landing import Landing
from weave.net.sleeve.peer import Inbox
from weave.net.sleeve.session import unit_header
from weave.net.sleeve.udp import Sockets
from weave.net.sleeve.ways import FAR
from weave.net.sleeve.wire import HEADER, HEADER_BYTES, RELAY_BYTES, Address, Kind, helper_of

_FRAGMENT, _RELAYED = int(Kind.DATA), int(Kind.RELAYED)
_BOTH_BYTES = RELAY_BYTES + HEADER_BYTES
_REST = RELAY_BYTES - HEADER_BYTES
"""Octets of the relay header that lie before the fragment in the payload."""
_HOPS, _ZEROS = 1, slice(2, 4)
_header = HEADER.unpack_from
Open = Callable[[Inbox | None, int, bytes, bytes, Address, float], bool]
"""Open a unit (session, counter, sealed, header, from where, now); say whether it authenticates."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """The first fragments of a unit; the others are about to come."""

    receiver: int
    counter: int
    total: int
    have: int
    size: int
    """Of each fragment, without its header."""
    address: Address
    sealed: bytes


class Passage:
    """Own what comes to one socket through others, or goes through us to others."""

    def __init__(self, core: SleeveCore, sockets: Sockets, landing: Landing, counters: Counter[str], open_unit: Open,
                 fragment: Callable[[bytes, Address, float], None]) -> None:
        self.until = FAR
        """When the beginning of a unit is let go for nothing came after it."""
        self._core = core
        self._sockets = sockets
        self._landing = landing
        self._counters = counters
        self._open = open_unit
        self._fragment = fragment
        self._begun: _Begun | None = None
        self._laid_out = 0
        self._full: list[memoryview] = []
        """The payload of a full fragment at each place, as the landing is laid out for."""

    def run(self, at: int, end: int) -> int:
        """Return how many of the datagrams that came singly and lie up to `end` may be taken at once; 0 for none."""
        landing, size = self._landing, self._landing.size
        octets = landing.octets(at)
        if octets > size or landing.joined_size(at) != octets:
            return 0
        kind, total, index, _, _ = self._inner(at) if octets > _BOTH_BYTES else (_RELAYED, 0, 0, 0, 0)
        if kind != _FRAGMENT or index + 1 >= total:
            return 1
        if octets < size:
            return 0  # full, but of another size: it is for the caller to see that
        count = min(total - index, end - at)
        return count if landing.are_one_run(at, count) else 1

    def take(self, first: int, count: int, last: int, named: int, now: float) -> bool:
        """Deal with relayed datagrams, full ones and a last one of so many octets; say whether they suit each other.

        The place `named` says where they came from.
        """
        landing = self._landing
        if last <= RELAY_BYTES or landing.headers[first * HEADER_BYTES] != _RELAYED:
            return False
        head = self._common_head(first, count)
        if head is None:
            return False
        where = self._core.relaying.judge(head, self._sockets.address(landing.sender(named)), count)
        if where is None:
            return True
        if helper_of(where) is None:
            return self._pass_on(first, count, last, head[_HOPS], where)
        return self._put_together(first, count, last, where, now)

    def let_go(self, now: float) -> None:
        """Move the beginning of a unit that does not go on to where the rest is asked for."""
        begun, self._begun, self.until = self._begun, None, FAR
        if begun is None:
            return
        for index in range(begun.have):
            header = HEADER.pack(_FRAGMENT, begun.total, index, begun.receiver, begun.counter)
            self._fragment(header + begun.sealed[index * begun.size:(index + 1) * begun.size], begun.address, now)

    def _common_head(self, first: int, count: int) -> bytes | None:
        """Return the relay header of all datagrams and the first octet of what follows; None where they differ.

        Or where a header says what we do not know, for we pass on nothing of that.
        """
        landing, room = self._landing, self._landing.room
        begin, end = first * room, (first + count - 1) * room
        heads = bytes(landing.headers[first * HEADER_BYTES:(first + count) * HEADER_BYTES])
        head, rest = heads[:HEADER_BYTES], bytes(landing.payload[begin:begin + _REST + 1])
        if count > 1:
            if heads != head * count:
                return None
            for at in range(_REST + 1):
                if bytes(landing.payload[begin + at:end + at + 1:room]) != rest[at:at + 1] * count:
                    return None
        return None if head[_ZEROS] != b"\0\0" else head + rest

    def _pass_on(self, first: int, count: int, last: int, hops: int, where: Address) -> bool:
        landing = self._landing
        place = self._sockets.places.get(where) or self._sockets.place(where)
        if place is None:
            return True
        hops_left = landing.headers[first * HEADER_BYTES + _HOPS:(first + count) * HEADER_BYTES:HEADER_BYTES]
        hops_left[:] = bytes((hops - 1,)) * count
        error = landing.send_places(place.descriptor, place.name, first, count, last - HEADER_BYTES)
        if not error:
            return True
        if error == errno.EAGAIN:
            # no room: more calls would find none either
            self._counters[f"relayed datagrams not sent: {os.strerror(error)}"] += count
            return True
        hops_left[:] = bytes((hops,)) * count
        return False

    def _put_together(self, first: int, count: int, last: int, address: Address, now: float) -> bool:
        landing, begun = self._landing, self._begun
        kind, total, index, receiver, counter = self._inner(first) if last > _BOTH_BYTES else (0, 0, 0, 0, 0)
        have, size = index + count, landing.size - _BOTH_BYTES
        if kind != _FRAGMENT or have > min(total, limits.MAX_FRAGMENTS) or (have < total and last != landing.size):
            return False
        if count > 1 and self._inner(first + count - 1) != (kind, total, have - 1, receiver, counter):
            return False
        pieces = self._pieces(first, count, last)
        if index:
            if begun is None or (begun.receiver, begun.counter, begun.total, begun.have, begun.size, begun.address) != (
                    receiver, counter, total, index, size, address):
                return False
            pieces.insert(0, begun.sealed)
        elif begun is not None:
            self.let_go(now)
        sealed = b"".join(pieces)
        if have < total:
            self._begun = _Begun(receiver, counter, total, have, size, address, sealed)
            self.until = now + limits.NACK_TAIL_S
            return True
        header = unit_header(receiver, counter, total)
        if not self._open(self._core.inboxes.get(receiver), counter, sealed, header, address, now):
            self.let_go(now)
            return False
        if index:
            self._begun, self.until = None, FAR
        return True

    def _inner(self, at: int) -> tuple[int, int, int, int, int]:
        return _header(self._landing.payload, at * self._landing.room + _REST)

    def _pieces(self, first: int, count: int, last: int) -> list[memoryview | bytes]:
        """Return the payload of the fragments."""
        payload, room, most = self._landing.payload, self._landing.room, self._landing.most
        if self._laid_out != room:
            self._laid_out = room
            self._full = [payload[at + RELAY_BYTES:at + room] for at in range(0, most * room, room)]
        pieces: list[memoryview | bytes] = [*self._full[first:first + count - 1]]
        at = (first + count - 1) * room + RELAY_BYTES
        pieces.append(payload[at:at + last - _BOTH_BYTES])
        return pieces
