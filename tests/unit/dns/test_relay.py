"""What a client gets of an upstream's reply; dnspython writes the reply and reads what is handed on."""

import dns.flags
import dns.message
import dns.rrset
import pytest
from dns.flags import AA, AD, CD, RA, RD, TC
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import dns_message
from tests.unit.dns.support import has_flag, make_query, rcode, read, records
from weave.dns.limits import MAX_TCP_BYTES
from weave.dns.message import parse_query
from weave.dns.relay import Asked, BadReply, UpstreamReply, asked_by, is_reply_to, read_reply, relay, servfail
from weave.dns.reply_cache import ReplyCache

IDENT = 0xBEEF


def answered(
    query: dns.message.Message, *records: str, authority: str = "", rcode: str = "NOERROR", **options: int
) -> bytes:
    """Return an upstream's reply to our question about `query`, with an OPT, in its own spelling."""
    asked = asked_by(parse_query(query.to_wire()))
    reply = dns.message.make_response(dns.message.from_wire(asked.encode(IDENT)), recursion_available=True)
    reply.set_rcode(dns.rcode.from_text(rcode))
    reply.flags |= dns.flags.Flag(options.get("flags", 0))
    for text in records:
        owner, ttl, rtype, *rest = text.split()
        rrset = dns.rrset.from_text(owner, int(ttl), "IN", rtype, " ".join(rest))
        reply.answer.append(rrset)
    if authority:
        owner, ttl, rtype, *rest = authority.split()
        reply.authority.append(dns.rrset.from_text(owner, int(ttl), "IN", rtype, " ".join(rest)))
    return reply.to_wire(max_size=65535)


def taken(query: dns.message.Message, data: bytes) -> UpstreamReply:
    asked = asked_by(parse_query(query.to_wire()))
    assert is_reply_to(data, asked, IDENT)
    return read_reply(data, asked)


def handed(
    query: dns.message.Message, data: bytes, limit: int = 65535, age: int = 0
) -> dns.message.Message:
    reply = relay(parse_query(query.to_wire()), taken(query, data), limit, age)
    assert len(reply) <= limit
    return read(reply, query)


SOA = "example.com. 300 SOA ns.example.com. host.example.com. 1 2 3 4 30"


@pytest.mark.parametrize("edns", [-1, 0])
def test_the_reply_is_handed_on_with_the_clients_id_and_opt(edns: int) -> None:
    query = make_query("www.example.com.", use_edns=edns)
    data = answered(query, "www.example.com. 60 CNAME b.example.com.", "b.example.com. 30 A 192.0.2.1")
    reply = handed(query, data)
    assert records(reply) == ["CNAME b.example.com.", "A 192.0.2.1"]
    assert reply.edns == edns
    assert (has_flag(reply, RA), has_flag(reply, AA), has_flag(reply, TC)) == (True, False, False)


def test_the_client_gets_its_own_spelling() -> None:
    lower, mixed = make_query("www.example.com."), make_query("wWw.Example.COM.")
    reply = taken(lower, answered(lower, "www.example.com. 60 A 192.0.2.1"))
    message = read(relay(parse_query(mixed.to_wire()), reply, 512), mixed)
    assert records(message) == ["A 192.0.2.1"]
    assert asked_by(parse_query(lower.to_wire())).key == asked_by(parse_query(mixed.to_wire())).key


def test_rd_and_cd_are_the_clients() -> None:
    query = make_query("example.com.")
    query.flags = dns.flags.Flag(CD)
    reply = handed(query, answered(query, "example.com. 60 A 192.0.2.1", flags=RD | AD))
    assert (has_flag(reply, RD), has_flag(reply, CD), has_flag(reply, AD)) == (False, True, True)


def test_questions_that_need_different_answers_are_kept_apart() -> None:
    queries = [make_query("example.com."), make_query("example.com.", "AAAA"), make_query("example.org."),
               make_query("example.com.", want_dnssec=True)]
    assert len({asked_by(parse_query(query.to_wire())).key for query in queries}) == 4


