"""What is not ours: asked of upstream servers that answer, fail, lie or say nothing."""

from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from random import Random

import dns.flags
import dns.message
import dns.rcode
import pytest
import trio
from dns.flags import TC

from tests.unit.dns.loopback import RESET, UPSTREAMS, Served, address_reply, always, failing, run, silent, until
from tests.unit.dns.support import has_flag, make_query, rcode, records
from weave.dns.message import parse_query
from weave.dns.site import Sockets, bind
from weave.dns.upstream import Upstream


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.upstream.SECOND_TRY_AFTER_S", 0.05)
    monkeypatch.setattr("weave.dns.upstream.UPSTREAM_DEADLINE_S", 0.5)
    monkeypatch.setattr("weave.dns.upstream.RESOLV_CONF_INTERVAL_S", 0.02)


def test_a_foreign_name_is_asked_upstream_once_and_then_known(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        for name in ("example.com.", "example.com.", "EXAMPLE.com."):
            assert records(await served.ask(make_query(name))) == ["A 192.0.2.1"]
        assert len(served.fakes[0].heard) == 1
        counters = served.server.counters()
        assert (counters["upstream_asked"], counters["upstream_answered"], counters["upstream_cached"]) == (1, 1, 2)

    run(test, tmp_path, [always()])


def test_our_query_is_our_own(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        queries = [make_query(f"n{number}.example.com.", use_edns=-1) for number in range(8)]
        for query in queries:
            await served.ask(query)
        heard = [query for _, query in served.fakes[0].heard]
        assert {query.id for query in heard} != {query.id for query in queries}
        assert len(set(served.fakes[0].ports)) > 1
        assert all((query.edns, query.payload) == (0, 1232) for query in heard)

    run(test, tmp_path, [always()])


def test_equal_questions_at_one_time_are_one(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        async def ask() -> None:
            assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.1"]

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert len(served.fakes[0].heard) == 1

    run(test, tmp_path, [always(ttl=0)])


@pytest.mark.parametrize("first", [silent, failing(dns.rcode.SERVFAIL), failing(dns.rcode.REFUSED)])
def test_a_server_that_fails_is_replaced_by_the_next(tmp_path: Path, first: object) -> None:
    async def test(served: Served) -> None:
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.2"]

    run(test, tmp_path, [first, always("192.0.2.2")])  # type: ignore[list-item]


def test_a_silent_server_is_asked_last_for_a_while(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        for number in range(5):
            await served.ask(make_query(f"n{number}.example.com."))
        assert (len(served.fakes[0].heard), len(served.fakes[1].heard)) == (1, 5)

    run(test, tmp_path, [silent, always()])


def test_a_lost_datagram_is_sent_again(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.1"]

    tries: list[int] = []

    def lose_first(query: dns.message.Message, _transport: str) -> list[bytes]:
        tries.append(query.id)
        return [address_reply(query)] if len(tries) > 1 else []

    run(test, tmp_path, [lose_first])


def test_an_error_that_comes_together_with_an_answer_is_ignored(tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {UPSTREAMS[0]}\nnameserver {UPSTREAMS[1]}\n")
    query = make_query("example.com.")

    async def main(good: Sockets, bad: Sockets) -> None:
        upstream = Upstream(resolv_conf, Random(1), port=good.udp.getsockname()[1])

        async def ask() -> None:
            reply = await upstream.resolve(parse_query(query.to_wire()), 512)
            assert records(dns.message.from_wire(reply)) == ["A 192.0.2.1"]
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            await nursery.start(upstream.run)
            nursery.start_soon(ask)
            await trio.lowlevel.wait_readable(bad.udp)
            for sock, behave in ((good.udp, always()), (bad.udp, failing(dns.rcode.SERVFAIL))):
                data, source = sock.recvfrom(4096)
                sock.sendto(behave(dns.message.from_wire(data), "udp")[0], source)

    first, second = (ip_address(address) for address in UPSTREAMS[:2])
    for _ in range(10):  # trio draws lots which of the two is read first
        with closing(bind(first, 0)) as good, closing(bind(second, good.udp.getsockname()[1])) as bad:
            trio.run(main, good, bad)


@pytest.mark.parametrize(("behaviours", "expected"), [
    ([], "SERVFAIL"),
    ([silent], "SERVFAIL"),
    ([silent, silent], "SERVFAIL"),
    ([failing(dns.rcode.REFUSED), failing(dns.rcode.REFUSED)], "REFUSED"),
    ([silent, failing(dns.rcode.SERVFAIL)], "SERVFAIL"),
    ([failing(dns.rcode.NXDOMAIN), always()], "NXDOMAIN"),
])
def test_what_the_client_is_told(tmp_path: Path, behaviours: list[object], expected: str) -> None:
    async def test(served: Served) -> None:
        assert rcode(await served.ask(make_query("example.com."))) == expected
        assert not served.server._upstream._pending

    run(test, tmp_path, behaviours)  # type: ignore[arg-type]


def test_lies_are_ignored(tmp_path: Path) -> None:
    def lie_first(query: dns.message.Message, _transport: str) -> list[bytes]:
        truth = address_reply(query)
        other = dns.message.make_query("example.org.", "A")
        other.id = query.id
        wrong_id = bytes((truth[0] ^ 1,)) + truth[1:]
        return [b"", b"x", query.to_wire(), wrong_id, address_reply(other, "192.0.2.66"), truth]

    async def test(served: Served) -> None:
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.1"]
        assert served.server.counters()["upstream_mismatched"] == 5

    run(test, tmp_path, [lie_first])


def truncating(query: dns.message.Message, transport: str) -> list[bytes]:
    if transport == "tcp":
        return [address_reply(query, count=100)]
    reply = dns.message.make_response(query)
    reply.flags |= TC
    return [reply.to_wire()]


def test_a_truncated_reply_is_fetched_by_stream(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        short = await served.ask(make_query("example.com.", use_edns=0, payload=1232))
        assert has_flag(short, TC)
        assert 60 < len(records(short)) < 80
        assert len(records(await served.ask_by_stream(make_query("example.com.")))) == 100

    run(test, tmp_path, [truncating])


def without_streams(query: dns.message.Message, transport: str) -> list[bytes]:
    return [RESET] if transport == "tcp" else truncating(query, transport)


def test_a_truncated_reply_is_a_last_resort(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.2"]

    run(test, tmp_path, [without_streams, always("192.0.2.2")])


def test_a_reply_that_stays_truncated_says_so_each_time(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        query = make_query("example.com.")
        for _ in range(2):
            reply = await served.ask(query)
            assert (rcode(reply), has_flag(reply, TC)) == ("NOERROR", True)
            assert rcode(await served.ask_by_stream(query)) == "SERVFAIL"
        assert served.server.counters()["upstream_asked"] == 4

    run(test, tmp_path, [without_streams])


def test_a_server_that_resets_the_stream_harms_no_other_question(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        await served.ask(make_query("example.com."))
        assert [transport for transport, _ in served.fakes[0].heard][:2] == ["udp", "tcp"]
        assert records(await served.ask(make_query("c1.weave.local."))) == ["A 10.32.0.1"]

    run(test, tmp_path, [without_streams])


def test_a_server_without_edns_is_asked_plainly(tmp_path: Path) -> None:
    def plain_only(query: dns.message.Message, transport: str) -> list[bytes]:
        return always()(query, transport) if query.edns < 0 else failing(dns.rcode.FORMERR)(query, transport)

    async def test(served: Served) -> None:
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.1"]
        assert [query.edns for _, query in served.fakes[0].heard][:2] == [0, -1]  # a busy machine asks once more

    run(test, tmp_path, [plain_only])


def test_a_server_without_edns_is_asked_plainly_by_stream_too(tmp_path: Path) -> None:
    def plain_only(query: dns.message.Message, transport: str) -> list[bytes]:
        return truncating(query, transport) if query.edns < 0 else failing(dns.rcode.FORMERR)(query, transport)

    async def test(served: Served) -> None:
        assert len(records(await served.ask_by_stream(make_query("example.com.")))) == 100

    run(test, tmp_path, [plain_only])


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        assert served.server.upstreams == UPSTREAMS[:2]
        served.resolv_conf.write_text(f"nameserver {UPSTREAMS[1]}\n")
        await until(lambda: served.server.upstreams == UPSTREAMS[1:2])
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.2"]
        served.resolv_conf.unlink()
        await until(lambda: served.server.upstreams == ())
        assert rcode(await served.ask(make_query("example.org."))) == "SERVFAIL"
        served.resolv_conf.write_text(f"nameserver {UPSTREAMS[0]}\nnameserver 127.0.0.2\n")
        await until(lambda: served.server.upstreams == UPSTREAMS[:1])
        assert records(await served.ask(make_query("example.com."))) == ["A 192.0.2.1"]

    run(test, tmp_path, [always(), always("192.0.2.2")])


def test_questions_in_flight_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.server.MAX_FORWARDED", 4)

    async def test(served: Served) -> None:
        answers: list[str] = []

        async def ask(number: int) -> None:
            answers.append(rcode(await served.ask(make_query(f"n{number}.example.com."))))

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ask, number)
        assert answers == ["SERVFAIL"] * 8
        assert served.server.counters()["dropped_forwarded"] == 4
        assert len(served.fakes[0].heard) >= 4
        assert served.server._waiting == 0

    run(test, tmp_path, [silent])
