"""Make one large frame of equal UDP frames that lie one after another in a unit, as the kernel's own GRO does. Pure.

A small frame costs the kernel far more than us: each passes bridge, filters and cable by itself. So datagrams of one
flow and one size that still wait for their checksum travel on as one, with a virtio header that says where to cut; the
kernel cuts where somebody wants them singly. Nothing else is touched, and no order changes.

    0 length (4) · 4 virtio header (10) · 14 Ethernet (14) · 28 IPv4 without options (20) or IPv6 (40) · UDP · payload
"""

import sys
from array import array
from collections.abc import Iterator, Sequence
from struct import Struct

from weave.net.sleeve.limits import TAP_HEADER
from weave.net.sleeve.wire import RECORD_HEAD, record_end

SEGMENTS_MOST = 64
"""What every kernel that takes such frames takes."""
_OCTETS_MOST = 65_000
_VIRTIO = Struct("<BBHHHH")
_NEEDS_CHECKSUM, _GSO_UDP, _CHECKSUM_AT = 1, 5, 6
_UDP, _UDP_BYTES, _ETHERNET_BYTES, _TYPE = 17, 8, 14, slice(12, 14)
_V4_PLAIN = 0x45
"""Version 4 without options."""
_ID = slice(RECORD_HEAD + TAP_HEADER + 18, RECORD_HEAD + TAP_HEADER + 20)
_WHOLE = (b"\0\0", b"\x40\0")
"""Flags and offset of an IPv4 packet that is no fragment; whether it may become one is the sender's to say."""


class _Family:
    """Where the fields are that frames of one flow have in common, of one version of IP.

    They are: length of the record, virtio header, all up to the length, length, what follows, addresses with ports, and
    the length that UDP says.
    """

    def __init__(self, fields: Struct, ip_bytes: int, ethertype: bytes) -> None:
        self.fields = fields
        self.ip_bytes = ip_bytes
        self.ethertype = ethertype
        self.udp_at = _ETHERNET_BYTES + ip_bytes
        self.payload_at = RECORD_HEAD + TAP_HEADER + self.udp_at + _UDP_BYTES
        self.alone = _VIRTIO.pack(_NEEDS_CHECKSUM, 0, 0, 0, self.udp_at, _CHECKSUM_AT)
        """The virtio header of a frame that waits for its checksum and is not to be cut."""


_V4 = _Family(Struct("<4s10s16s2s2x4s2x12s2s"), 20, b"\x08\0")
_V6 = _Family(Struct("<4s10s18s2s2s36s2s"), 40, b"\x86\xdd")


def merged(unit: memoryview) -> Iterator[Sequence[bytes | memoryview]]:
    """Yield the frames of a unit, in the parts to be written; raise `SleeveError` at a record that is not whole."""
    at, end = 0, len(unit)
    while at < end:
        began, at = at, record_end(unit, at)
        stride = at - began
        count, family = _run(unit, began, stride)
        if family is None:
            yield (unit[began + RECORD_HEAD:at],)
            continue
        at = began + count * stride
        head = _head(family, unit[began:began + family.payload_at], stride - family.payload_at, count)
        yield [head, *(unit[place + family.payload_at:place + stride] for place in range(began, at, stride))]


def _run(unit: memoryview, began: int, stride: int) -> tuple[int, _Family | None]:
    """Return how many frames like the one that begins there may become one, and how they are laid out."""
    virtio = unit[began + RECORD_HEAD:began + RECORD_HEAD + TAP_HEADER]
    family = _V4 if virtio == _V4.alone else _V6 if virtio == _V6.alone else None
    if family is None or stride <= family.payload_at:
        return 1, None
    unpack = family.fields.unpack_from
    first = unpack(unit, began)
    end = min(len(unit), began + stride * min(SEGMENTS_MOST, _OCTETS_MOST // (stride - family.payload_at)))
    at = began + stride
    while at + stride <= end and unpack(unit, at) == first:
        at += stride
    count = (at - began) // stride
    return count, family if count > 1 and _is_plain(family, first, stride - family.payload_at) else None


def _is_plain(family: _Family, fields: tuple[bytes, ...], size: int) -> bool:
    """Say whether a frame is a UDP datagram of that size with nothing special about it."""
    _, _, first, length, second, _, udp_length = fields
    if first[_TYPE] != family.ethertype or udp_length != _two(size + _UDP_BYTES):
        return False
    if family is _V6:
        return length == udp_length and second[0] == _UDP
    return (length == _two(size + _UDP_BYTES + family.ip_bytes) and first[_ETHERNET_BYTES] == _V4_PLAIN
            and second[:2] in _WHOLE and second[3] == _UDP)


def _head(family: _Family, head: memoryview, size: int, count: int) -> bytes:
    """Return what comes before the payloads of so many frames that were like the one with this head."""
    _, _, first, _, second, ends, _ = family.fields.unpack_from(head)
    octets = _UDP_BYTES + size * count
    length = _two(octets)
    virtio = _VIRTIO.pack(_NEEDS_CHECKSUM, _GSO_UDP, family.udp_at + _UDP_BYTES, size, family.udp_at, _CHECKSUM_AT)
    udp = ends + length + _two(_folded(ends[:-4] + b"\0\x11" + length))
    if family is _V6:
        return b"".join((virtio, first, length, second, udp))
    before: bytes = first + _two(octets + family.ip_bytes) + bytes(head[_ID]) + second
    return b"".join((virtio, before, _two(0xFFFF ^ _folded(before[_ETHERNET_BYTES:] + ends[:8])), udp))


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _folded(octets: bytes) -> int:
    """Return the sum that IP and UDP make their checksums of (RFC 1071)."""
    total = sum(array("H", octets))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total if sys.byteorder == "big" else total >> 8 | (total & 0xFF) << 8