def test_ttls_go_down_with_age() -> None:
    query = make_query("example.com.")
    data = answered(query, "example.com. 60 A 192.0.2.1", "b.example.com. 5 A 192.0.2.2")
    assert [rrset.ttl for rrset in handed(query, data, age=7).answer] == [53, 0]


ALIAS = "example.com. 50 CNAME b."


@pytest.mark.parametrize(("answers", "authority", "code", "lifetime"), [
    (["example.com. 60 A 192.0.2.1"], "", "NOERROR", 60),
    (["example.com. 60 CNAME b.", "b. 7 A 192.0.2.1"], "", "NOERROR", 7),
    (["example.com. 0 A 192.0.2.1"], "", "NOERROR", 0),
    (["example.com. 999999 A 192.0.2.1"], "", "NOERROR", 3600),
    (["example.com. 4294967295 A 192.0.2.1"], "", "NOERROR", 0),
    ([], SOA, "NXDOMAIN", 30),
    ([], SOA.replace(" 300 ", " 20 "), "NOERROR", 20),
    ([], SOA.replace(" 4 30", " 4 3000"), "NXDOMAIN", 60),
    ([], "", "NXDOMAIN", 0),
    ([], SOA, "SERVFAIL", 0),
    ([ALIAS], SOA, "NOERROR", 30),
    ([ALIAS], SOA.replace(" 4 30", " 4 3000"), "NOERROR", 50),
    ([ALIAS], "", "NOERROR", 0),
    ([ALIAS], SOA, "NXDOMAIN", 30),
])
def test_lifetime(answers: list[str], authority: str, code: str, lifetime: int) -> None:
    query = make_query("example.com.")
    if answers and "4294967295" in answers[0]:
        data = answered(query, answers[0].replace("4294967295", "5")).replace(bytes(3) + b"\5", b"\xff" * 4)
    else:
        data = answered(query, *answers, authority=authority, rcode=code)
    assert taken(query, data).lifetime_s == lifetime


@pytest.mark.parametrize(("qtype", "lifetime"), [("CNAME", 50), ("ANY", 50), ("AAAA", 30), ("DNAME", 30)])
def test_an_alias_answers_who_asked_for_it(qtype: str, lifetime: int) -> None:
    query = make_query("example.com.", qtype)
    assert taken(query, answered(query, ALIAS, authority=SOA)).lifetime_s == lifetime


def test_truncation_at_every_size_keeps_whole_records() -> None:
    query = make_query("example.com.", use_edns=0, payload=4096)
    addresses = [f"example.com. 60 A 192.0.2.{n}" for n in range(1, 20)]
    data = answered(query, *addresses, authority=SOA)
    seen = set()
    for limit in range(41, len(data) + 20):
        reply = handed(query, data, limit)
        seen.add(len(records(reply)))
        whole = (len(records(reply)), len(reply.authority)) == (19, 1)
        assert has_flag(reply, TC) == (not whole)
        assert reply.edns == 0
    assert seen == set(range(20))


@pytest.mark.parametrize("answers", [[], ["example.com. 60 A 192.0.2.1"]])
def test_what_the_server_truncated_is_handed_on_as_a_part_or_not_at_all(answers: list[str]) -> None:
    query = make_query("example.com.")
    data = answered(query, *answers, flags=TC)
    assert not taken(query, data).is_final
    by_datagram, by_stream = handed(query, data, 512), handed(query, data, MAX_TCP_BYTES)
    assert (rcode(by_datagram), has_flag(by_datagram, TC), len(by_datagram.answer)) == ("NOERROR", True, len(answers))
    assert (rcode(by_stream), has_flag(by_stream, TC), len(by_stream.answer)) == ("SERVFAIL", False, 0)


