"""What passes between a client and an upstream server: our question, its reply, and what the client gets of it.

The question goes out as our own message, with our id and our OPT; the reply is read just as far as needed to know
its records' borders and TTLs, and is handed on with the client's id, spelling, size and OPT. Names inside records
are never followed, so that no reply costs more than its length.
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

from weave.dns import rtypes
from weave.dns.limits import (
    MAX_CACHED_S,
    MAX_LABEL_BYTES,
    MAX_NEGATIVE_CACHED_S,
    MAX_REPLY_RECORDS,
    MAX_TCP_BYTES,
)
from weave.dns.message import AA, CD, HEADER_BYTES, OPCODE, QR, RA, RCODE, RD, TC, Query, opt_record
from weave.errors import RemoteError

QuestionKey: TypeAlias = tuple[bytes, int, bool]

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_TYPE_AND_CLASS_BYTES = 4
_SOA_TIMERS_BYTES = 20
_WITHOUT_QUESTION = frozenset((rtypes.FORMERR, rtypes.SERVFAIL, rtypes.NOTIMP, rtypes.REFUSED))
"""Errors in which some servers do not repeat the question."""


class BadReply(RemoteError):  # noqa: N818 - the name says what came
    """A reply that cannot be read to its end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as we put it to a server."""

    question: bytes
    flags: int
    wants_dnssec: bool

    @property
    def qtype(self) -> int:
        """Return the type asked for."""
        return int.from_bytes(self.question[-4:-2])

    @property
    def key(self) -> QuestionKey:
        """Return what two questions have in common that one reply can answer."""
        return folded(self.question), self.flags, self.wants_dnssec

    def encode(self, ident: int, *, with_edns: bool = True) -> bytes:
        """Return the query message."""
        opt = opt_record(0, wants_dnssec=self.wants_dnssec) if with_edns else b""
        return _HEADER.pack(ident, self.flags, 1, 0, 0, 1 if opt else 0) + self.question + opt


@dataclass(frozen=True, slots=True)
class UpstreamReply:
    """A reply without its OPT."""

    data: bytes
    rcode: int
    question_bytes: int
    ends: tuple[tuple[int, ...], ...]
    """Where each record ends, by section: answer, authority, additional."""
    ttls: tuple[int, ...]
    """Where the TTLs are."""
    lifetime_s: int
    """How long it may be kept; 0: not at all."""

    @property
    def is_truncated(self) -> bool:
        """Say whether the server had more to say than fitted."""
        return bool(self.data[2] & TC >> 8)

    @property
    def is_final(self) -> bool:
        """Say whether it answers the question in full, so that no other server need be asked."""
        return self.rcode in (rtypes.NOERROR, rtypes.NXDOMAIN) and not self.is_truncated


def asked_by(query: Query) -> Asked:
    """Return the question that stands for a client's query."""
    return Asked(query.question, query.flags & (RD | CD), query.edns is not None and query.edns.wants_dnssec)


def folded(question: bytes) -> bytes:
    """Return a question section with its name in lower case (length octets are below the letters)."""
    return question[:-_TYPE_AND_CLASS_BYTES].lower() + question[-_TYPE_AND_CLASS_BYTES:]


def is_reply_to(data: bytes, asked: Asked, ident: int) -> bool:
    """Say whether `data` is the reply to our query: its id and its question, or an error that repeats none."""
    if len(data) < HEADER_BYTES:
        return False
    got, flags, questions, *_ = _HEADER.unpack_from(data)
    if got != ident or not flags & QR or flags & OPCODE:
        return False
    if questions == 0:
        return flags & RCODE in _WITHOUT_QUESTION
    return questions == 1 and folded(data[HEADER_BYTES : HEADER_BYTES + len(asked.question)]) == folded(asked.question)


# --- reading a reply ------------------------------------------------------------------------------------------------


def read_reply(data: bytes, asked: Asked) -> UpstreamReply:
    """Return the reply that `is_reply_to` accepted; raise `BadReply` where its records do not fill it."""
    _, flags, questions, *counts = _HEADER.unpack_from(data)
    question_bytes = len(asked.question) if questions else 0
    if sum(counts) > MAX_REPLY_RECORDS:
        raise BadReply(f"{sum(counts)} records")
    try:
        return _Reader(data, HEADER_BYTES + question_bytes, asked.qtype).read(flags, question_bytes, counts)
    except (struct.error, IndexError) as exc:
        raise BadReply("cut off") from exc


