"""Memory that the kernel fills and empties without a copy of ours, and the two calls that do it.

    slot    headers  [h0][h1][h2]...            one array, 16 octets each
            payload  [ c0 ][ c1 ][ c2 ]...      one array: the sealed unit lies in it in one piece
            iovec    h0 c0 h1 c1 h2 c2 ...      laid out once for one size of datagram

One `sendmsg` with UDP_SEGMENT sends a unit as fragments; one `recvmsg` with UDP_GRO scatters fragments so that their
payload is in one piece again, ready to be opened where it lies. ctypes, because Python's own calls take a list of
buffers for each datagram.
"""

import ctypes
from array import array
from struct import Struct

from weave.net.sleeve import limits
from weave.net.sleeve.wire import HEADER_BYTES, Kind

UDP_SEGMENT, UDP_GRO, SOL_UDP = 103, 104, 17
MSG_DONTWAIT = 0x40
_NAME_BYTES = 28
_CONTROL_BYTES = 24
_SEGMENT = Struct("=QiiH6x")
_FRAGMENTS_MOST = limits.MAX_FRAGMENTS
_PAYLOAD = limits.MAX_DATAGRAM + limits.MAX_UNIT
"""Room for a whole datagram behind the beginning of a unit."""


class _Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


_libc = ctypes.CDLL(None, use_errno=True)
sendmsg = _libc.sendmsg
sendmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
sendmsg.restype = ctypes.c_ssize_t
recvmsg = _libc.recvmsg
recvmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
recvmsg.restype = ctypes.c_ssize_t
_IOVEC_WORDS = 4
"""Of one fragment: address and length of its header, address and length of its payload."""
_IOVEC_BYTES = 8 * _IOVEC_WORDS


