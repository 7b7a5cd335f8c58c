"""The names that all peers have registered, and what they resolve to now.

It is fed with the entries of the gossip channel `dns` (ours as well as others') and with the set of peers that can be
reached; it answers what a name or a reverse name stands for. It knows names and addresses, not messages. Bad
entries are refused and counted, never raised. Addresses of unreachable peers are withheld, their names still exist.

    weave.local.            the apex: SOA, NS
      prod.weave.local.     exists only because something below it does: an empty non-terminal, NODATA
        db.prod.weave.local.

`generation` moves with every change that could change an answer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weave.addresses import IPAddress, IPNetwork
from weave.dns import rtypes
from weave.dns.entry import NameEntry, check_registration, decode_name_entry, encode_name_entry
from weave.dns.finding import FOREIGN, Finding, Outcome
from weave.dns.labels import (
    Labels,
    is_registrable,
    labels_of,
    registered_name,
    reverse_apex_depth,
    reverse_network,
    reverse_of,
    wire_of,
)
from weave.errors import LocalError
from weave.names import PeerName
from weave.wire import WireError

_Where = tuple[PeerName, bytes]
"""The owner and the key of an entry."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One registration as the operator sees it."""

    fqdn: str
    address: IPAddress
    container: str
    origin: PeerName
    is_reachable: bool


