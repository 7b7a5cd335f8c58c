"""A sealed unit that goes through a helper: one call sends its fragments, each with the relay header before it.

    iovec    r h0 c0 r h1 c1 ...     r is the same for all and lies here; header and payload lie in the slot

There is one iovec for all slots, filled in anew for each unit from that of its slot: this takes 2 microseconds, and
spares each of the many slots one that it hardly ever needs.
"""

import ctypes
from array import array

from weave.net.sleeve.buffers import FRAGMENTS_MOST, IOVEC_BYTES, PAIR_WORDS, Burst, Name, Slot
from weave.net.sleeve.wire import HEADER_BYTES, RELAY_BYTES

_WORDS = 6
"""Of one fragment in the iovec: address and length of the relay header, of its own, and of its payload."""


class Envelope:
    """What goes around the fragments of a unit."""

    def __init__(self) -> None:
        self._head = bytearray(RELAY_BYTES)
        iovec = (ctypes.c_uint64 * (_WORDS * FRAGMENTS_MOST))()
        self._iovec = memoryview(iovec).cast("B").cast("Q")
        self._iovec_at = ctypes.addressof(iovec)
        head_at = ctypes.addressof((ctypes.c_char * RELAY_BYTES).from_buffer(self._head))
        self._iovec[:] = array("Q", (head_at, RELAY_BYTES, 0, HEADER_BYTES, 0, 0)) * FRAGMENTS_MOST
        self._burst = Burst(_WORDS * 8 // IOVEC_BYTES)

    def send(self, slot: Slot, head: bytes, descriptor: int, name: Name) -> int:
        """Send the unit in a slot with this relay header before each fragment; return 0 or an error number."""
        total, words, lies = slot.total, self._iovec, slot.iovec
        end, lies_end = total * _WORDS, total * PAIR_WORDS
        self._head[:] = head
        words[2:end:_WORDS] = lies[0:lies_end:PAIR_WORDS]
        words[4:end:_WORDS] = lies[2:lies_end:PAIR_WORDS]
        words[5:end:_WORDS] = lies[3:lies_end:PAIR_WORDS]
        words[end - 1] = slot.octets - (total - 1) * slot.room
        return self._burst.send(descriptor, name, self._iovec_at, total, RELAY_BYTES + slot.size,
                                slot.octets + total * (RELAY_BYTES + HEADER_BYTES))
