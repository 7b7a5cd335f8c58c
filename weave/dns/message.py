"""DNS messages: strangers' queries in, our replies out. The one adapter of dnslib.

A plain query (one question, no more than an OPT without options) is parsed by hand in about two microseconds; what
else may hang on a query goes through dnslib, whose every failure ends here. A query is accepted whole or not at
all: `NotAQuery` deserves silence, `BadQuery` a reply that `encode_error` makes. Replies are put together by hand.

     0  id      2  flags   4  QDCOUNT 6  ANCOUNT 8  NSCOUNT 10 ARCOUNT
    12  question: name, type, class; then records: name, type, class, TTL, length, data
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from dnslib import RR
from dnslib.label import DNSBuffer

from weave.dns import rtypes
from weave.dns.labels import Labels
from weave.dns.limits import (
    EDNS_UDP_BYTES,
    MAX_ADDITIONAL_RECORDS,
    MAX_LABEL_BYTES,
    MAX_NAME_BYTES,
    MAX_QUERY_BYTES,
    MAX_TCP_BYTES,
    PLAIN_UDP_BYTES,
)
from weave.errors import RemoteError

HEADER_BYTES = 12
QR = 0x8000
AA = 0x0400
TC = 0x0200
RD = 0x0100
RA = 0x0080
CD = 0x0010
OPCODE = 0x7800
RCODE = 0x000F
DO = 0x8000
"""In the lower half of an OPT's TTL."""
OWNER_IS_QUESTION = b"\xc0\x0c"
"""A pointer to the name right behind the header."""

_HEADER = struct.Struct("!HHHHHH")
_TYPE_AND_CLASS = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_PLAIN_OPT_BYTES = 11


class NotAQuery(RemoteError):  # noqa: N818 - silence, not an error, is what it asks for
    """Bytes that deserve no reply: too short for a header, or a reply themselves."""


class BadQuery(RemoteError):  # noqa: N818 - the name says what came
    """A query that is answered with an error code and nothing else."""

    def __init__(self, rcode: int, reason: str) -> None:
        super().__init__(reason)
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class Edns:
    """What a client says in its OPT record (RFC 6891)."""

    payload: int
    version: int
    wants_dnssec: bool
    has_options: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One well-formed query."""

    id: int
    flags: int
    name: Labels
    """The labels as asked, in the client's spelling."""
    qtype: int
    qclass: int
    question: bytes
    """The question section as it came, to be sent back letter for letter."""
    edns: Edns | None

    @property
    def folded(self) -> Labels:
        """Return the name in lower case."""
        return tuple(label.lower() for label in self.name)

    @property
    def udp_limit(self) -> int:
        """Return the size of the largest reply that the client takes in a datagram, and that we would send."""
        return PLAIN_UDP_BYTES if self.edns is None else min(max(PLAIN_UDP_BYTES, self.edns.payload), EDNS_UDP_BYTES)


# --- queries --------------------------------------------------------------------------------------------------------


def parse_query(data: bytes) -> Query:
    """Return the query that fills `data` exactly; raise `NotAQuery` or `BadQuery`."""
    if len(data) < HEADER_BYTES:
        raise NotAQuery("shorter than a header")
    ident, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & QR:
        raise NotAQuery("a reply")
    if flags & OPCODE:
        raise BadQuery(rtypes.NOTIMP, "an operation other than a query")
    if len(data) > MAX_QUERY_BYTES:
        raise BadQuery(rtypes.FORMERR, "too long for a query")
    if questions != 1 or answers or authority or additional > MAX_ADDITIONAL_RECORDS:
        raise BadQuery(rtypes.FORMERR, "not one question and nothing else")
    name, end = _parse_name(data)
    qtype, qclass = _TYPE_AND_CLASS.unpack_from(data, end)
    end += 4
    edns = _parse_additional(data, end, additional)
    return Query(ident, flags, name, qtype, qclass, data[HEADER_BYTES:end], edns)


def _parse_name(data: bytes) -> tuple[Labels, int]:
    """Return the labels of the question and the offset behind them, where a type and a class are sure to follow."""
    labels: list[bytes] = []
    at = HEADER_BYTES
    room = len(data) - 4
    while at < room:
        length = data[at]
        at += 1
        if not length:
            if at - HEADER_BYTES > MAX_NAME_BYTES:
                raise BadQuery(rtypes.FORMERR, "a name over 255 octets")
            return tuple(labels), at
        if length > MAX_LABEL_BYTES:
            raise BadQuery(rtypes.FORMERR, "a pointer or an unknown kind of label in the question")
        labels.append(data[at : at + length])
        at += length
    raise BadQuery(rtypes.FORMERR, "the question is cut off")