def test_additional_records_are_dropped_without_a_word() -> None:
    query = make_query("example.com.", "MX", use_edns=-1)
    message = dns.message.from_wire(answered(query, "example.com. 60 MX 10 mx.example.com."))
    message.use_edns(-1)
    message.additional.append(dns.rrset.from_text("mx.example.com.", 60, "IN", "A", "192.0.2.1"))
    data = message.to_wire()
    assert len(handed(query, data).additional) == 1
    short = handed(query, data, len(data) - 1)
    assert (len(short.additional), has_flag(short, TC)) == (0, False)


@pytest.mark.parametrize("spoil", [
    pytest.param(lambda data: b"\0\0" + data[2:], id="another id"),
    pytest.param(lambda data: data[:2] + b"\0" + data[3:], id="a query"),
    pytest.param(lambda data: data[:2] + b"\xa8" + data[3:], id="another opcode"),
    pytest.param(lambda data: data.replace(b"example", b"3xample"), id="another name"),
    pytest.param(lambda data: data[:25] + b"\0\x1c" + data[27:], id="another type"),
    pytest.param(lambda data: data[:4] + b"\0\2" + data[6:], id="two questions"),
    pytest.param(lambda data: data[:4] + b"\0\0" + data[6:], id="no question"),
    pytest.param(lambda data: data[:11], id="cut off"),
    pytest.param(lambda data: b"", id="nothing"),
])
def test_what_is_no_reply_to_our_question_is_ignored(spoil: "object") -> None:
    query = make_query("example.com.")
    data = answered(query, "example.com. 60 A 192.0.2.1")
    assert callable(spoil)
    assert not is_reply_to(spoil(data), asked_by(parse_query(query.to_wire())), IDENT)


def test_an_error_without_a_question_is_a_reply() -> None:
    asked = Asked(make_query("example.com.", use_edns=-1).to_wire()[12:], RD, False)
    data = IDENT.to_bytes(2) + b"\x81\x81" + bytes(8)
    assert is_reply_to(data, asked, IDENT)
    assert not read_reply(data, asked).is_final


def test_replies_cut_off_anywhere_are_refused() -> None:
    query = make_query("example.com.")
    asked = asked_by(parse_query(query.to_wire()))
    data = answered(query, "example.com. 60 CNAME b.example.com.", authority=SOA)
    for end in range(12 + len(asked.question), len(data)):
        with pytest.raises(BadReply):
            read_reply(data[:end], asked)


def test_servfail_keeps_question_and_opt() -> None:
    for edns in (-1, 0):
        query = make_query("example.com.", use_edns=edns)
        reply = read(servfail(parse_query(query.to_wire())), query)
        assert (rcode(reply), reply.edns) == ("SERVFAIL", edns)


def test_the_cache_forgets_in_time_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave.dns.reply_cache.MAX_CACHED_REPLIES", 3)
    cache, query = ReplyCache(), make_query("example.com.")
    reply = taken(query, answered(query, "example.com. 60 A 192.0.2.1"))
    for number in range(5):
        cache.put((b"%d" % number, 0, False), reply, 100.0)
    assert len(cache) == 3
    assert cache.get((b"0", 0, False), 100.0) is None
    assert cache.get((b"4", 0, False), 130.9) == (reply, 30)
    assert cache.get((b"4", 0, False), 160.0) is None
    assert len(cache) == 2


@pytest.mark.parametrize("reply", [
    UpstreamReply(bytes(12), 0, 0, (), (), 0),
    UpstreamReply(b"\0\0\2" + bytes(9), 0, 0, (), (), 60),
    UpstreamReply(bytes(5000), 0, 0, (), (), 60),
])
def test_the_cache_keeps_no_truncated_large_or_mortal_reply(reply: UpstreamReply) -> None:
    cache = ReplyCache()
    cache.put((b"", 0, False), reply, 0.0)
    assert len(cache) == 0


@given(st.sampled_from(dns_message.SEEDS), st.data())
def test_mutated_messages_never_raise(seed: bytes, data: st.DataObject) -> None:
    message = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 4))):
        if message:
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    dns_message.target(bytes(message) + data.draw(st.binary(max_size=8)))