class Name:
    """A socket address where the kernel can read it."""

    __slots__ = ("at", "length", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = ctypes.create_string_buffer(raw, len(raw))
        self.at = ctypes.addressof(self.raw)
        self.length = len(raw)


class Slot:
    """Room for one unit, laid out for one size of datagram."""

    __slots__ = ("_control", "_control_words", "_counters", "_firsts", "_headers_at", "_iovec", "_iovec_at", "_keep",
                 "_laid_out", "_message", "_name", "_payload_at", "_receivers", "headers", "key", "octets", "payload",
                 "room", "size", "total")

    def __init__(self, size: int) -> None:
        headers, payload = bytearray(_FRAGMENTS_MOST * HEADER_BYTES), bytearray(_PAYLOAD)
        self.headers = memoryview(headers)
        self.payload = memoryview(payload)
        words = self.headers.cast("I")
        self._firsts, self._receivers = words[0::4], words[1::4]
        self._counters = self.headers.cast("Q")[1::2]
        self._control = bytearray(_CONTROL_BYTES)
        self._control_words = memoryview(self._control).cast("I")
        self._name = (ctypes.c_char * _NAME_BYTES)()
        self._keep = [(ctypes.c_char * len(area)).from_buffer(area) for area in (headers, payload, self._control)]
        self._headers_at, self._payload_at = (ctypes.addressof(area) for area in self._keep[:2])
        iovec = (ctypes.c_uint64 * (_IOVEC_WORDS * _FRAGMENTS_MOST))()
        self._iovec = memoryview(iovec).cast("B").cast("Q")
        self._iovec_at = ctypes.addressof(iovec)
        self._message = _Msghdr()
        self._message.control = ctypes.addressof(self._keep[2])
        self.key: tuple[int, int] | None = None
        """Receiver and counter of the unit that lies here."""
        self.octets = 0
        self.total = 0
        self.lay_out(size)

    def lay_out(self, size: int) -> None:
        """Make the slot fit datagrams of this size."""
        self.size, self.room, self._laid_out = size, size - HEADER_BYTES, 0

    def _lay_out(self, count: int) -> None:
        """Have the iovec of the first `count` fragments ready; most units have few, so it is done when needed."""
        words: list[int] = []
        for index in range(self._laid_out, count):
            at = min(index * self.room, _PAYLOAD)
            words += (self._headers_at + index * HEADER_BYTES, HEADER_BYTES,
                      self._payload_at + at, min(self.room, _PAYLOAD - at))
        first = self._laid_out * _IOVEC_WORDS
        self._iovec[first:first + len(words)] = array("Q", words)
        self._laid_out = count

    # -- sending ------------------------------------------------------------------------------------------------

    def fill(self, receiver: int, counter: int, octets: int, total: int) -> None:
        """Write the headers of a unit of `octets` sealed octets."""
        if total > self._laid_out:
            self._lay_out(total)
        self._firsts[:total] = _firsts(total)
        self._receivers[:total] = array("I", (receiver,)) * total
        self._counters[:total] = array("Q", (counter,)) * total
        self.octets, self.total, self.key = octets, total, (receiver, counter)

    def send(self, descriptor: int, name: Name) -> int:
        """Send the unit as its fragments; return 0 or an error number."""
        message, most = self._message, self.total
        if most > limits.MAX_SEGMENTS or self.octets + most * HEADER_BYTES > limits.MAX_DATAGRAM:
            most = min(limits.MAX_SEGMENTS, limits.MAX_DATAGRAM // self.size)
        message.name, message.namelen = name.at, name.length
        last = self.total * _IOVEC_WORDS - 1
        self._iovec[last] = self.octets - (self.total - 1) * self.room
        _SEGMENT.pack_into(self._control, 0, 18, SOL_UDP, UDP_SEGMENT, self.size)
        error = 0
        for first in range(0, self.total, most):
            count = min(most, self.total - first)
            message.iov, message.iovlen = self._iovec_at + first * _IOVEC_BYTES, 2 * count
            message.controllen = _CONTROL_BYTES if count > 1 else 0
            if sendmsg(descriptor, ctypes.addressof(message), MSG_DONTWAIT) < 0:
                error = ctypes.get_errno()
                break
        self._iovec[last] = self.room
        return error

    def fragment(self, index: int) -> bytes:
        """Return one datagram of the unit."""
        at = index * self.room
        return (bytes(self.headers[index * HEADER_BYTES:(index + 1) * HEADER_BYTES])
                + bytes(self.payload[at:min(at + self.room, self.octets)]))

    # -- receiving ----------------------------------------------------------------------------------------------

    def receive(self, descriptor: int, first: int) -> tuple[int, int]:
        """Take in one datagram, or several of one size, from fragment `first` on; return octets and their size.

        Octets are -1 where there is none. Where the size is not ours, `linear` gives what came in one piece.
        """
        message = self._message
        message.name, message.namelen = ctypes.addressof(self._name), _NAME_BYTES
        if self._laid_out < _FRAGMENTS_MOST:
            self._lay_out(_FRAGMENTS_MOST)
        message.iov = self._iovec_at + first * _IOVEC_BYTES
        message.iovlen = 2 * (_FRAGMENTS_MOST - first)
        message.controllen = _CONTROL_BYTES
        octets = recvmsg(descriptor, ctypes.addressof(message), MSG_DONTWAIT)
        if octets < 0:
            return -1, 0
        has_size = message.controllen >= 20 and self._control_words[3] == UDP_GRO
        return octets, self._control_words[4] if has_size else octets

    @property
    def sender(self) -> bytes:
        """Return the socket address that the last datagram came from."""
        return self._name.raw[:self._message.namelen]

    def continues(self, first: int, count: int) -> bool:
        """Say whether fragments from `first` on are those of the unit of fragment 0, in order."""
        word = self._firsts[0]
        total = word >> 8 & 0xFF
        if first == 0 and count == 1:
            return word & 0xFF_00FF == Kind.DATA and total > 0
        return (word & 0xFF_00FF == Kind.DATA and first + count <= total
                and self._firsts[first:first + count].tobytes() == _firsts(total)[first:first + count].tobytes()
                and self._same(self._receivers, first, count) and self._same(self._counters, first, count))

    def _same(self, column: memoryview, first: int, count: int) -> bool:
        return column[first:first + count].tolist().count(column[0]) == count

    def head(self) -> tuple[int, int, int]:
        """Return receiver, counter and number of fragments of the unit of fragment 0."""
        return self._receivers[0], self._counters[0], self._firsts[0] >> 8 & 0xFF

    def linear(self, first: int, octets: int) -> bytes:
        """Return what the last call brought, as one piece."""
        parts = []
        for index in range(first, _FRAGMENTS_MOST):
            if octets <= 0:
                break
            at = index * self.room
            parts.append(self.headers[index * HEADER_BYTES:index * HEADER_BYTES + min(octets, HEADER_BYTES)])
            octets -= HEADER_BYTES
            if octets > 0:
                parts.append(self.payload[at:at + min(octets, self.room)])
                octets -= self.room
        return b"".join(parts)


_FIRSTS: dict[int, "array[int]"] = {}


def _firsts(total: int) -> "array[int]":
    """Return the first header word of every fragment of a unit: kind, number of fragments, index."""
    found = _FIRSTS.get(total)
    if found is None:
        found = _FIRSTS[total] = array("I", [Kind.DATA | total << 8 | index << 16 for index in range(total)])
    return found
