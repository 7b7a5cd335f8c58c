"""Write the frames by which a new interface makes itself known. Pure.

Gratuitous ARP (RFC 5227 section 3, an announcement) and unsolicited neighbour advertisement (RFC 4861 section 7.2.6):
whoever had the address bound to another MAC learns better at once.
"""

from ipaddress import IPv6Address
from struct import Struct

IPV4_OCTETS = 4
_BROADCAST = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = IPv6Address("ff02::1").packed
_ARP = Struct(">6s6sH HHBBH 6s4s6s4s")
_IP6 = Struct(">6s6sH IHBB 16s16s")
_ADVERTISEMENT = Struct(">BBHI16s BB6s")
ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0806, 0x0800, 0x86DD
_ETHERNET, _REQUEST = 1, 1
_ICMPV6, _HOPS = 58, 255
_NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_ADDRESS = 2


def announcement(mac: bytes, packed: bytes) -> bytes:
    """Return the Ethernet frame that tells everybody on the segment that this MAC has this address (4 or 16 octets)."""
    if len(packed) == IPV4_OCTETS:
        return _ARP.pack(_BROADCAST, mac, ETHERTYPE_ARP, _ETHERNET, ETHERTYPE_IPV4, 6, 4, _REQUEST,
                         mac, packed, bytes(6), packed)
    parts = (_NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE, packed, _TARGET_LINK_ADDRESS, 1, mac)
    pseudo = packed + _ALL_NODES + _ADVERTISEMENT.size.to_bytes(4) + bytes([0, 0, 0, _ICMPV6])
    check = checksum(pseudo + _ADVERTISEMENT.pack(*parts))
    header = _IP6.pack(_ALL_NODES_MAC, mac, ETHERTYPE_IPV6, 6 << 28, _ADVERTISEMENT.size, _ICMPV6, _HOPS,
                       packed, _ALL_NODES)
    return header + _ADVERTISEMENT.pack(*parts[:2], check, *parts[3:])


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of octets."""
    total = sum(int.from_bytes(data[at:at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
