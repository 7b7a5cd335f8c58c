"""Memory that the kernel empties without a copy of ours: a sealed unit and the call that sends it as fragments.

    slot    headers  [h0][h1][h2]...            one array, 16 octets each
            payload  [ c0 ][ c1 ][ c2 ]...      one array: the sealed unit lies in it in one piece
            iovec    h0 c0 h1 c1 h2 c2 ...      laid out once for one size of datagram

One `sendmsg` with UDP_SEGMENT sends a unit as fragments. ctypes, because Python's own calls take a list of buffers for
each datagram.
"""

import ctypes
from array import array
from struct import Struct

from weave.net.sleeve import limits
from weave.net.sleeve.wire import HEADER_BYTES, Kind

UDP_SEGMENT, UDP_GRO, SOL_UDP = 103, 104, 17
MSG_DONTWAIT = 0x40
CONTROL_BYTES = 24
_SEGMENT = Struct("=QiiH6x")
FRAGMENTS_MOST = limits.MAX_FRAGMENTS


class Msghdr(ctypes.Structure):
    """The kernel's `struct msghdr`."""

    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


libc = ctypes.CDLL(None, use_errno=True)
_sendmsg = libc.sendmsg
_sendmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_sendmsg.restype = ctypes.c_ssize_t
PAIR_WORDS = 4
"""Of one fragment in an iovec: address and length of its header, address and length of its payload."""
PAIR_BYTES = 8 * PAIR_WORDS


class Name:
    """A socket address where the kernel can read it."""

    __slots__ = ("at", "length", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = ctypes.create_string_buffer(raw, len(raw))
        self.at = ctypes.addressof(self.raw)
        self.length = len(raw)


class Area:
    """Headers and payload of the fragments of one unit, and the iovec over both, for one size of datagram."""

    __slots__ = ("_iovec", "_keep", "_laid_out", "_payload_bytes", "headers", "headers_at", "iovec_at", "payload",
                 "payload_at", "room", "size")

    def __init__(self, size: int, payload_bytes: int) -> None:
        headers, payload = bytearray(FRAGMENTS_MOST * HEADER_BYTES), bytearray(payload_bytes)
        self.headers, self.payload = memoryview(headers), memoryview(payload)
        iovec = (ctypes.c_uint64 * (PAIR_WORDS * FRAGMENTS_MOST))()
        self._keep = [(ctypes.c_char * len(area)).from_buffer(area) for area in (headers, payload)]
        self.headers_at, self.payload_at = map(ctypes.addressof, self._keep)
        self._payload_bytes = payload_bytes
        self._iovec = memoryview(iovec).cast("B").cast("Q")
        self.iovec_at = ctypes.addressof(iovec)
        self.lay_out(size)

    def lay_out(self, size: int) -> None:
        """Make it fit datagrams of this size."""
        self.size, self.room, self._laid_out = size, size - HEADER_BYTES, 0

    def lay_out_for(self, count: int) -> None:
        """Have the iovec of the first `count` fragments ready; most units have few, so it is done when needed."""
        if count <= self._laid_out:
            return
        words: list[int] = []
        for index in range(self._laid_out, count):
            at = min(index * self.room, self._payload_bytes)
            words += (self.headers_at + index * HEADER_BYTES, HEADER_BYTES,
                      self.payload_at + at, min(self.room, self._payload_bytes - at))
        first = self._laid_out * PAIR_WORDS
        self._iovec[first:first + len(words)] = array("Q", words)
        self._laid_out = count


class Slot(Area):
    """Room for one unit to be sent."""

    __slots__ = ("_address", "_control", "_counters", "_filled", "_firsts", "_message", "_receivers", "key", "octets",
                 "total")

    def __init__(self, size: int) -> None:
        super().__init__(size, limits.MAX_UNIT)
        words = self.headers.cast("I")
        self._firsts, self._receivers = words[0::4], words[1::4]
        self._counters = self.headers.cast("Q")[1::2]
        self._filled = 0, 0
        """Number of fragments and receiver that the headers say, whatever the counter."""
        self._control = bytearray(CONTROL_BYTES)
        self._message = Msghdr()
        self._message.control = ctypes.addressof((ctypes.c_char * CONTROL_BYTES).from_buffer(self._control))
        self._address = ctypes.addressof(self._message)
        self.key: tuple[int, int] | None = None
        """Receiver and counter of the unit that lies here."""
        self.octets = 0
        self.total = 0

    def fill(self, receiver: int, counter: int, octets: int, total: int) -> None:
        """Write the headers of a unit of `octets` sealed octets."""
        self.lay_out_for(total)
        if self._filled != (total, receiver):
            self._filled = total, receiver
            self._firsts[:total] = _firsts(total)
            self._receivers[:total] = array("I", (receiver,)) * total
        self._counters[:total] = array("Q", (counter,)) * total
        self.octets, self.total = octets, total

    def send(self, descriptor: int, name: Name) -> int:
        """Send the unit as its fragments; return 0 or an error number."""
        message, total, room = self._message, self.total, self.room
        message.name, message.namelen = name.at, name.length
        last = total * PAIR_WORDS - 1
        self._iovec[last] = self.octets - (total - 1) * room
        _SEGMENT.pack_into(self._control, 0, 18, SOL_UDP, UDP_SEGMENT, self.size)
        try:
            if total <= limits.MAX_SEGMENTS and self.octets + total * HEADER_BYTES <= limits.MAX_DATAGRAM:
                return self._send(descriptor, 0, total)
            most = min(limits.MAX_SEGMENTS, limits.MAX_DATAGRAM // self.size)
            for first in range(0, total, most):
                if error := self._send(descriptor, first, min(most, total - first)):
                    return error
            return 0
        finally:
            self._iovec[last] = min(room, self._payload_bytes - (total - 1) * room)

    def _send(self, descriptor: int, first: int, count: int) -> int:
        message = self._message
        message.iov, message.iovlen = self.iovec_at + first * PAIR_BYTES, 2 * count
        message.controllen = CONTROL_BYTES if count > 1 else 0
        return ctypes.get_errno() if _sendmsg(descriptor, self._address, MSG_DONTWAIT) < 0 else 0

    def fragment(self, index: int) -> bytes:
        """Return one datagram of the unit."""
        at = index * self.room
        return (bytes(self.headers[index * HEADER_BYTES:(index + 1) * HEADER_BYTES])
                + bytes(self.payload[at:min(at + self.room, self.octets)]))


_FIRSTS: dict[int, "array[int]"] = {}


def _firsts(total: int) -> "array[int]":
    """Return the first header word of every fragment of a unit: kind, number of fragments, index."""
    found = _FIRSTS.get(total)
    if found is None:
        found = _FIRSTS[total] = array("I", [Kind.DATA | total << 8 | index << 16 for index in range(total)])
    return found
