"""What peers say of themselves and of their links, as records in entries of the channel `topology`.

Each peer publishes two entries: `PEER_KEY` (who it is) and `LINKS_KEY` (its connections). A record that cannot be
read counts as absent, with its reason; fields that a later version adds are skipped. `Topology` keeps the records of
everybody, reachable or not, and a fingerprint of all established links: two peers with equal fingerprints compute the
same graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from weave import wire
from weave.mesh import limits
from weave.mesh.peers import LocalPeer
from weave.names import PEER_NAME_BYTES, PeerName, peer_name_from_bytes, peer_name_to_bytes
from weave.wire import WireError

CHANNEL = "topology"
PEER_KEY = b"peer"
LINKS_KEY = b"links"


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What a peer says of itself."""

    nickname: str
    uid: int
    incarnation: int
    control_port: int
    protocol_min: int
    protocol_max: int
    version: str = ""
    addresses: tuple[str, ...] = ()
    trusted_subnets: tuple[str, ...] = ()
    features: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """One connection, as one of its ends sees it."""

    peer: PeerName
    outbound: bool
    address: str
    """Of the other end, as ip:port; empty where the record would have been too long."""
    established: bool


@dataclass(frozen=True, slots=True)
class LinksRecord:
    """The connections of a peer, sorted by the other end's name."""

    links: tuple[LinkRecord, ...] = ()
    established: frozenset[PeerName] = frozenset()
    fingerprint: int = 0
    """64 bits over the owner and the established links."""


NO_LINKS = LinksRecord()
NO_FEATURES: Mapping[str, object] = {}


def peer_record_of(me: LocalPeer) -> bytes:
    """Encode what this peer says of itself."""
    return wire.pack(
        {
            "nick": me.nickname,
            "uid": me.uid,
            "inc": me.incarnation,
            "port": me.control_port,
            "min": me.protocol_min,
            "max": me.protocol_max,
            "ver": me.version,
            "addr": list(me.addresses),
            "trust": list(me.trusted_subnets),
            "feat": dict(sorted(me.features.items())),
        }
    )


def decode_peer(value: bytes) -> PeerRecord:
    """Read what a peer says of itself; raise `WireError`."""
    fields = wire.expect_map(wire.unpack(value), "peer record")
    return PeerRecord(
        nickname=wire.expect_str(fields.get("nick"), "nickname"),
        uid=wire.expect_int(fields.get("uid"), "uid", 0, (1 << 64) - 1),
        incarnation=wire.expect_int(fields.get("inc"), "incarnation"),
        control_port=wire.expect_int(fields.get("port"), "control port", 0, 65535),
        protocol_min=wire.expect_int(fields.get("min", 0), "protocol version"),
        protocol_max=wire.expect_int(fields.get("max", 0), "protocol version"),
        version=wire.expect_str(fields.get("ver", ""), "version"),
        addresses=_texts(fields.get("addr", []), "addresses"),
        trusted_subnets=_texts(fields.get("trust", []), "trusted subnets"),
        features=wire.expect_map(fields.get("feat", {}), "features"),
    )


def encode_links(links: tuple[LinkRecord, ...]) -> bytes:
    """Encode the connections of this peer, sorted by the other end's name, up to `MAX_LINKS` of them.

    Where there are so many that they would not fit with their addresses, these are left out: they only help to find
    peers that advertise none themselves.
    """
    kept = links[: limits.MAX_LINKS]
    value = _pack_links(kept)
    return value if len(value) <= limits.MAX_VALUE_BYTES else _pack_links([replace(each, address="") for each in kept])


def _pack_links(links: Sequence[LinkRecord]) -> bytes:
    return wire.pack(
        [[peer_name_to_bytes(link.peer), link.outbound, link.address, link.established] for link in links]
    )


def decode_links(owner: PeerName, value: bytes) -> LinksRecord:
    """Read the connections of a peer; raise `WireError`."""
    links = []
    for item in wire.expect_list(wire.unpack(value), "links", most=limits.MAX_LINKS):
        fields = wire.expect_list(item, "link")
        if len(fields) < 4:
            raise WireError("link lacks a field")
        name = peer_name_from_bytes(wire.expect_bytes(fields[0], "peer name", size=PEER_NAME_BYTES))
        outbound = wire.expect_bool(fields[1], "direction")
        address = wire.expect_str(fields[2], "address")
        links.append(LinkRecord(name, outbound, address, wire.expect_bool(fields[3], "state")))
    return links_record(owner, tuple(links))


def links_record(owner: PeerName, links: tuple[LinkRecord, ...]) -> LinksRecord:
    """Return the record of a peer's links, with the fingerprint of those that are established."""
    established = frozenset(link.peer for link in links if link.established and link.peer != owner)
    if not established:
        return LinksRecord(links)
    hashed = blake2b(",".join([owner, *sorted(established)]).encode(), digest_size=8)
    return LinksRecord(links, established, int.from_bytes(hashed.digest(), "big"))


class Topology:
    """The records of everybody; see the module."""

    def __init__(self) -> None:
        self.peers: dict[PeerName, PeerRecord] = {}
        self.links: dict[PeerName, LinksRecord] = {}
        self.fingerprint = 0

    def set_peer(self, owner: PeerName, record: PeerRecord | None) -> bool:
        """Replace what a peer says of itself; return whether that changed anything."""
        if self.peers.get(owner) == record:
            return False
        if record is None:
            del self.peers[owner]
        else:
            self.peers[owner] = record
        return True

    def set_links(self, owner: PeerName, record: LinksRecord) -> bool:
        """Replace a peer's links; return whether the graph changed."""
        before = self.links.get(owner, NO_LINKS)
        if record is NO_LINKS:
            self.links.pop(owner, None)
        else:
            self.links[owner] = record
        self.fingerprint ^= before.fingerprint ^ record.fingerprint
        return before.fingerprint != record.fingerprint


def _texts(value: object, what: str) -> tuple[str, ...]:
    items = wire.expect_list(value, what, most=limits.MAX_ADDRESSES)
    return tuple(wire.expect_str(item, what) for item in items)
