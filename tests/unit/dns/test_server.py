"""The server on real sockets: datagrams, streams, and addresses that come and go."""

import socket
from contextlib import closing
from errno import ENETDOWN
from ipaddress import ip_address
from pathlib import Path

import dns.message
import pytest
import trio
from dns.flags import TC
from trio.testing import MockClock

from tests.unit.dns.loopback import SERVER, Served, address_reply, run, until
from tests.unit.dns.support import ME, has_flag, make_query, rcode, records, register
from weave.dns import Catalogue, DnsConfig, DnsServer
from weave.dns.limits import BIND_RETRY_MAX_S
from weave.dns.site import Site, Sockets, bind


async def send_framed(stream: trio.SocketStream, *queries: dns.message.Message) -> None:
    wires = [query.to_wire() for query in queries]
    await stream.send_all(b"".join(len(wire).to_bytes(2) + wire for wire in wires))


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await stream.receive_some(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


async def receive_framed(stream: trio.SocketStream) -> dns.message.Message:
    length = int.from_bytes(await receive_exactly(stream, 2))
    return dns.message.from_wire(await receive_exactly(stream, length))


def test_datagrams_are_answered_from_the_address_that_was_asked(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.sendto(make_query("c1.weave.local.").to_wire(), (SERVER, served.port))
            reply, source = await sock.recvfrom(4096)
        assert source == (SERVER, served.port)
        assert records(dns.message.from_wire(reply)) == ["A 10.32.0.1"]

    run(test, tmp_path)


def test_a_burst_is_answered_completely(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.connect((SERVER, served.port))
            queries = [make_query("c1.weave.local.", use_edns=-1) for _ in range(150)]
            for query in queries:
                await sock.send(query.to_wire())
            ids = [int.from_bytes((await sock.recv(4096))[:2]) for _ in queries]
        assert ids == [query.id for query in queries]
        counters = served.server.counters()
        assert (counters["queries"], counters["queries_A"], counters["prebuilt"]) == (150, 150, 149)

    run(test, tmp_path)


def test_new_names_are_answered_at_once(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        query = make_query("new.weave.local.")
        assert rcode(await served.ask(query)) == "NXDOMAIN"
        register(served.catalogue, ME, "new", "10.32.9.9")
        assert records(await served.ask(query)) == ["A 10.32.9.9"]

    run(test, tmp_path)


def test_pipelined_queries_are_answered_also_in_small_pieces(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        async with await served.connect() as stream:
            await send_framed(stream, *(make_query(name) for name in ("c1.weave.local.", "v4.weave.local.")))
            wire = make_query("nope.weave.local.").to_wire()
            for octet in len(wire).to_bytes(2) + wire:
                await stream.send_all(bytes((octet,)))
            replies = [await receive_framed(stream) for _ in range(3)]
        assert [rcode(reply) for reply in replies] == ["NOERROR", "NOERROR", "NXDOMAIN"]

    run(test, tmp_path)


def test_a_forwarded_query_does_not_hold_up_the_next(tmp_path: Path) -> None:
    release = trio.Event()

    def hesitate(query: dns.message.Message, _transport: str) -> list[bytes]:
        return [address_reply(query)] if release.is_set() else []

    async def test(served: Served) -> None:
        async with await served.connect() as stream:
            await send_framed(stream, make_query("example.com."), make_query("c1.weave.local."))
            assert records(await receive_framed(stream)) == ["A 10.32.0.1"]
            release.set()
            assert records(await receive_framed(stream)) == ["A 192.0.2.1"]

    run(test, tmp_path, [hesitate])


def test_large_answers_come_by_stream(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        for number in range(200):
            register(served.catalogue, ME, "big", f"10.40.{number}.1")
        query = make_query("big.weave.local.")
        assert has_flag(await served.ask(query), TC)
        async with await served.connect() as stream:
            await send_framed(stream, query)
            assert len(records(await receive_framed(stream))) == 200

    run(test, tmp_path)


def test_silent_streams_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.tcp.TCP_IDLE_S", 0.05)

    async def test(served: Served) -> None:
        async with await served.connect() as stream:
            await stream.send_all(b"\0\x20half")
            assert await stream.receive_some(1) == b""

    run(test, tmp_path)


def test_streams_over_the_bound_are_closed_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.tcp.MAX_TCP_CONNECTIONS", 2)

    async def test(served: Served) -> None:
        streams = [await served.connect() for _ in range(2)]
        for stream in streams:
            await send_framed(stream, make_query("c1.weave.local."))
            await receive_framed(stream)
        async with await served.connect() as refused:
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await receive_framed(refused)
        assert served.server.counters()["dropped_tcp_connections"] == 1
        await streams[0].aclose()
        await until(lambda: len(served.server._connections) == 1)
        async with await served.connect() as welcome:
            await send_framed(welcome, make_query("c1.weave.local."))
            await receive_framed(welcome)
        await streams[1].aclose()

    run(test, tmp_path)


def test_a_stream_that_does_not_take_its_replies_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.tcp.TCP_SEND_S", 0.1)

    async def test(served: Served) -> None:
        for number in range(250):
            register(served.catalogue, ME, "big", f"10.40.{number}.1")
        stream = await served.connect()
        with pytest.raises(trio.BrokenResourceError):
            await send_framed(stream, *[make_query("big.weave.local.")] * 20000)
        await until(lambda: not served.server._connections)
        await stream.aclose()

    run(test, tmp_path)


def test_a_stream_of_nonsense_is_closed(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        async with await served.connect() as stream:
            await stream.send_all(b"\0\3abc")
            assert await stream.receive_some(1) == b""

    run(test, tmp_path)


def test_addresses_can_change_while_running(tmp_path: Path) -> None:
    other = ip_address("127.0.0.3")

    async def test(served: Served) -> None:
        served.server.listen([ip_address(SERVER), other])
        await until(lambda: other in served.server.bound)
        served.server.listen([other])
        await until(lambda: ip_address(SERVER) not in served.server.bound)
        with pytest.raises(OSError, match="all attempts"):
            await served.connect()
        assert records(dns.message.from_wire(await ask_at(served, "ns.weave.local."))) == ["A 127.0.0.3"]
        served.server.listen([])
        await until(lambda: not served.server.bound)

    async def ask_at(served: Served, name: str) -> bytes:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
            await sock.connect((str(other), served.server.bound[other]))
            await sock.send(make_query(name).to_wire())
            return await sock.recv(4096)

    run(test, tmp_path)


def test_an_address_that_is_taken_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.site.BIND_RETRY_S", 0.01)
    address, told = ip_address("127.0.0.4"), []

    async def main() -> None:
        with closing(bind(address, 0)) as taken:
            config = DnsConfig(port=taken.udp.getsockname()[1], resolv_conf=tmp_path / "none")
            server = DnsServer(Catalogue(me=ME), config, on_problem=lambda _address, problem: told.append(problem))
            server.listen([address])
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                assert server.bound == {}
                assert server.problems == told
                taken.close()
                with trio.fail_after(5):
                    await until(lambda: address in server.bound)
                nursery.cancel_scope.cancel()
        assert (server.problems, len(told), told[1]) == ([], 2, None)
        assert "another program serves DNS there" in str(told[0])

    trio.run(main)


def test_an_address_that_was_taken_for_hours_is_served_once_it_is_free() -> None:
    address = ip_address("127.0.0.7")

    async def serve(_sockets: Sockets) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        with closing(bind(address, 0)) as taken:
            port = taken.udp.getsockname()[1]
            site = Site(address, port, serve=serve, on_problem=lambda _address, _problem: None)
            site.bind()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(site.run)
                await trio.sleep(6 * 3600)
                taken.close()
                await trio.sleep(BIND_RETRY_MAX_S + 1)
                assert site.bound_port == port
                site.stop()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_an_address_that_is_not_there_yet_is_told_after_some_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weave.dns.site.BIND_RETRY_S", 0.001)

    async def main() -> None:
        server = DnsServer(Catalogue(me=ME), DnsConfig(port=0, resolv_conf=tmp_path / "none"))
        server.listen([ip_address("192.0.2.1")])
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            assert server.problems == []
            with trio.fail_after(5):
                await until(lambda: bool(server.problems))
            nursery.cancel_scope.cancel()
        assert "no interface of this host has the address" in server.problems[0]

    trio.run(main)


def test_cancelled_at_any_moment_it_leaves_no_socket_open(tmp_path: Path) -> None:
    async def main(steps: int) -> bool:
        server = DnsServer(Catalogue(me=ME), DnsConfig(port=0, resolv_conf=tmp_path / "none"))
        server.listen([ip_address("127.0.0.5")])
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.run)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                was_bound = bool(server.bound)
                scope.cancel()
        assert server.bound == {}
        return was_bound

    assert not trio.run(main, 0)
    for steps in range(1, 30):
        trio.run(main, steps)


def test_sockets_that_fail_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.site.BIND_RETRY_S", 0.001)
    served: list[int] = []

    async def serve(sockets: Sockets) -> None:
        served.append(sockets.udp.fileno())
        if len(served) < 5:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
        await trio.sleep_forever()

    async def fail() -> None:
        raise OSError(ENETDOWN, "Network is down")

    async def main() -> None:
        site = Site(ip_address("127.0.0.6"), 0, serve=serve, on_problem=lambda _address, _problem: None)
        site.bind()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.run)
            with trio.fail_after(5):
                await until(lambda: len(served) == 5)
            assert site.bound_port is not None
            site.stop()
        assert site.bound_port is None

    trio.run(main)


def test_ipv6_addresses_are_served_too(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        loopback = ip_address("::1")
        served.server.listen([loopback])
        await until(lambda: loopback in served.server.bound)
        with trio.socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            await sock.connect(("::1", served.server.bound[loopback]))
            await sock.send(make_query("c1.weave.local.", "AAAA").to_wire())
            assert records(dns.message.from_wire(await sock.recv(4096))) == ["AAAA fd00:32::1"]

    run(test, tmp_path)
