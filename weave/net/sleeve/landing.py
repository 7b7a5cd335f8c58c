"""Memory that the kernel fills without a copy of ours: where datagrams land, in one of two ways.

    joined    one `recvmsg`; the kernel joined the fragments of a unit (UDP_GRO) and scatters them over h0 c0 h1 c1 ...
    many      one `recvmmsg`; each datagram is by itself and goes to its own h c, what exceeds it into a spill

Either way headers lie beside headers and payload beside payload, so that a unit that came in order is in one piece and
is opened where it lies. `joined` suits bulk where the kernel joins; `many` suits everything else: small frames, devices
and kernels that do not join. Which of the two is up to the one who asks.
"""

import ctypes
from array import array
from struct import Struct

from weave.net.sleeve import limits
from weave.net.sleeve.buffers import (
    CONTROL_BYTES,
    FRAGMENTS_MOST,
    MSG_DONTWAIT,
    PAIR_BYTES,
    UDP_GRO,
    Area,
    Msghdr,
    libc,
)
from weave.net.sleeve.wire import HEADER, HEADER_BYTES

_NAME_BYTES = 32
"""Room for one; a sockaddr_in6 has 28."""
_CONTROL_LEAST = 20
"""A control message with the size of the joined datagrams."""


class _Mmsghdr(ctypes.Structure):
    _fields_ = [("message", Msghdr), ("octets", ctypes.c_uint32)]


_recvmsg = libc.recvmsg
_recvmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_recvmsg.restype = ctypes.c_ssize_t
_recvmmsg = libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_MMSGHDR_BYTES = ctypes.sizeof(_Mmsghdr)
_OCTETS_WORD = _Mmsghdr.octets.offset // 4
_CONTROLLEN_WORD = Msghdr.controllen.offset // 4
_TRIPLE_WORDS = 6
"""Of one datagram in an iovec: address and length of its header, of its payload, and of the spill."""
_header = HEADER.unpack_from


