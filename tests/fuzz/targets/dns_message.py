"""The name server's face to the network: queries of strangers, replies of upstream servers, entries of peers.

Input: one octet of mode, the rest. Modes: 0 a datagram from a client, 1 the same by TCP, 2 a reply from upstream (the
question of the seed), 3 a name entry. Allowed: a reply, a forward, silence; `BadReply`; refused entries. Every reply
of ours keeps to its limit and is taken by a strict parser, and says nothing but an error to what that parser refuses.
"""

from ipaddress import ip_address, ip_network

import dns.exception
import dns.message

from weave.dns import Catalogue
from weave.dns.limits import EDNS_UDP_BYTES, MAX_TCP_BYTES
from weave.dns.message import RCODE, TC, parse_query
from weave.dns.relay import BadReply, asked_by, is_reply_to, read_reply, relay
from weave.dns.responder import Forward, Responder
from weave.dns.rtypes import SERVFAIL
from weave.names import PeerName

ME = PeerName("7a:00:00:00:00:01")
CLIENT = "10.32.0.9"
RANGES = (ip_network("10.32.0.0/12"), ip_network("fd00:32::/64"))
DATAGRAM, STREAM, REPLY, ENTRY = range(4)
HEADER_BYTES = 12

QUERY = bytes.fromhex("1234 0120 0001 0000 0000 0001 02 6331 05 7765617665 05 6c6f63616c 00 0001 0001"
                      "00 0029 04d0 0000 8000 0000")
FOREIGN = bytes.fromhex("1234 0100 0001 0000 0000 0000 01 61 07 6578616d706c65 00 0001 0001")
ANSWER = bytes.fromhex("1234 8180 0001 0002 0000 0001 01 61 07 6578616d706c65 00 0001 0001"
                       "c00c 0005 0001 0000003c 0004 01 62 c00e c027 0001 0001 0000003c 0004 c0000201"
                       "00 0029 04d0 0000 0000 0000")
NEGATIVE = bytes.fromhex("1234 8183 0001 0000 0001 0000 01 61 07 6578616d706c65 00 0001 0001"
                         "c00e 0006 0001 00000e10 0016 c00e c00e 00000001 00000002 00000003 00000004 00000005")


def make() -> tuple[Catalogue, Responder]:
    catalogue = Catalogue(me=ME, ranges=RANGES)
    for number in range(1, 100):
        for name in ("c1", f"c{number}"):
            key, value = catalogue.add(str(number), name, ip_address(f"10.32.0.{number}"))
            catalogue.entries_changed([(ME, key, value)])
    return catalogue, Responder(catalogue, clients=RANGES)


CATALOGUE, RESPONDER = make()


def target(data: bytes) -> None:
    if not data:
        return
    mode, body = data[0] % 4, data[1:]
    if mode == DATAGRAM:
        expect_sound(RESPONDER.datagram(body, CLIENT), body, EDNS_UDP_BYTES)
    elif mode == STREAM:
        expect_sound(RESPONDER.stream(body, CLIENT), body, MAX_TCP_BYTES)
    elif mode == REPLY:
        hand_on(body)
    else:
        CATALOGUE.entries_changed([(ME, body[:17], body[17:])])
        CATALOGUE.entries_changed([(ME, body[:17], None)])


def expect_sound(reply: bytes | Forward | None, query: bytes, limit: int) -> None:
    if not isinstance(reply, bytes):
        return
    assert len(reply) <= limit
    message = dns.message.from_wire(reply, raise_on_truncation=False)
    assert reply[:2] == query[:2]
    assert reply[2] & 0x80
    if len(reply) == HEADER_BYTES:
        return
    try:
        dns.message.from_wire(query)
    except dns.exception.DNSException:
        assert message.question, "an answer to something else than was asked"


def hand_on(data: bytes) -> None:
    query = parse_query(FOREIGN)
    asked = asked_by(query)
    if not is_reply_to(data, asked, 0x1234):
        return
    try:
        reply = read_reply(data, asked)
    except BadReply:
        return
    assert 0 <= reply.lifetime_s <= 3600
    for limit in (60, 512, 1232, MAX_TCP_BYTES):
        for age in (0, 5):
            handed = relay(query, reply, limit, age)
            assert len(handed) <= limit
            assert not reply.is_truncated or handed[2] & TC >> 8 or handed[3] & RCODE == SERVFAIL
            assert handed[:2] == FOREIGN[:2]
            assert handed[12:12 + len(query.question)] == query.question


SEEDS: list[bytes] = [
    b"",
    b"\0" + QUERY,
    b"\1" + QUERY,
    b"\0" + FOREIGN,
    b"\0" + QUERY[:10] + b"\0\2" + QUERY[12:] + QUERY[-11:],
    b"\0" + QUERY[:-2] + b"\0\x0c\0\x0a\0\x0812345678",
    b"\1" + QUERY[:10] + b"\0\1" + QUERY[12:-11] + b"\0\1\1\0\1\0\0\0\0\0\7\0\5issue\xff",
    b"\2" + ANSWER,
    b"\2" + NEGATIVE,
    b"\3" + b"".join(CATALOGUE.add("abc", "c1", ip_address("10.32.0.1"))),
]
