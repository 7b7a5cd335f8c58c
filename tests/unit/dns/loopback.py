"""Our server and upstream servers of our making, on addresses of the loopback interface.

    client 127.0.0.1 ---> DnsServer 127.0.0.2 ---> FakeUpstream 127.0.0.11, 127.0.0.12, ... (all on one port)
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from random import Random
from socket import SO_LINGER, SOCK_DGRAM, SOL_SOCKET
from struct import pack

import dns.message
import dns.rrset
import trio

from tests.unit.dns.support import small_catalogue
from weave.dns import Catalogue, DnsConfig, DnsServer

SERVER = "127.0.0.2"
UPSTREAMS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
DEADLINE_S = 10

Behaviour = Callable[[dns.message.Message, str], "list[bytes]"]
"""The messages sent for a query that came by "udp" or "tcp"."""
RESET = b""
"""In place of a message by "tcp": the connection is reset."""


@dataclass
class FakeUpstream:
    """One upstream server; it notes the queries it hears."""

    behave: Behaviour
    heard: list[tuple[str, dns.message.Message]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    async def serve_udp(self, sock: trio.socket.SocketType) -> None:
        with sock:
            while True:
                data, source = await sock.recvfrom(4096)
                query = dns.message.from_wire(data)
                self.heard.append(("udp", query))
                self.ports.append(source[1])
                for reply in self.behave(query, "udp"):
                    await sock.sendto(reply, source)

    async def serve_tcp(self, stream: trio.SocketStream) -> None:
        length = int.from_bytes(await stream.receive_some(2))
        query = dns.message.from_wire(await stream.receive_some(length))
        self.heard.append(("tcp", query))
        for reply in self.behave(query, "tcp"):
            if reply == RESET:
                stream.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
                await stream.aclose()
                return
            await stream.send_all(len(reply).to_bytes(2) + reply)


def address_reply(query: dns.message.Message, address: str = "192.0.2.1", ttl: int = 60, count: int = 1) -> bytes:
    reply = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    first = int(ip_address(address))
    texts = [str(ip_address(first + number)) for number in range(count)]
    reply.answer.append(dns.rrset.from_text_list(name, ttl, "IN", "A", texts))
    return reply.to_wire(max_size=65535)


def always(address: str = "192.0.2.1", ttl: int = 60) -> Behaviour:
    return lambda query, _transport: [address_reply(query, address, ttl)]


def failing(rcode: int) -> Behaviour:
    def behave(query: dns.message.Message, _transport: str) -> list[bytes]:
        reply = dns.message.make_response(query)
        reply.set_rcode(rcode)
        return [reply.to_wire()]

    return behave


def silent(_query: dns.message.Message, _transport: str) -> list[bytes]:
    return []


@asynccontextmanager
async def upstreams(behaviours: Sequence[Behaviour]) -> AsyncIterator[tuple[list[FakeUpstream], int]]:
    """Serve one upstream for each behaviour, all on the port that comes back too."""
    port = 0
    fakes = []
    async with trio.open_nursery() as nursery:
        for behave, address in zip(behaviours, UPSTREAMS, strict=False):
            listener = (await trio.open_tcp_listeners(port, host=address))[0]
            port = listener.socket.getsockname()[1]
            udp = trio.socket.socket(type=SOCK_DGRAM)
            await udp.bind((address, port))
            fakes.append(FakeUpstream(behave))
            nursery.start_soon(fakes[-1].serve_udp, udp)
            nursery.start_soon(trio.serve_listeners, fakes[-1].serve_tcp, [listener])
        yield fakes, port
        nursery.cancel_scope.cancel()


@dataclass
class Served:
    """A running server, and what is around it."""

    server: DnsServer
    catalogue: Catalogue
    fakes: list[FakeUpstream]
    resolv_conf: Path
    port: int
    nursery: trio.Nursery

    async def ask(self, query: dns.message.Message) -> dns.message.Message:
        """Return the reply to one datagram."""
        sock = trio.socket.socket(type=SOCK_DGRAM)
        with sock, trio.fail_after(DEADLINE_S):
            await sock.connect((SERVER, self.port))
            await sock.send(query.to_wire())
            reply = dns.message.from_wire(await sock.recv(65535))
        assert query.is_response(reply)
        return reply

    async def ask_by_stream(self, query: dns.message.Message) -> dns.message.Message:
        """Return the reply on a connection of its own."""
        async with await self.connect() as stream:
            wire = query.to_wire()
            await stream.send_all(len(wire).to_bytes(2) + wire)
            data = b""
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):
                data += await stream.receive_some(65535)
        return dns.message.from_wire(data[2:])

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(SERVER, self.port)


def run(
    test: Callable[[Served], Awaitable[None]], tmp_path: Path, behaviours: Sequence[Behaviour] = (), port: int = 0
) -> None:
    """Run a test against a server whose upstreams behave so."""

    async def main() -> None:
        async with upstreams(behaviours) as (fakes, upstream_port), trio.open_nursery() as nursery:
            resolv_conf = tmp_path / "resolv.conf"
            resolv_conf.write_text("".join(f"nameserver {address}\n" for address in UPSTREAMS[: len(fakes)]))
            catalogue = small_catalogue()
            config = DnsConfig(port=port, resolv_conf=resolv_conf, upstream_port=upstream_port)
            server = DnsServer(catalogue, config, rng=Random(1))
            server.listen([ip_address(SERVER)])
            await nursery.start(server.run)
            bound = server.bound[ip_address(SERVER)]
            with trio.fail_after(DEADLINE_S):
                await test(Served(server, catalogue, fakes, resolv_conf, bound, nursery))
            nursery.cancel_scope.cancel()

    trio.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true; the deadline is the test's."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await trio.sleep(0.01)
