"""The sleeve's UDP sockets, one for each family, and addresses as the kernel writes them."""

import errno
import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net.sleeve import limits
from weave.net.sleeve.buffers import SOL_UDP, UDP_GRO, Name
from weave.net.sleeve.wire import Address, helper_of, host

log = logging.getLogger("weave.sleeve")

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_MSG_PROBE = 0x10
_PLACES_KEPT = 4096
_NAME_BYTES: dict[int, int] = {socket.AF_INET: 16, socket.AF_INET6: 28}


class Place:
    """Where a peer is, as the calls that send want it."""

    __slots__ = ("_address", "_sock", "descriptor", "name")

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.descriptor = sock.fileno()
        self.name = Name(pack_address(address))
        self._sock = sock
        self._address = address

    def send(self, datagram: bytes) -> None:
        """Send one datagram; one that cannot be sent is lost, as it could be on its way."""
        try:
            self._sock.sendto(datagram, self._address)
        except OSError as exc:
            log.debug("datagram not sent", extra=fields(address=self._address, reason=exc.strerror))

    def probe(self, datagram: bytes) -> None:
        """Do what sending takes but for the sending: the kernel looks for the way and leaves it at that."""
        with suppress(OSError):
            self._sock.sendto(datagram, _MSG_PROBE, self._address)


class Sockets:
    """Own the sockets; translate addresses."""

    def __init__(self, listen: IPAddress | None, port: int) -> None:
        self.by_family: dict[int, socket.socket] = {}
        wanted: Sequence[tuple[int, str]] = (
            ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")) if listen is None  # noqa: S104 - peers are anywhere
            else ((socket.AF_INET if listen.version == 4 else socket.AF_INET6, str(listen)),))
        for family, where in wanted:
            try:
                self.by_family[family] = _open(family, where, port)
            except OSError as exc:
                if exc.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and len(wanted) > 1:
                    continue
                raise EnvironmentFailure(f"cannot receive at UDP port {port}: {exc.strerror}; is another router or "
                                         "sleeve in this network namespace?") from exc
        self.places: dict[Address, Place] = {}
        """Those known so far; `place` makes the others."""
        self._addresses: dict[bytes, Address] = {}

    def place(self, address: Address) -> Place | None:
        """Return where to send for an address; None where it is none of the network's, or we have no such family."""
        found = self.places.get(address)
        if found is not None or helper_of(address) is not None:
            return found
        sock = self.by_family.get(socket.AF_INET if host(address).version == 4 else socket.AF_INET6)
        if sock is None:
            return None
        if len(self.places) >= _PLACES_KEPT:
            self.places.clear()
        found = self.places[address] = Place(sock, address)
        return found

    def address(self, raw: bytes) -> Address:
        """Return what the kernel's form says."""
        found = self._addresses.get(raw)
        if found is None:
            if len(self._addresses) >= _PLACES_KEPT:
                self._addresses.clear()
            found = self._addresses[raw] = unpack_address(raw)
        return found

    def send(self, datagram: bytes, address: Address) -> None:
        """Send one datagram, where there is a way."""
        place = self.places.get(address) or self.place(address)
        if place is not None:
            place.send(datagram)

    def name_bytes(self, descriptor: int) -> int:
        """Return how long an address is in the kernel's form, at one of the sockets."""
        return _NAME_BYTES[next(family for family, sock in self.by_family.items() if sock.fileno() == descriptor)]

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.by_family.values():
            sock.close()


def pack_address(address: Address) -> bytes:
    """Return sockaddr_in or sockaddr_in6."""
    where = host(address)
    if where.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", address[1], where.packed)
    return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16sI", address[1], 0, where.packed, 0)


def unpack_address(raw: bytes) -> Address:
    """Return host and port of a sockaddr."""
    (port,) = struct.unpack_from(">H", raw, 2)
    if struct.unpack_from("=H", raw)[0] == socket.AF_INET:
        return str(IPv4Address(raw[4:8])), port
    return str(IPv6Address(raw[8:24])), port


def _open(family: int, where: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, limits.SOCKET_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        sock.setsockopt(SOL_UDP, UDP_GRO, 1)
        sock.bind((where, port))
    except OSError:
        sock.close()
        raise
    return sock