class Catalogue:
    """Everybody's names, as one peer sees them."""

    def __init__(self, *, me: PeerName, domain: str = "weave.local.", ranges: Sequence[IPNetwork] = (), ttl: int = 1):
        """Make an empty catalogue; raise `LocalError` where `domain` is none that names could be in."""
        self.domain = domain.lower().rstrip(".") + "."
        if not is_registrable(self.domain):
            raise LocalError(f"{domain!r} cannot be the domain of our names; it should look like weave.local.")
        self.apex = labels_of(self.domain)
        self.ttl = ttl
        self.generation = 1
        self.refused: Counter[str] = Counter()
        self.name_server: Labels = (b"ns", *self.apex)
        """What the NS records point to; it resolves to where we serve."""
        self._me = me
        self._ranges = tuple(sorted(ranges, key=lambda net: (net.version, net)))
        self._serving: tuple[IPAddress, ...] = ()
        self._reachable: frozenset[PeerName] = frozenset((me,))
        self._entries: dict[_Where, NameEntry] = {}
        self._nodes: dict[Labels, dict[_Where, NameEntry]] = {}
        """Entries by name, and by reverse name."""
        self._below: Counter[Labels] = Counter()
        """How many entries lie below a name."""

    # --- what changes it --------------------------------------------------------------------------------------

    def entries_changed(self, changes: Sequence[tuple[PeerName, bytes, bytes | None]]) -> None:
        """Take in (owner, key, value) triples of the channel, our own included; None withdraws."""
        for owner, key, value in changes:
            self._drop((owner, key))
            if value is not None:
                self._take((owner, key), value)
        self.generation += 1

    def reachable(self, peers: frozenset[PeerName]) -> None:
        """Tell who can be reached; we ourselves always can."""
        peers |= {self._me}
        if peers != self._reachable:
            self._reachable = peers
            self.generation += 1

    def serve_at(self, addresses: Sequence[IPAddress]) -> None:
        """Tell where our name server listens: what its own name resolves to."""
        self._serving = tuple(sorted(addresses, key=lambda a: (a.version, a)))
        self.generation += 1

    def _take(self, where: _Where, value: bytes) -> None:
        try:
            entry = decode_name_entry(where[1], value)
        except WireError:
            self.refused["malformed"] += 1
            return
        if labels_of(entry.fqdn)[-len(self.apex) :] != self.apex or entry.fqdn == self.domain:
            self.refused["outside our domain"] += 1
            return
        self._entries[where] = entry
        for labels in (labels_of(entry.fqdn), reverse_of(entry.address)):
            self._nodes.setdefault(labels, {})[where] = entry
            for depth in range(1, len(labels)):
                self._below[labels[depth:]] += 1

    def _drop(self, where: _Where) -> None:
        entry = self._entries.pop(where, None)
        if entry is None:
            return
        for labels in (labels_of(entry.fqdn), reverse_of(entry.address)):
            del self._nodes[labels][where]
            if not self._nodes[labels]:
                del self._nodes[labels]
            for depth in range(1, len(labels)):
                self._below[labels[depth:]] -= 1
                if not self._below[labels[depth:]]:
                    del self._below[labels[depth:]]

    # --- our own registrations --------------------------------------------------------------------------------

    def add(self, container: str, fqdn: str, address: IPAddress) -> tuple[bytes, bytes]:
        """Return the key and value that register a name; raise `LocalError` where it cannot be registered.

        Nothing changes here: it takes effect when the caller, having made it durable, feeds it to `entries_changed`.
        """
        name = registered_name(fqdn, self.domain)
        check_registration(container, address)
        return encode_name_entry(NameEntry(name, address, container))

    def remove(self, container: str | None, fqdn: str | None, address: IPAddress | None) -> list[bytes]:
        """Return the keys of our entries that match all that is given, sorted, for the caller to withdraw."""
        name = None if fqdn is None else registered_name(fqdn, self.domain)
        return sorted(
            key
            for (owner, key), entry in self._entries.items()
            if owner == self._me
            and container in (None, entry.container)
            and name in (None, entry.fqdn)
            and address in (None, entry.address)
        )

    # --- questions --------------------------------------------------------------------------------------------

    def lookup(self, name: Labels, qtype: int) -> Finding:
        """Return what a lower-case name has for a type, in our domain or in the reverse zones of our ranges."""
        if name[-len(self.apex) :] == self.apex:
            return self._at(name, self.apex, qtype)
        if name[-1:] == (b"arpa",):
            return self._reverse(name, qtype)
        return FOREIGN

    def single_label(self, name: Labels, qtype: int) -> Finding:
        """Return what the bare word `name` stands for: the name in our domain that begins with it."""
        return self._at(name + self.apex, self.apex, qtype)

    def addresses(self, fqdn: str) -> list[IPAddress]:
        """Return the addresses of a name as a person types it, sorted; none where there is no such name."""
        try:
            name = labels_of(registered_name(fqdn, self.domain))
        except LocalError:
            return []
        return sorted(self._live_addresses(name), key=lambda a: (a.version, a))

    def names(self, address: IPAddress) -> list[str]:
        """Return the names of an address, sorted."""
        return sorted(self._live_names(reverse_of(address)))

    def entries(self) -> list[CatalogueEntry]:
        """Return every registration, by name, address, owner and container."""
        rows = [
            CatalogueEntry(entry.fqdn, entry.address, entry.container, owner, owner in self._reachable)
            for (owner, _), entry in self._entries.items()
        ]
        return sorted(rows, key=lambda r: (r.fqdn, r.address.version, r.address, r.origin, r.container))

    def _reverse(self, name: Labels, qtype: int) -> Finding:
        network = reverse_network(name)
        served = self._range_of(network) if network is not None else None
        if served is not None:
            return self._at(name, name[-reverse_apex_depth(served) :], qtype)
        if name in self._nodes and qtype in (rtypes.PTR, rtypes.ANY):
            return self._at(name, name, qtype)
        return self._beneath_address(name, qtype)

    def _beneath_address(self, name: Labels, qtype: int) -> Finding:
        """Judge a name that stands for no addresses, though it may lie in a zone of ours all the same."""
        for depth in range(1, len(name) - 2):
            network = reverse_network(name[depth:])
            served = self._range_of(network) if network is not None else None
            if served is not None:
                return self._at(name, name[-reverse_apex_depth(served) :], qtype)
        return FOREIGN

    def _range_of(self, network: IPNetwork) -> IPNetwork | None:
        for served in self._ranges:
            inside = served.version == network.version and network.prefixlen >= served.prefixlen
            if inside and network.network_address in served:
                return served
        return None

    def _at(self, name: Labels, zone: Labels, qtype: int) -> Finding:
        """Judge a name in a zone that is ours."""
        sets = self._sets(name, zone)
        if qtype == rtypes.ANY:
            qtype = next((rtype for rtype, rdatas in sets.items() if rdatas), qtype)  # one set will do (RFC 8482)
        if sets.get(qtype):
            return Finding(Outcome.RECORDS, zone, qtype, sets[qtype])
        exists = name == zone or name in self._nodes or name in self._below or bool(sets)
        return Finding(Outcome.NODATA if exists else Outcome.NXDOMAIN, zone)

    def _sets(self, name: Labels, zone: Labels) -> dict[int, tuple[bytes, ...]]:
        """Return the record sets of a name: the data of each type in wire form, the type an ANY prefers first."""
        sets: dict[int, tuple[bytes, ...]] = {}
        if name == zone:
            sets = {rtypes.SOA: (self.soa(),), rtypes.NS: (wire_of(self.name_server),)}
        if name[-len(self.apex) :] != self.apex:
            names = tuple(wire_of(labels_of(fqdn)) for fqdn in sorted(self._live_names(name)))
            return {rtypes.PTR: names, **sets} if names else sets
        live = sorted(self._live_addresses(name), key=lambda a: (a.version, a)) or (
            self._serving if name == self.name_server else ()
        )
        for rtype, version in ((rtypes.A, 4), (rtypes.AAAA, 6)):
            packed = tuple(address.packed for address in live if address.version == version)
            if packed:
                sets[rtype] = packed
        return sets

    def soa(self) -> bytes:
        """Return the data of the SOA record, the same for all our zones; the serial moves with the generation."""
        timers = (self.generation & 0xFFFFFFFF, 3600, 600, 86400, self.ttl)
        return wire_of(self.name_server) + wire_of((b"hostmaster", *self.apex)) + b"".join(
            value.to_bytes(4) for value in timers
        )

    def _live_addresses(self, name: Labels) -> set[IPAddress]:
        node = self._nodes.get(name, {})
        return {entry.address for (owner, _), entry in node.items() if owner in self._reachable}

    def _live_names(self, reverse: Labels) -> set[str]:
        node = self._nodes.get(reverse, {})
        return {entry.fqdn for (owner, _), entry in node.items() if owner in self._reachable}
