"""One address that is to be served: bound, served, and tried again for as long as it is wanted."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, EPERM

import trio

from weave.addresses import IPAddress
from weave.dns.limits import BIND_RETRY_MAX_S, BIND_RETRY_S, PROBLEM_AFTER_TRIES

_TCP_BACKLOG = 128
_ADVICE = {
    EADDRINUSE: "another program serves DNS there; stop it, or keep it off this address",
    EADDRNOTAVAIL: "no interface of this host has the address",
    EACCES: "ports below 1024 need the capability NET_BIND_SERVICE",
    EPERM: "ports below 1024 need the capability NET_BIND_SERVICE",
}


@dataclass(frozen=True, slots=True)
class Sockets:
    """The two sockets of an address."""

    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        """Close both."""
        self.udp.close()
        self.tcp.close()


class Site:
    """Keeps one address served."""

    def __init__(
        self,
        address: IPAddress,
        port: int,
        *,
        serve: Callable[[Sockets], Awaitable[None]],
        on_problem: Callable[[IPAddress, str | None], None],
    ) -> None:
        """`serve` runs until it is cancelled or its sockets fail; it closes neither."""
        self.problem: str | None = None
        """Why it is not served, in a sentence."""
        self._address = address
        self._port = port
        self._serve = serve
        self._on_problem = on_problem
        self._sockets: Sockets | None = None
        self._failures = 0
        self._pause_s = BIND_RETRY_S
        self._scope = trio.CancelScope()

    @property
    def bound_port(self) -> int | None:
        """Return the port that is served now."""
        return None if self._sockets is None else int(self._sockets.udp.getsockname()[1])

    def bind(self) -> None:
        """Try once to get the sockets."""
        try:
            self._sockets = bind(self._address, self._port)
        except OSError as exc:
            self._failed(exc)
            return
        self._failures = 0
        self._pause_s = BIND_RETRY_S
        if self.problem is not None:
            self.problem = None
            self._on_problem(self._address, None)

    async def run(self) -> None:
        """Serve until `stop`, binding again whenever that is needed."""
        try:
            with self._scope:
                while True:
                    await self._serve_once()
        finally:
            self._close()

    def stop(self) -> None:
        """End `run`."""
        self._scope.cancel()

    async def _serve_once(self) -> None:
        if self._sockets is None:
            await trio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, BIND_RETRY_MAX_S)
            self.bind()
            return
        try:
            await self._serve(self._sockets)
        except* OSError as group:
            self._close()
            self._failed(_first_of(group))

    def _failed(self, exc: OSError) -> None:
        self._failures += 1
        if self._failures < PROBLEM_AFTER_TRIES and exc.errno != EADDRINUSE:
            return
        advice = _ADVICE.get(exc.errno or 0, "it is tried again")
        problem = f"names cannot be served at {self._address} port {self._port}: {exc}; {advice}"
        if problem != self.problem:
            self.problem = problem
            self._on_problem(self._address, problem)

    def _close(self) -> None:
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None


def _first_of(group: ExceptionGroup[OSError]) -> OSError:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first


def bind(address: IPAddress, port: int) -> Sockets:
    """Return a datagram and a listening socket at one address and port; port 0 takes any that is free for both.

    SO_REUSEADDR is for TCP alone, to come back while old connections linger. On a datagram socket it would let a
    second router take over the queries of the first without either of them noticing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        udp = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (tcp, udp):
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tcp.bind((str(address), port))
        udp.bind((str(address), tcp.getsockname()[1]))
        tcp.listen(_TCP_BACKLOG)
        stack.pop_all()
    return Sockets(udp, tcp)
