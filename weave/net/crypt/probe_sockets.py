"""The sockets that probes leave and enter by: one for each family, open to all tunnels. Datagrams are never cut."""

import socket
from ipaddress import ip_address

import trio

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure

IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
PMTUDISC_PROBE = 3
"""Datagrams are sent whole or not at all, whatever was once learned of the path."""
MAX_DATAGRAM = 65535
BURST = 64
"""Datagrams read at one go, before others get a turn."""


def source_for(address: IPAddress) -> IPAddress | None:
    """Return the address from which packets to another leave, in the namespace of the calling thread."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((str(address), 9))
            return ip_address(sock.getsockname()[0].partition("%")[0])
    except OSError:
        return None


class ProbeSockets:
    """Own the UDP sockets of one network namespace."""

    def __init__(self, port: int, *, wanted: bool = True) -> None:
        """Open them in the namespace of the calling thread; a host without IPv6 has one, one without tunnels none."""
        self._sockets: dict[int, socket.socket] = {}
        if not wanted:
            return
        try:
            self._open(4, socket.AF_INET, port)
        except OSError as exc:
            self.close()
            raise EnvironmentFailure(f"cannot open UDP port {port} for probes of encrypted links: {exc.strerror}; "
                                     "is another router or program using it? --vxlan-port moves it") from exc
        try:
            self._open(6, socket.AF_INET6, port)
        except OSError:
            self._sockets.pop(6).close() if 6 in self._sockets else None

    def _open(self, version: int, family: int, port: int) -> None:
        sock = self._sockets[version] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        sock.bind(("", port))

    @property
    def versions(self) -> tuple[int, ...]:
        """Return the families there are."""
        return tuple(sorted(self._sockets))

    def close(self) -> None:
        """Close all."""
        for sock in self._sockets.values():
            sock.close()

    def send(self, datagram: bytes, address: IPAddress, port: int) -> str:
        """Send a datagram; return why not, or nothing."""
        sock = self._sockets.get(address.version)
        if sock is None:
            return f"this host has no IPv{address.version}"
        try:
            sock.sendto(datagram, (str(address), port))
        except OSError as exc:
            return f"probes of {len(datagram)} octets cannot be sent to {address}: {exc.strerror}"
        return ""

    async def receive(self, version: int) -> list[tuple[bytes, IPAddress]]:
        """Wait for datagrams and return them; errors of earlier ones are skipped."""
        sock = self._sockets[version]
        await trio.lowlevel.wait_readable(sock)
        found: list[tuple[bytes, IPAddress]] = []
        for _ in range(BURST):
            try:
                data, source = sock.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:
                continue
            found.append((data, ip_address(source[0].partition("%")[0])))
        return found
