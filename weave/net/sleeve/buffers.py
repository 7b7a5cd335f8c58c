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
IOVEC_BYTES = 16
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


class Burst:
    """The call that sends fragments as they lie in an iovec, however many there are."""

    __slots__ = ("_address", "_control", "_message", "_vectors")

    def __init__(self, vectors: int) -> None:
        self._vectors = vectors
        """Entries of the iovec for each fragment."""
        self._control = bytearray(CONTROL_BYTES)
        self._message = Msghdr()
        self._message.control = ctypes.addressof((ctypes.c_char * CONTROL_BYTES).from_buffer(self._control))
        self._address = ctypes.addressof(self._message)

    def send(self, descriptor: int, name: Name, iovec_at: int, count: int, size: int, octets: int) -> int:
        """Send fragments of `size` octets each but the last, `octets` altogether; return 0 or an error number."""
        message = self._message
        message.name, message.namelen = name.at, name.length
        _SEGMENT.pack_into(self._control, 0, 18, SOL_UDP, UDP_SEGMENT, size)
        if count <= limits.MAX_SEGMENTS and octets <= limits.MAX_DATAGRAM:
            return self._send(descriptor, iovec_at, count)
        most = min(limits.MAX_SEGMENTS, limits.MAX_DATAGRAM // size)
        for first in range(0, count, most):
            at = iovec_at + first * self._vectors * IOVEC_BYTES
            if error := self._send(descriptor, at, min(most, count - first)):
                return error
        return 0

    def _send(self, descriptor: int, iovec_at: int, count: int) -> int:
        message = self._message
        message.iov, message.iovlen = iovec_at, self._vectors * count
        message.controllen = CONTROL_BYTES if count > 1 else 0
        return ctypes.get_errno() if _sendmsg(descriptor, self._address, MSG_DONTWAIT) < 0 else 0


class Area:
    """Headers and payload of the fragments of one unit, and the iovec over both, for one size of datagram."""

    __slots__ = ("_burst", "_keep", "_laid_out", "_payload_bytes", "headers", "headers_at", "iovec", "iovec_at",
                 "payload", "payload_at", "room", "size")

    def __init__(self, size: int, payload_bytes: int) -> None:
        headers, payload = bytearray(FRAGMENTS_MOST * HEADER_BYTES), bytearray(payload_bytes)
        self.headers, self.payload = memoryview(headers), memoryview(payload)
        iovec = (ctypes.c_uint64 * (PAIR_WORDS * FRAGMENTS_MOST))()
        self._keep = [(ctypes.c_char * len(area)).from_buffer(area) for area in (headers, payload)]
        self.headers_at, self.payload_at = map(ctypes.addressof, self._keep)
        self._payload_bytes = payload_bytes
        self._burst = Burst(PAIR_BYTES // IOVEC_BYTES)
        self.iovec = memoryview(iovec).cast("B").cast("Q")
        """As words; laid out as far as `lay_out_for` was asked."""
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
        self.iovec[first:first + len(words)] = array("Q", words)
        self._laid_out = count

    def send_places(self, descriptor: int, name: Name, first: int, count: int, last: int) -> int:
        """Send what lies at some places, with `last` octets of payload at the last; return 0 or an error number."""
        end, before = first + count, (count - 1) * self.size
        word = end * PAIR_WORDS - 1
        self.iovec[word] = last
        try:
            return self._burst.send(descriptor, name, self.iovec_at + first * PAIR_BYTES, count, self.size,
                                    before + HEADER_BYTES + last)
        finally:
            self.iovec[word] = min(self.room, self._payload_bytes - (end - 1) * self.room)


class Slot(Area):
    """Room for one unit to be sent."""

    __slots__ = ("_counters", "_filled", "_firsts", "_receivers", "key", "octets", "total")

    def __init__(self, size: int) -> None:
        super().__init__(size, limits.MAX_UNIT)
        words = self.headers.cast("I")
        self._firsts, self._receivers = words[0::4], words[1::4]
        self._counters = self.headers.cast("Q")[1::2]
        self._filled = 0, 0
        """Number of fragments and receiver that the headers say, whatever the counter."""
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
        return self.send_places(descriptor, name, 0, self.total, self.octets - (self.total - 1) * self.room)

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
