"""A small zone, and queries for it written and replies read by dnspython, which is strict."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from weave.dns import Catalogue
from weave.dns.responder import Forward, Responder
from weave.names import PeerName

ME = PeerName("7a:00:00:00:00:01")
OTHER = PeerName("7a:00:00:00:00:02")
GONE = PeerName("7a:00:00:00:00:03")
RANGES = (ip_network("10.32.0.0/12"), ip_network("fd00:32::/64"))
CLIENT = "10.32.0.9"
STRANGER = "192.0.2.9"

ZONE: tuple[tuple[PeerName, str, str], ...] = (
    (ME, "c1.weave.local.", "10.32.0.1"),
    (ME, "c1.weave.local.", "fd00:32::1"),
    (ME, "v4.weave.local.", "10.32.0.4"),
    (ME, "db.prod.weave.local.", "10.32.1.2"),
    (OTHER, "many.weave.local.", "10.33.0.1"),
    (OTHER, "many.weave.local.", "10.33.0.2"),
    (ME, "many.weave.local.", "10.33.0.3"),
    (GONE, "many.weave.local.", "10.33.0.4"),
    (GONE, "gone.weave.local.", "10.33.0.5"),
    (ME, "outside.weave.local.", "192.0.2.7"),
)


def register(catalogue: Catalogue, owner: PeerName, fqdn: str, address: str, container: str = "") -> bytes:
    key, value = catalogue.add(container or f"{fqdn}/{address}", fqdn, ip_address(address))
    catalogue.entries_changed([(owner, key, value)])
    return key


def small_catalogue(zone: Sequence[tuple[PeerName, str, str]] = ZONE) -> Catalogue:
    catalogue = Catalogue(me=ME, ranges=RANGES)
    for owner, fqdn, address in zone:
        register(catalogue, owner, fqdn, address)
    catalogue.reachable(frozenset((ME, OTHER)))
    return catalogue


def small_responder() -> Responder:
    return Responder(small_catalogue(), clients=RANGES)


def make_query(name: str, qtype: str = "A", **options: object) -> dns.message.QueryMessage:
    return dns.message.make_query(name, qtype, **options)  # type: ignore[arg-type]


def ask(responder: Responder, name: str, qtype: str = "A", **options: object) -> dns.message.Message:
    """Return the reply to one datagram, as dnspython reads it."""
    query = make_query(name, qtype, **options)
    reply = responder.datagram(query.to_wire(), CLIENT)
    assert isinstance(reply, bytes), "forwarded or ignored"
    return read(reply, query)


def read(reply: bytes, query: dns.message.Message) -> dns.message.Message:
    """Return a reply that a strict parser takes, and that is one to this query, in its spelling."""
    message = dns.message.from_wire(reply, raise_on_truncation=False)
    assert query.is_response(message)
    if message.question:
        assert str(message.question[0].name) == str(query.question[0].name)
    assert message.to_wire(max_size=65535)
    return message


def is_forwarded(responder: Responder, name: str, qtype: str = "A") -> bool:
    return isinstance(responder.datagram(make_query(name, qtype).to_wire(), CLIENT), Forward)


def records(message: dns.message.Message, section: str = "answer") -> list[str]:
    """Return the records of a section, `TYPE data`, in the order of the wire."""
    return [
        f"{dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text()}"
        for rrset in getattr(message, section)
        for rdata in rrset
    ]


def rcode(message: dns.message.Message) -> str:
    return dns.rcode.to_text(message.rcode())


def has_flag(message: dns.message.Message, flag: dns.flags.Flag) -> bool:
    return bool(message.flags & flag)