class Landing(Area):
    """Room for what arrives, up to the fragments of one large unit."""

    __slots__ = ("_array", "_array_at", "_control_lengths", "_controls", "_dirty", "_joined", "_joined_at",
                 "_joined_words", "_name_bytes", "_names", "_octets", "_pristine", "_sender", "_spill", "_spill_at",
                 "_triples", "_triples_at", "at_once", "most")

    def __init__(self, size: int, name_bytes: int) -> None:
        self._name_bytes = name_bytes
        self.at_once = FRAGMENTS_MOST
        """How many are received at a time by themselves; fewer once it was seen that the kernel joins any."""
        self._sender = Struct(f"{name_bytes}s").unpack_from
        self._triples, self._triples_at = _memory(8 * _TRIPLE_WORDS * FRAGMENTS_MOST)
        self._spill, self._spill_at = _memory(limits.SPILLS * limits.MAX_DATAGRAM)
        controls, controls_at = _memory(CONTROL_BYTES * FRAGMENTS_MOST)
        self._controls = controls.cast("I")
        self._names, names_at = _memory(_NAME_BYTES * FRAGMENTS_MOST)
        messages = (_Mmsghdr * FRAGMENTS_MOST)()
        for index in range(FRAGMENTS_MOST):
            messages[index].message = Msghdr(
                names_at + index * _NAME_BYTES, name_bytes, self._triples_at + index * 8 * _TRIPLE_WORDS, 3,
                controls_at + index * CONTROL_BYTES, CONTROL_BYTES, 0)
        self._array, self._array_at = memoryview(messages).cast("B").cast("I"), ctypes.addressof(messages)
        self._pristine = memoryview(self._array.tobytes()).cast("I")
        self._octets = self._array[_OCTETS_WORD::_MMSGHDR_BYTES // 4]
        self._control_lengths = self._array[_CONTROLLEN_WORD::_MMSGHDR_BYTES // 4]
        self._dirty = 0
        """Messages of the array that the kernel wrote into since they were pristine."""
        self._joined = Msghdr(names_at, name_bytes, 0, 0, controls_at, CONTROL_BYTES, 0)
        self._joined_at = ctypes.addressof(self._joined)
        self._joined_words = memoryview(self._joined).cast("B").cast("Q")
        super().__init__(size, limits.MAX_DATAGRAM + limits.MAX_UNIT)

    def lay_out(self, size: int) -> None:
        """Make it fit datagrams of this size."""
        super().lay_out(size)
        self.most = min(FRAGMENTS_MOST, self._payload_bytes // self.room)
        """Fragments that there is room for."""
        self.lay_out_for(self.most)
        words = self._triples.cast("Q")
        for index in range(self.most):
            words[index * _TRIPLE_WORDS:(index + 1) * _TRIPLE_WORDS] = array("Q", (
                self.headers_at + index * HEADER_BYTES, HEADER_BYTES, self.payload_at + index * self.room, self.room,
                self._spill_at + index % limits.SPILLS * limits.MAX_DATAGRAM, limits.MAX_DATAGRAM))

    # -- one datagram, or several that the kernel joined ----------------------------------------------------------

    def receive_joined(self, descriptor: int, first: int) -> tuple[int, int]:
        """Take in what waits first, from fragment `first` on; return its octets and the size of what it consists of.

        Octets are -1 where nothing waits. Where the size is not ours, `linear` gives what came in one piece.
        """
        words = self._joined_words
        words[1], words[5] = self._name_bytes, CONTROL_BYTES
        words[2], words[3] = self.iovec_at + first * PAIR_BYTES, 2 * (self.most - first)
        octets = _recvmsg(descriptor, self._joined_at, MSG_DONTWAIT)
        if octets < 0:
            return -1, 0
        has_size = words[5] >= _CONTROL_LEAST and self._controls[3] == UDP_GRO
        return octets, self._controls[4] if has_size else octets

    def linear(self, first: int, octets: int) -> bytes:
        """Return what that brought, as one piece."""
        parts = []
        for index in range(first, self.most):
            if octets <= 0:
                break
            parts.append(self.headers[index * HEADER_BYTES:index * HEADER_BYTES + min(octets, HEADER_BYTES)])
            octets -= HEADER_BYTES
            if octets > 0:
                at = index * self.room
                parts.append(self.payload[at:at + min(octets, self.room)])
                octets -= self.room
        return b"".join(parts)

    # -- many datagrams, each by itself --------------------------------------------------------------------------

    def receive_many(self, descriptor: int, first: int) -> int:
        """Take in what waits, up to `at_once`, from place `first` on; return how many datagrams there are."""
        room = min(self.most - first, self.at_once)
        dirty, at = self._dirty * _MMSGHDR_BYTES // 4, first * _MMSGHDR_BYTES
        self._array[:dirty] = self._pristine[:dirty]
        came = _recvmmsg(descriptor, self._array_at + at, room, MSG_DONTWAIT, None)
        if came <= 0:
            self._dirty = 0
            return 0
        self._dirty = first + came
        return int(came)

    def octets(self, at: int) -> int:
        """Return the length of the datagram at a place."""
        return self._octets[at]

    def are_full(self, first: int, end: int) -> bool:
        """Say whether the datagrams of these places have just the size that this is laid out for."""
        return self._octets[first:end].tolist().count(self.size) == end - first

    def are_one_run(self, first: int, count: int) -> bool:
        """Say whether these came from one sender, each by itself, all full but the last, and that no longer."""
        last = first + count - 1
        if not self.are_full(first, last) or self._octets[last] > self.size:
            return False
        if any(self._control_lengths[first:last + 1].tolist()):
            return False
        names = bytes(self._names[first * _NAME_BYTES:(last + 1) * _NAME_BYTES])
        return names == names[:_NAME_BYTES] * count

    def joined_size(self, at: int) -> int:
        """Return the size of what the datagram at a place consists of: its own, unless the kernel joined several."""
        control = at * CONTROL_BYTES // 4
        has_size = self._control_lengths[at] >= _CONTROL_LEAST and self._controls[control + 3] == UDP_GRO
        return self._controls[control + 4] if has_size else self._octets[at]

    def datagram(self, at: int) -> bytes:
        """Return the datagram at a place; one that spilled may not be whole if more than `SPILLS` were taken in."""
        octets, place, spill = self._octets[at], at * self.room, at % limits.SPILLS * limits.MAX_DATAGRAM
        return (bytes(self.headers[at * HEADER_BYTES:at * HEADER_BYTES + min(octets, HEADER_BYTES)])
                + bytes(self.payload[place:place + max(0, min(octets - HEADER_BYTES, self.room))])
                + bytes(self._spill[spill:spill + max(0, octets - self.size)]))

    def is_whole(self, at: int, end: int) -> bool:
        """Say whether of the datagrams up to a place none spilled over what this one did."""
        return not any(self._octets[later] > self.size for later in range(at + limits.SPILLS, end, limits.SPILLS))

    def move(self, at: int, count: int) -> None:
        """Move some datagrams to the beginning."""
        if at:
            self.headers[:count * HEADER_BYTES] = self.headers[at * HEADER_BYTES:(at + count) * HEADER_BYTES]
            self.payload[:count * self.room] = self.payload[at * self.room:(at + count) * self.room]

    # -- either way ----------------------------------------------------------------------------------------------

    def header(self, at: int) -> tuple[int, int, int, int, int]:
        """Return kind, total, index, receiver and counter of the datagram at a place."""
        return _header(self.headers, at * HEADER_BYTES)

    def sender(self, at: int) -> bytes:
        """Return the socket address that the datagram at a place came from; what was joined is at place 0."""
        name: bytes = self._sender(self._names, at * _NAME_BYTES)[0]
        return name


def _memory(octets: int) -> tuple[memoryview, int]:
    """Return memory that stays where it is, and where that is."""
    area = (ctypes.c_char * octets)()
    return memoryview(area).cast("B"), ctypes.addressof(area)
