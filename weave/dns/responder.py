"""Decides the reply to every query: from the catalogue, as an error, or by asking upstream.

It does no I/O. A local answer is built once, in several rotations, and kept under the octets of the query that
follow the id; the next such query costs one look-up. All that is kept is dropped when the catalogue's generation
moves. Names outside our zones come back as `Forward`, for the shell to resolve and to answer with `relay`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import cycle

from weave.addresses import IPNetwork
from weave.dns import rtypes
from weave.dns.catalogue import Catalogue
from weave.dns.finding import Finding, Outcome
from weave.dns.labels import wire_of
from weave.dns.limits import (
    MAX_KNOWN_CLIENTS,
    MAX_PREBUILT_BYTES,
    MAX_PREBUILT_QUERY_BYTES,
    MAX_PREBUILT_REPLIES,
    MAX_ROTATIONS,
    MAX_TCP_BYTES,
)
from weave.dns.message import (
    OWNER_IS_QUESTION,
    BadQuery,
    NotAQuery,
    Query,
    Reply,
    encode_error,
    encode_reply,
    parse_query,
    record,
)

LOOPBACK: tuple[IPNetwork, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_ABOUT_A_ZONE = frozenset((rtypes.NS, rtypes.SOA, rtypes.DS, rtypes.DNSKEY))
"""Types by which resolvers walk the tree: asked of a top-level domain, not of a container."""
_TRANSFERS = frozenset((rtypes.AXFR, rtypes.IXFR))
_BASE_OF_META_TYPES = 249
_REFUSED = Reply(rtypes.REFUSED)


@dataclass(frozen=True, slots=True)
class Forward:
    """A question for the upstream."""

    query: Query
    limit: int
    """The size of the largest reply that the client takes."""


class Prebuilt:
    """The replies to one query, without their ids, to be used in turn."""

    __slots__ = ("hits", "kind", "rotation")

    def __init__(self, replies: Sequence[bytes], kind: tuple[str, str]) -> None:
        self.rotation: Iterator[bytes] = cycle(replies)
        self.hits = 0
        self.kind = kind


class Responder:
    """The mind of the server; one for all its sockets."""

    def __init__(self, catalogue: Catalogue, *, clients: Sequence[IPNetwork] = ()) -> None:
        self._catalogue = catalogue
        self._generation = catalogue.generation
        self._prebuilt: dict[bytes, Prebuilt] = {}
        self._prebuilt_bytes = 0
        self._clients: tuple[IPNetwork, ...] = ()
        self._admitted: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._past_hits = 0
        self._turn = 0
        self.ignored: Counter[str] = Counter()
        """What got no reply, by reason."""
        self.serve(clients)

    def serve(self, clients: Sequence[IPNetwork]) -> None:
        """Serve clients with these source addresses, and those on this machine; all others are refused."""
        self._clients = (*LOOPBACK, *clients)
        self._admitted = set()

    def datagram(self, data: bytes, source: str) -> bytes | Forward | None:
        """Return the reply to one datagram from the address `source`, the question to ask upstream, or None.

        This is the hot path: it does nothing but a look-up where the same question came before.
        """
        if self._generation != self._catalogue.generation:
            self._forget()
        prebuilt = self._prebuilt.get(data[2:])
        if prebuilt is not None and (source in self._admitted or self._admits(source)):
            prebuilt.hits += 1
            return data[:2] + next(prebuilt.rotation)
        return self._reply(data, source, is_datagram=True)

    def stream(self, data: bytes, source: str) -> bytes | Forward | None:
        """Return the same for one message of a TCP connection."""
        return self._reply(data, source, is_datagram=False)

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Return how many replies were given from here, by type asked and response code."""
        counts = self._counts.copy()
        for prebuilt in self._prebuilt.values():
            counts[prebuilt.kind] += prebuilt.hits
        return counts

    @property
    def prebuilt_hits(self) -> int:
        """Return how many replies were ready."""
        return self._past_hits + sum(prebuilt.hits for prebuilt in self._prebuilt.values())

    # --- the long way -----------------------------------------------------------------------------------------

    def _reply(self, data: bytes, source: str, *, is_datagram: bool) -> bytes | Forward | None:
        try:
            query = parse_query(data)
        except NotAQuery as exc:
            self.ignored[str(exc)] += 1
            return None
        except BadQuery as bad:
            self._counts["other", rtypes.rcode_name(bad.rcode)] += 1
            return encode_error(data, bad.rcode)
        limit = query.udp_limit if is_datagram else MAX_TCP_BYTES
        error = self._objection(query, source)
        if error is not None:
            return self._counted(query, error, limit)
        finding = self._find(query)
        if finding.outcome is Outcome.FOREIGN:
            return Forward(query, limit)
        if is_datagram and self._is_keepable(query, data):
            return self._prebuild(query, finding, data)
        return self._counted(query, self._local(finding, self._next_turn()), limit)

    def _objection(self, query: Query, source: str) -> Reply | None:
        """Return the error that a well-formed query is answered with, None where it deserves better."""
        if not self._admits(source):
            return _REFUSED
        if query.edns is not None and query.edns.version != 0:
            return Reply(rtypes.BADVERS)
        if query.qclass != rtypes.CLASS_IN or query.qtype in _TRANSFERS:
            return _REFUSED
        if query.qtype in (0, rtypes.OPT):
            return Reply(rtypes.FORMERR)
        if _BASE_OF_META_TYPES <= query.qtype < rtypes.ANY:
            return Reply(rtypes.NOTIMP)
        return None

    def _find(self, query: Query) -> Finding:
        name = query.folded
        finding = self._catalogue.lookup(name, query.qtype)
        if finding.outcome is Outcome.FOREIGN and len(name) == 1 and query.qtype not in _ABOUT_A_ZONE:
            return self._catalogue.single_label(name, query.qtype)
        return finding

    def _local(self, finding: Finding, turn: int) -> Reply:
        """Return the authoritative reply, its records turned by `turn`."""
        ttl = self._catalogue.ttl
        if finding.outcome is not Outcome.RECORDS:
            soa = record(wire_of(finding.zone), rtypes.SOA, ttl, self._catalogue.soa())
            rcode = rtypes.NXDOMAIN if finding.outcome is Outcome.NXDOMAIN else rtypes.NOERROR
            return Reply(rcode, is_authoritative=True, authority=(soa,))
        turn %= len(finding.rdatas)
        turned = finding.rdatas[turn:] + finding.rdatas[:turn]
        answers = [record(OWNER_IS_QUESTION, finding.rtype, ttl, rdata) for rdata in turned]
        return Reply(is_authoritative=True, answers=answers)

    def _prebuild(self, query: Query, finding: Finding, data: bytes) -> bytes:
        """Build the reply in all its rotations, keep them, and return the first."""
        size = len(finding.rdatas) or 1
        count = min(size, MAX_ROTATIONS)
        start = self._next_turn()
        turns = [start + step * size // count for step in range(count)]
        replies = [encode_reply(query, self._local(finding, turn), query.udp_limit)[2:] for turn in turns]
        room = sum(map(len, replies))
        if len(self._prebuilt) >= MAX_PREBUILT_REPLIES or self._prebuilt_bytes + room > MAX_PREBUILT_BYTES:
            self._forget()
        self._prebuilt_bytes += room
        rcode = rtypes.NXDOMAIN if finding.outcome is Outcome.NXDOMAIN else rtypes.NOERROR
        prebuilt = Prebuilt(replies, (rtypes.type_name(query.qtype), rtypes.rcode_name(rcode)))
        self._prebuilt[data[2:]] = prebuilt
        self._counts[prebuilt.kind] += 1
        return data[:2] + next(prebuilt.rotation)

    def _is_keepable(self, query: Query, data: bytes) -> bool:
        """Say whether the same octets are likely to come again: EDNS options (cookies) are different each time."""
        return len(data) <= MAX_PREBUILT_QUERY_BYTES and not (query.edns is not None and query.edns.has_options)

    def _admits(self, source: str) -> bool:
        if source in self._admitted:
            return True
        address = ip_address(source.partition("%")[0])
        if not any(address.version == network.version and address in network for network in self._clients):
            return False
        if len(self._admitted) >= MAX_KNOWN_CLIENTS:
            self._admitted.clear()
        self._admitted.add(source)
        return True

    def _counted(self, query: Query, reply: Reply, limit: int) -> bytes:
        self._counts[rtypes.type_name(query.qtype), rtypes.rcode_name(reply.rcode)] += 1
        return encode_reply(query, reply, limit)

    def _next_turn(self) -> int:
        self._turn = (self._turn + 1) % (1 << 16)
        return self._turn

    def _forget(self) -> None:
        for prebuilt in self._prebuilt.values():
            self._counts[prebuilt.kind] += prebuilt.hits
            self._past_hits += prebuilt.hits
        self._prebuilt.clear()
        self._prebuilt_bytes = 0
        self._generation = self._catalogue.generation