class _Reader:
    """Walks over the records of one reply."""

    def __init__(self, data: bytes, start: int, qtype: int) -> None:
        self._data = data
        self._at = start
        self._qtype = qtype
        self._rtypes: list[int] = []
        self._ttls: list[int] = []
        self._negative_s = 0
        self._least_s = MAX_CACHED_S
        self._extended_rcode = 0
        self._opt_at: int | None = None

    def read(self, flags: int, question_bytes: int, counts: list[int]) -> UpstreamReply:
        ends: list[tuple[int, ...]] = []
        for count in counts:
            section = []
            for _ in range(count):
                end = self._record()
                if self._opt_at is None:
                    section.append(end)
            ends.append(tuple(section))
        if self._at > len(self._data):
            raise BadReply("cut off")
        rcode = flags & RCODE | self._extended_rcode << 4
        data = self._data if self._opt_at is None else self._data[: self._opt_at]
        return UpstreamReply(data, rcode, question_bytes, tuple(ends), tuple(self._ttls),
                             self._lifetime_s(rcode, self._rtypes[: len(ends[0])]))

    def _record(self) -> int:
        """Step over one record and return where it ends; an OPT, and whatever follows it, is dropped."""
        start = self._at
        fixed = self._after_name(start)
        rtype, _, ttl, length = _RECORD.unpack_from(self._data, fixed)
        self._at = fixed + _RECORD.size + length
        if rtype == rtypes.OPT:
            self._opt_at = start if self._opt_at is None else self._opt_at
            self._extended_rcode = ttl >> 24
        elif self._opt_at is None:
            self._rtypes.append(rtype)
            self._ttls.append(fixed + 4)
            ttl = 0 if ttl >> 31 else ttl  # RFC 2181, section 8
            self._least_s = min(self._least_s, ttl)
            if rtype == rtypes.SOA and length > _SOA_TIMERS_BYTES:
                minimum = int.from_bytes(self._data[self._at - 4 : self._at])
                self._negative_s = min(ttl, minimum, MAX_NEGATIVE_CACHED_S)
        return self._at

    def _after_name(self, at: int) -> int:
        while length := self._data[at]:
            if length >= 0xC0:
                return at + 2
            if length > MAX_LABEL_BYTES:
                raise BadReply("an unknown kind of label")
            at += 1 + length
        return at + 1

    def _lifetime_s(self, rcode: int, answers: list[int]) -> int:
        """Return how long a reply with answers of these types may be kept.

        A negative one is kept as long as its SOA says (RFC 2308): also one whose aliases lead to a name that exists
        without such records.
        """
        is_positive = self._qtype in answers or (self._qtype == rtypes.ANY and bool(answers))
        if rcode == rtypes.NOERROR and is_positive:
            return self._least_s
        return min(self._least_s, self._negative_s) if rcode in (rtypes.NOERROR, rtypes.NXDOMAIN) else 0


# --- handing it on --------------------------------------------------------------------------------------------------


def relay(query: Query, reply: UpstreamReply, limit: int, age_s: int = 0) -> bytes:
    """Return what the client gets of a reply that was received `age_s` seconds ago: whole records, up to `limit`.

    What the server truncated is handed on by datagram alone: by stream a client takes what it gets for the whole.
    """
    is_stream = limit == MAX_TCP_BYTES
    if not reply.question_bytes or reply.rcode > RCODE or (reply.is_truncated and is_stream):
        return servfail(query)
    wants_dnssec = query.edns is not None and query.edns.wants_dnssec
    opt = b"" if query.edns is None else opt_record(reply.rcode, wants_dnssec=wants_dnssec)
    counts, end = _that_fit(reply, limit - len(opt))
    flags = int.from_bytes(reply.data[2:4]) & ~(AA | RD | CD) | query.flags & (RD | CD) | QR | RA
    if counts[:2] != [len(section) for section in reply.ends[:2]]:
        flags |= TC
    header = _HEADER.pack(query.id, flags, 1, counts[0], counts[1], counts[2] + (1 if opt else 0))
    body = _aged(reply, age_s) if age_s else reply.data
    return header + query.question + body[HEADER_BYTES + reply.question_bytes : end] + opt


def servfail(query: Query) -> bytes:
    """Return the reply to a query that no server answered."""
    opt = b"" if query.edns is None else opt_record(0, wants_dnssec=query.edns.wants_dnssec)
    flags = QR | RA | query.flags & (RD | CD) | rtypes.SERVFAIL
    return _HEADER.pack(query.id, flags, 1, 0, 0, 1 if opt else 0) + query.question + opt


def _that_fit(reply: UpstreamReply, limit: int) -> tuple[list[int], int]:
    """Return how many records of each section fit, in order, and where the last of them ends."""
    last = HEADER_BYTES + reply.question_bytes
    counts = []
    is_full = False
    for section in reply.ends:
        fitting = [] if is_full else [end for end in section if end <= limit]
        is_full = is_full or len(fitting) < len(section)
        last = fitting[-1] if fitting else last
        counts.append(len(fitting))
    return counts, last


def _aged(reply: UpstreamReply, age_s: int) -> bytes:
    data = bytearray(reply.data)
    for at in reply.ttls:
        ttl = int.from_bytes(data[at : at + 4])
        data[at : at + 4] = max(0, ttl - age_s).to_bytes(4)
    return bytes(data)
