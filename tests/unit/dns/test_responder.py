"""What is answered to which question, as a table; and what a malformed one gets."""

from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.flags
import dns.message
import pytest
from dns.flags import AA, RA, RD, TC

from tests.unit.dns.support import (
    CLIENT,
    STRANGER,
    ask,
    has_flag,
    is_forwarded,
    make_query,
    rcode,
    read,
    records,
    register,
    small_catalogue,
    small_responder,
)
from weave.dns.limits import EDNS_UDP_BYTES, MAX_PREBUILT_REPLIES, MAX_ROTATIONS
from weave.dns.responder import Forward, Responder
from weave.names import PeerName

SOA = ["SOA ns.weave.local. hostmaster.weave.local. 12 3600 600 86400 1"]


@dataclass(frozen=True)
class Case:
    name: str
    qtype: str
    rcode: str
    answer: list[str] = field(default_factory=list)
    authority: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name} {self.qtype}"


CASES = [
    # names in the domain
    Case("c1.weave.local.", "A", "NOERROR", ["A 10.32.0.1"]),
    Case("c1.weave.local.", "AAAA", "NOERROR", ["AAAA fd00:32::1"]),
    Case("C1.WEAVE.Local.", "A", "NOERROR", ["A 10.32.0.1"]),
    Case("db.prod.weave.local.", "A", "NOERROR", ["A 10.32.1.2"]),
    Case("outside.weave.local.", "A", "NOERROR", ["A 192.0.2.7"]),
    # what exists, without such records
    Case("v4.weave.local.", "AAAA", "NOERROR", [], SOA),
    Case("v4.weave.local.", "TXT", "NOERROR", [], SOA),
    Case("v4.weave.local.", "HTTPS", "NOERROR", [], SOA),
    Case("prod.weave.local.", "A", "NOERROR", [], SOA),
    Case("gone.weave.local.", "A", "NOERROR", [], SOA),
    # what does not exist
    Case("nope.weave.local.", "A", "NXDOMAIN", [], SOA),
    Case("below.c1.weave.local.", "A", "NXDOMAIN", [], SOA),
    Case("*.weave.local.", "A", "NXDOMAIN", [], SOA),
    # the apex
    Case("weave.local.", "SOA", "NOERROR", SOA),
    Case("weave.local.", "NS", "NOERROR", ["NS ns.weave.local."]),
    Case("weave.local.", "A", "NOERROR", [], SOA),
    Case("weave.local.", "ANY", "NOERROR", SOA),
    # one word is a name in our domain
    Case("c1.", "A", "NOERROR", ["A 10.32.0.1"]),
    Case("nope.", "A", "NXDOMAIN", [], SOA),
    Case("v4.", "MX", "NOERROR", [], SOA),
    # ANY is one record set
    Case("c1.weave.local.", "ANY", "NOERROR", ["A 10.32.0.1"]),
    Case("prod.weave.local.", "ANY", "NOERROR", [], SOA),
    Case("1.0.32.10.in-addr.arpa.", "ANY", "NOERROR", ["PTR c1.weave.local."]),
    # reverse zones: 10.32.0.0/12 is 16 zones of two octets, fd00:32::/64 one of 16 nibbles
    Case("1.0.32.10.in-addr.arpa.", "PTR", "NOERROR", ["PTR c1.weave.local."]),
    Case("7.2.0.192.in-addr.arpa.", "PTR", "NOERROR", ["PTR outside.weave.local."]),
    Case(f"1.{'0.' * 23}2.3.0.0.0.0.d.f.ip6.arpa.", "PTR", "NOERROR", ["PTR c1.weave.local."]),
    Case(f"2.{'0.' * 23}2.3.0.0.0.0.d.f.ip6.arpa.", "PTR", "NXDOMAIN", [], SOA),
    Case("1.0.32.10.in-addr.arpa.", "A", "NOERROR", [], SOA),
    Case("99.0.32.10.in-addr.arpa.", "PTR", "NXDOMAIN", [], SOA),
    Case("5.0.33.10.in-addr.arpa.", "PTR", "NOERROR", [], SOA),
    Case("0.32.10.in-addr.arpa.", "PTR", "NOERROR", [], SOA),
    Case("9.32.10.in-addr.arpa.", "PTR", "NXDOMAIN", [], SOA),
    Case("47.10.in-addr.arpa.", "SOA", "NOERROR", SOA),
    Case("47.10.in-addr.arpa.", "NS", "NOERROR", ["NS ns.weave.local."]),
    Case("x.0.32.10.in-addr.arpa.", "PTR", "NXDOMAIN", [], SOA),
    Case("0.01.32.10.in-addr.arpa.", "PTR", "NXDOMAIN", [], SOA),
    Case("300.0.32.10.in-addr.arpa.", "PTR", "NXDOMAIN", [], SOA),
    # zone transfers and meta types
    Case("weave.local.", "AXFR", "REFUSED"),
    Case("example.com.", "AXFR", "REFUSED"),
    Case("weave.local.", "MAILB", "NOTIMP"),
    Case("weave.local.", "OPT", "FORMERR"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("edns", [-1, 0])
def test_answers(case: Case, edns: int) -> None:
    reply = ask(small_responder(), case.name, case.qtype, use_edns=edns)
    assert (rcode(reply), records(reply), records(reply, "authority")) == (case.rcode, case.answer, case.authority)
    assert has_flag(reply, AA) == (case.rcode in ("NOERROR", "NXDOMAIN"))
    assert has_flag(reply, RA)
    assert reply.edns == edns
    assert all(rrset.ttl == 1 for rrset in (*reply.answer, *reply.authority))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_streams_get_the_same_as_datagrams(case: Case) -> None:
    query = make_query(case.name, case.qtype)
    reply = small_responder().stream(query.to_wire(), CLIENT)
    assert isinstance(reply, bytes)
    message = read(reply, query)
    assert (rcode(message), records(message)) == (case.rcode, case.answer)


@pytest.mark.parametrize(("name", "qtype"), [
    ("example.com.", "A"),
    ("local.", "NS"),
    ("com.", "DS"),
    (".", "NS"),
    ("xweave.local.", "A"),
    ("10.in-addr.arpa.", "PTR"),
    ("1.0.48.10.in-addr.arpa.", "PTR"),
    ("7.2.0.192.in-addr.arpa.", "TXT"),
    ("8.2.0.192.in-addr.arpa.", "PTR"),
    ("1.2.3.4.5.in-addr.arpa.", "PTR"),
    ("x.ip6.arpa.", "PTR"),
])
def test_forwards(name: str, qtype: str) -> None:
    assert is_forwarded(small_responder(), name, qtype)


def test_soa_is_owned_by_the_zone_the_name_is_in() -> None:
    responder = small_responder()
    owners = [
        str(ask(responder, name, "TXT").authority[0].name)
        for name in ("c1.weave.local.", "1.0.33.10.in-addr.arpa.", f"1.{'0.' * 23}2.3.0.0.0.0.d.f.ip6.arpa.")
    ]
    assert owners == ["weave.local.", "33.10.in-addr.arpa.", "0.0.0.0.0.0.0.0.2.3.0.0.0.0.d.f.ip6.arpa."]


def test_addresses_rotate_and_those_of_unreachable_peers_are_withheld() -> None:
    responder = small_responder()
    answers = [records(ask(responder, "many.weave.local.", use_edns=-1)) for _ in range(6)]
    everybody = {"A 10.33.0.1", "A 10.33.0.2", "A 10.33.0.3"}
    assert all(set(answer) == everybody for answer in answers)
    assert {answer[0] for answer in answers[:3]} == everybody
    assert answers[:3] == answers[3:]


def test_queries_with_cookies_rotate_too() -> None:
    responder = small_responder()
    cookie = dns.edns.CookieOption(b"12345678", b"")
    first = {records(ask(responder, "many.weave.local.", options=[cookie]))[0] for _ in range(3)}
    assert len(first) == 3


def test_a_prebuilt_reply_dies_with_the_generation() -> None:
    catalogue = small_catalogue()
    responder = Responder(catalogue, clients=())
    query = make_query("v4.weave.local.")

    def answer() -> list[str]:
        reply = responder.datagram(query.to_wire(), "127.0.0.1")
        assert isinstance(reply, bytes)
        return records(read(reply, query))

    assert answer() == answer() == ["A 10.32.0.4"]
    assert responder.prebuilt_hits == 1
    register(catalogue, PeerName("7a:00:00:00:00:01"), "v4.weave.local.", "10.32.0.5")
    assert sorted(answer()) == ["A 10.32.0.4", "A 10.32.0.5"]
    catalogue.reachable(frozenset())
    assert len(answer()) == 2
    assert responder.counts["A", "NOERROR"] == 4
    assert responder.prebuilt_hits == 1


def test_prebuilt_replies_are_bounded() -> None:
    responder = small_responder()
    for number in range(MAX_PREBUILT_REPLIES + 10):
        responder.datagram(PLAIN[:12] + b"\5%05d" % number + PLAIN[15:], CLIENT)
        assert len(responder._prebuilt) <= MAX_PREBUILT_REPLIES
    assert responder.counts["A", "NXDOMAIN"] == MAX_PREBUILT_REPLIES + 10


def test_the_octets_of_prebuilt_replies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bound, queries = 100_000, 30
    monkeypatch.setattr("weave.dns.responder.MAX_PREBUILT_BYTES", bound)
    responder = large_responder()
    for number in range(queries):
        query = make_query("big.weave.local.", use_edns=0, payload=EDNS_UDP_BYTES + number)
        reply = responder.datagram(query.to_wire(), CLIENT)
        assert isinstance(reply, bytes)
        assert 1 <= len(responder._prebuilt) <= bound // (MAX_ROTATIONS * len(reply[2:]))
    assert responder.counts["A", "NOERROR"] == queries


@pytest.mark.parametrize("name", ["c1.weave.local.", "nope.weave.local.", "example.com."])
def test_strangers_are_refused_even_what_is_ready(name: str) -> None:
    responder = small_responder()
    query = make_query(name)
    responder.datagram(query.to_wire(), CLIENT)
    reply = responder.datagram(query.to_wire(), STRANGER)
    assert isinstance(reply, bytes)
    message = read(reply, query)
    assert (rcode(message), records(message), records(message, "authority")) == ("REFUSED", [], [])


def test_who_is_served_can_change() -> None:
    responder = small_responder()
    query = make_query("c1.weave.local.").to_wire()
    responder.datagram(query, CLIENT)
    responder.serve(())
    refused = responder.datagram(query, CLIENT)
    assert isinstance(refused, bytes)
    assert rcode(dns.message.from_wire(refused)) == "REFUSED"
    for local in ("127.0.0.1", "127.1.2.3", "::1"):
        assert isinstance(responder.datagram(query, local), bytes)


def test_other_classes_are_refused() -> None:
    for name in ("version.bind.", "c1.weave.local."):
        assert rcode(ask(small_responder(), name, "TXT", rdclass="CH")) == "REFUSED"


# --- EDNS and malformed queries -------------------------------------------------------------------------------------


def test_edns_version_1_is_told_bad_version() -> None:
    reply = ask(small_responder(), "c1.weave.local.", use_edns=1)
    assert (rcode(reply), reply.edns, records(reply)) == ("BADVERS", 0, [])


def test_our_opt_advertises_our_size_and_repeats_do() -> None:
    reply = ask(small_responder(), "c1.weave.local.", want_dnssec=True, payload=4096)
    assert reply.payload == 1232
    assert reply.ednsflags == dns.flags.DO
    assert not reply.options


def test_rd_is_repeated() -> None:
    query = make_query("c1.weave.local.")
    for flags in (0, RD):
        query.flags = dns.flags.Flag(flags)
        reply = small_responder().datagram(query.to_wire(), CLIENT)
        assert isinstance(reply, bytes)
        assert has_flag(read(reply, query), RD) == bool(flags)


PLAIN = make_query("c1.weave.local.", use_edns=-1).to_wire()
EDNS = make_query("c1.weave.local.", use_edns=0).to_wire()
OPT = EDNS[len(PLAIN):]


def _with(data: bytes, at: int, value: int, size: int = 2) -> bytes:
    return data[:at] + value.to_bytes(size) + data[at + size:]


@pytest.mark.parametrize(("data", "expected"), [
    pytest.param(_with(PLAIN, 4, 0), "FORMERR", id="no question"),
    pytest.param(_with(PLAIN, 4, 2) + PLAIN[12:], "FORMERR", id="two questions"),
    pytest.param(_with(PLAIN, 6, 1), "FORMERR", id="an answer"),
    pytest.param(PLAIN + b"x", "FORMERR", id="trailing garbage"),
    pytest.param(EDNS + b"x", "FORMERR", id="trailing garbage after OPT"),
    pytest.param(_with(PLAIN + OPT + OPT, 10, 2), "FORMERR", id="two OPTs"),
    pytest.param(_with(PLAIN + b"\1a" + OPT, 10, 1), "FORMERR", id="an OPT with a name"),
    pytest.param(_with(PLAIN, 10, 1), "FORMERR", id="a missing record"),
    pytest.param(_with(PLAIN, 10, 65535), "FORMERR", id="65535 missing records"),
    pytest.param(PLAIN[:12] + b"\xc0\x0c" + PLAIN[-4:], "FORMERR", id="a name that points to itself"),
    pytest.param(PLAIN[:12] + b"\x40" + PLAIN[13:], "FORMERR", id="an unknown kind of label"),
    pytest.param(PLAIN[:12] + b"\x01a" * 128 + PLAIN[-5:], "FORMERR", id="a name of 257 octets"),
    pytest.param(PLAIN[:-1], "FORMERR", id="cut off"),
    pytest.param(PLAIN[:12], "FORMERR", id="a header"),
    pytest.param(PLAIN + bytes(5000), "FORMERR", id="too long"),
    pytest.param(_with(PLAIN, 2, 0x2000), "NOTIMP", id="NOTIFY"),
    pytest.param(_with(PLAIN, 2, 0x2800), "NOTIMP", id="UPDATE"),
    pytest.param(_with(PLAIN, 2, 0x0800), "NOTIMP", id="IQUERY"),
])
def test_malformed_queries_get_an_error_and_nothing_else(data: bytes, expected: str) -> None:
    reply = small_responder().datagram(data, CLIENT)
    assert isinstance(reply, bytes)
    message = dns.message.from_wire(reply)
    assert (rcode(message), message.id, message.opcode()) == (expected, int.from_bytes(data[:2]), data[2] >> 3 & 15)
    assert len(reply) == 12


@pytest.mark.parametrize("data", [b"", PLAIN[:11], _with(PLAIN, 2, 0x8000)], ids=["nothing", "half", "a reply"])
def test_what_is_no_query_gets_no_reply(data: bytes) -> None:
    responder = small_responder()
    assert responder.datagram(data, CLIENT) is None
    assert responder.ignored.total() == 1


def test_a_query_signed_with_tsig_is_read_past_it() -> None:
    tsig = b"\3key\0" + bytes.fromhex("00fa00ff00000000 001d") + b"\x08hmac-md5\0" + bytes(19)
    data = _with(PLAIN + OPT + tsig, 10, 2)
    reply = small_responder().datagram(data, CLIENT)
    assert isinstance(reply, bytes)
    assert rcode(dns.message.from_wire(reply)) in ("NOERROR", "FORMERR")


def test_labels_with_dots_and_binary_octets_are_names_of_their_own() -> None:
    for label in (b"c1.weave", b"\xff\x00", b"c1\\"):
        data = PLAIN[:12] + bytes((len(label),)) + label + b"\5local\0" + PLAIN[-4:]
        assert isinstance(small_responder().datagram(data, CLIENT), Forward)
        data = PLAIN[:12] + bytes((len(label),)) + label + PLAIN[15:]
        reply = small_responder().datagram(data, CLIENT)
        assert isinstance(reply, bytes)
        assert rcode(dns.message.from_wire(reply)) == "NXDOMAIN"


# --- size -----------------------------------------------------------------------------------------------------------


def large_responder(addresses: int = 120) -> Responder:
    catalogue = small_catalogue()
    for number in range(addresses):
        register(catalogue, PeerName("7a:00:00:00:00:01"), "big.weave.local.", f"10.40.{number}.1")
    return Responder(catalogue, clients=small_catalogue()._ranges)


@pytest.mark.parametrize("payload", [None, 0, 512, 513, 527, 528, 529, 600, 1000, 1231, 1232, 1233, 4096, 65535])
def test_datagrams_keep_what_fits_and_say_that_there_is_more(payload: int | None) -> None:
    edns = {"use_edns": -1} if payload is None else {"use_edns": 0, "payload": payload}
    query = make_query("big.weave.local.", "A", **edns)
    data = large_responder().datagram(query.to_wire(), CLIENT)
    assert isinstance(data, bytes)
    limit = min(max(payload or 512, 512), 1232)
    assert limit - 16 < len(data) <= limit
    reply = read(data, query)
    assert has_flag(reply, TC)
    assert reply.edns == (-1 if payload is None else 0)


def test_every_size_at_which_the_answer_changes() -> None:
    for count in range(25, 32):
        query = make_query("big.weave.local.", "A", use_edns=-1)
        data = large_responder(count).datagram(query.to_wire(), CLIENT)
        assert isinstance(data, bytes)
        fitting = min(count, (512 - 12 - 21) // 16)
        assert len(records(read(data, query))) == fitting
        assert has_flag(read(data, query), TC) == (fitting < count)


def test_streams_get_everything() -> None:
    query = make_query("big.weave.local.", "A", use_edns=-1)
    data = large_responder().stream(query.to_wire(), CLIENT)
    assert isinstance(data, bytes)
    assert len(records(read(data, query))) == 120
    assert not has_flag(read(data, query), TC)


def test_a_truncated_answer_still_rotates() -> None:
    responder = large_responder()
    first = {records(ask(responder, "big.weave.local.", use_edns=-1))[0] for _ in range(8)}
    assert len(first) == 8


def test_the_name_of_the_server_is_where_it_listens() -> None:
    catalogue = small_catalogue()
    catalogue.serve_at([ip_address("10.32.0.1")])
    responder = Responder(catalogue, clients=())
    query = make_query("ns.weave.local.")
    reply = responder.datagram(query.to_wire(), "127.0.0.1")
    assert isinstance(reply, bytes)
    assert records(read(reply, query)) == ["A 10.32.0.1"]