def _parse_additional(data: bytes, at: int, count: int) -> Edns | None:
    if not count:
        if at != len(data):
            raise BadQuery(rtypes.FORMERR, "trailing octets")
        return None
    is_plain = count == 1 and at + _PLAIN_OPT_BYTES == len(data) and data[at] == 0
    if is_plain:
        rtype, payload, ttl, length = _RECORD.unpack_from(data, at + 1)
        if rtype == rtypes.OPT and not length:
            return Edns(payload, ttl >> 16 & 0xFF, bool(ttl & DO), has_options=False)
    return _parse_unusual(data, at, count)


def _parse_unusual(data: bytes, at: int, count: int) -> Edns | None:
    """Return the OPT among the additional records, by dnslib.

    Fuzzing got `UnicodeDecodeError`, `RecursionError` and others out of dnslib's parsers, hence the broad catch.
    """
    try:
        buffer = DNSBuffer(data)
        buffer.offset = at
        records = [RR.parse(buffer) for _ in range(count)]
        rest = buffer.remaining()
        opts = [record for record in records if record.rtype == rtypes.OPT]
    except Exception as exc:
        raise BadQuery(rtypes.FORMERR, f"undecodable records: {type(exc).__name__}") from exc
    if rest:
        raise BadQuery(rtypes.FORMERR, "trailing octets")
    if len(opts) > 1 or any(record.rname.label for record in opts):
        raise BadQuery(rtypes.FORMERR, "two OPT records, or one with a name")
    if not opts:
        return None
    opt = opts[0]
    return Edns(int(opt.rclass), opt.ttl >> 16 & 0xFF, bool(opt.ttl & DO), has_options=bool(opt.rdata))


# --- replies --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """What we say to a query; the records are in wire form (`record`)."""

    rcode: int = rtypes.NOERROR
    is_authoritative: bool = False
    answers: Sequence[bytes] = ()
    authority: Sequence[bytes] = ()


def record(owner: bytes, rtype: int, ttl: int, rdata: bytes) -> bytes:
    """Return one record of class IN; `owner` is a name in wire form, or `OWNER_IS_QUESTION`."""
    return owner + _RECORD.pack(rtype, rtypes.CLASS_IN, ttl, len(rdata)) + rdata


def opt_record(rcode: int, *, wants_dnssec: bool) -> bytes:
    """Return our OPT record: the size we take, version 0, the upper bits of `rcode`, the client's DO bit again."""
    ttl = (rcode >> 4) << 24 | (DO if wants_dnssec else 0)
    return b"\0" + _RECORD.pack(rtypes.OPT, EDNS_UDP_BYTES, ttl, 0)


def encode_reply(query: Query, reply: Reply, limit: int = MAX_TCP_BYTES) -> bytes:
    """Return the message: what fits into `limit` octets, with the TC bit where something did not.

    The question and the OPT always stay; records are kept whole and in order.
    """
    opt = b"" if query.edns is None else opt_record(reply.rcode, wants_dnssec=query.edns.wants_dnssec)
    room = limit - HEADER_BYTES - len(query.question) - len(opt)
    answers, room = _that_fit(reply.answers, room)
    authority, _ = _that_fit(reply.authority, room if len(answers) == len(reply.answers) else 0)
    flags = QR | RA | query.flags & (RD | CD) | reply.rcode & RCODE
    if reply.is_authoritative:
        flags |= AA
    if len(answers) < len(reply.answers) or len(authority) < len(reply.authority):
        flags |= TC
    header = _HEADER.pack(query.id, flags, 1, len(answers), len(authority), 1 if opt else 0)
    return b"".join((header, query.question, *answers, *authority, opt))


def _that_fit(records: Sequence[bytes], room: int) -> tuple[Sequence[bytes], int]:
    """Return the leading records that fit into `room`, and the room that is left."""
    for count, encoded in enumerate(records):
        room -= len(encoded)
        if room < 0:
            return records[:count], 0
    return records, room


def encode_error(data: bytes, rcode: int) -> bytes:
    """Return the reply to a query that could not be read: its id, opcode and RD bit, no sections."""
    ident, flags, *_ = _HEADER.unpack_from(data)
    return _HEADER.pack(ident, QR | RA | flags & (OPCODE | RD) | rcode, 0, 0, 0, 0)
