"""Who is there and which way: the topology channel's records made into a graph, reachability and views.

It follows the channel (`apply`), our own links as they are now (`set_own_links`, ahead of what we published), and
computes lazily (`refresh`): the graph costs milliseconds with a thousand peers, and the functions behind it depend on
their arguments alone, so replicas in one process share them through a `Memo`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from weave.errors import RemoteError
from weave.mesh import limits, topology
from weave.mesh.entries import ChannelChange
from weave.mesh.routes import EMPTY, Graph, Recent
from weave.mesh.topology import NO_LINKS, LinkRecord, LinksRecord, PeerRecord, Topology
from weave.mesh.views import BroadcastRoute, LinkView, PeerView, UnicastRoute
from weave.names import PeerName

BAD_PEER_RECORD = "malformed peer record"
BAD_LINKS_RECORD = "malformed links record"
DISCOVERED_ADDRESSES = 8
"""Addresses of one peer that are offered for dialling."""

Addresses = dict[PeerName, tuple[str, ...]]


@dataclass(slots=True)
class Memo:
    """What replicas of one process may share: results that depend on their arguments alone."""

    graphs: Recent[int, Graph] = field(default_factory=lambda: Recent(2))
    links: Recent[tuple[PeerName, bytes], LinksRecord] = field(default_factory=lambda: Recent(0))
    peers: Recent[bytes, PeerRecord] = field(default_factory=lambda: Recent(0))
    addresses: Recent[int, Addresses] = field(default_factory=lambda: Recent(1))

    @classmethod
    def shared(cls) -> "Memo":
        """Return one for thousands of replicas."""
        return cls(Recent(64), Recent(1 << 14), Recent(1 << 14), Recent(16))


@dataclass(frozen=True, slots=True)
class Reach:
    """How reachability changed."""

    appeared: tuple[PeerName, ...]
    vanished: tuple[PeerName, ...]
    is_news: bool
    """Whether anybody says something new of itself."""
    is_rewired: bool
    is_upheaval: bool
    """Whether so many peers have other links that trees are not worth growing."""
    """Whether any link is new or gone."""


class Network:
    """The graph as this peer sees it; see the module."""

    def __init__(self, me: PeerName, memo: Memo) -> None:
        self._me = me
        self._memo = memo
        self._topology = Topology()
        self._graph_key = -1
        self.graph = EMPTY
        self._suspects: set[PeerName] = set()
        """Peers whose links changed since the last refresh."""
        self.reachable: frozenset[PeerName] = frozenset((me,))
        self._is_news = False
        """Whether what peers say of themselves changed since the last refresh."""
        self._refused: list[str] = []

    @property
    def is_stale(self) -> bool:
        """Return whether anything changed since the last refresh."""
        return self._is_news or self._graph_key != self._topology.fingerprint

    def apply(self, changes: Iterable[ChannelChange]) -> list[str]:
        """Follow changes of the topology channel; return what was refused: an unreadable record counts as none."""
        for change in changes:
            if change.key == topology.PEER_KEY:
                self._is_news |= self._topology.set_peer(change.owner, self._read_peer(change.value))
            elif change.key == topology.LINKS_KEY and change.owner != self._me:
                self._set_links(change.owner, self._read_links(change.owner, change.value))
        refused, self._refused = self._refused, []
        return refused

    def set_own_links(self, links: tuple[LinkRecord, ...]) -> None:
        """Replace our own links."""
        self._set_links(self._me, topology.links_record(self._me, links))

    def refresh(self) -> Reach:
        """Compute the graph again, and say who came and went."""
        is_rewired = self._graph_key != self._topology.fingerprint
        is_upheaval = is_rewired and len(self._suspects) > limits.UPHEAVAL_PEERS
        if is_rewired:
            self._graph_key = self._topology.fingerprint
            self.graph = self._memo.graphs.get(self._graph_key, self._build)
            self._suspects.clear()
        is_news, self._is_news = self._is_news, False
        before, self.reachable = self.reachable, self.graph.component(self._me)
        if before is self.reachable or before == self.reachable:
            return Reach((), (), is_news, is_rewired, is_upheaval)
        appeared, vanished = sorted(self.reachable - before), sorted(before - self.reachable)
        return Reach(tuple(appeared), tuple(vanished), is_news, is_rewired, is_upheaval)

    def below(self, owner: PeerName, neighbours: Iterable[PeerName]) -> list[PeerName]:
        """Return the neighbours below us in an owner's tree, and those whom the graph does not have yet."""
        mine = self.graph.neighbours.get(self._me, ())
        children = self.graph.children(owner, self._me)
        return [name for name in neighbours if name in children or name not in mine]

    def not_beside(self, owner: PeerName, neighbours: Iterable[PeerName]) -> list[PeerName]:
        """Return the neighbours that are not the owner's as well, who hear it from the owner."""
        beside = self.graph.neighbours.get(owner, ())
        return [name for name in neighbours if name not in beside]

    def record(self, name: PeerName) -> PeerRecord | None:
        """Return what a peer says of itself."""
        return self._topology.peers.get(name)

    def addresses(self, root: int) -> Addresses:
        """Return where the reachable peers may be dialled; `root` is the hash of the topology channel."""
        return self._memo.addresses.get(root, self._find_addresses)

    def peers(self) -> list[PeerView]:
        """Return everybody who is remembered, sorted."""
        names = sorted(self._topology.peers.keys() | self.reachable)
        return [self._peer_view(name) for name in names]

    def nicknames(self) -> dict[PeerName, str]:
        """Return the nickname, or nothing, of everybody who is remembered."""
        return {name: self.nickname(name) for name in self._topology.peers.keys() | self.reachable}

    def nickname(self, name: PeerName) -> str:
        """Return a peer's nickname, or nothing."""
        record = self._topology.peers.get(name)
        return record.nickname if record else ""

    def unicast_routes(self) -> list[UnicastRoute]:
        """Return the way to every reachable peer, sorted."""
        hops = ((name, self.graph.next_hop(self._me, name)) for name in sorted(self.reachable))
        return [UnicastRoute(name, hop if hop is not None else name) for name, hop in hops]

    def broadcast_routes(self) -> list[BroadcastRoute]:
        """Return what we pass on for every reachable peer, sorted."""
        children = ((name, self.graph.children(name, self._me)) for name in sorted(self.reachable))
        return [BroadcastRoute(name, tuple(sorted(below))) for name, below in children]

    def _build(self) -> Graph:
        claims = {name: record.established for name, record in self._topology.links.items()}
        return self.graph.changed(claims, self._suspects)

    def _set_links(self, owner: PeerName, record: LinksRecord) -> None:
        if self._topology.set_links(owner, record):
            self._suspects.add(owner)

    def _read_peer(self, value: bytes | None) -> PeerRecord | None:
        if value is None:
            return None
        try:
            return self._memo.peers.get(value, lambda: topology.decode_peer(value))
        except RemoteError:
            self._refused.append(BAD_PEER_RECORD)
            return None

    def _read_links(self, owner: PeerName, value: bytes | None) -> LinksRecord:
        if value is None:
            return NO_LINKS
        try:
            return self._memo.links.get((owner, value), lambda: topology.decode_links(owner, value))
        except RemoteError:
            self._refused.append(BAD_LINKS_RECORD)
            return NO_LINKS

    def _find_addresses(self) -> Addresses:
        """Collect what peers advertise, then where others reached them; of one that advertises nothing, also where
        others saw it come from, with its control port."""
        found: dict[PeerName, dict[str, None]] = {}
        ports = {}
        for name in sorted(self.reachable):
            record = self._topology.peers.get(name)
            if record is not None and record.control_port:
                found[name] = {_join(address, record.control_port): None for address in record.addresses}
                if not record.addresses:
                    ports[name] = record.control_port
        for name in sorted(self.reachable):
            for link in self._topology.links.get(name, NO_LINKS).links:
                if not link.address:
                    continue
                if link.outbound and link.peer in found:
                    found[link.peer][link.address] = None
                elif link.peer in ports:
                    found[link.peer][_join(_host(link.address), ports[link.peer])] = None
        return {name: tuple(addresses)[:DISCOVERED_ADDRESSES] for name, addresses in found.items()}

    def _peer_view(self, name: PeerName) -> PeerView:
        record = self._topology.peers.get(name)
        links = tuple(
            LinkView(link.peer, self.nickname(link.peer), link.address, link.outbound, link.established)
            for link in self._topology.links.get(name, NO_LINKS).links
        )
        return PeerView(
            name=name,
            nickname=record.nickname if record else "",
            uid=record.uid if record else 0,
            version=record.version if record else "",
            is_self=name == self._me,
            reachable=name in self.reachable,
            control_port=record.control_port if record else 0,
            protocol_min=record.protocol_min if record else 0,
            protocol_max=record.protocol_max if record else 0,
            addresses=record.addresses if record else (),
            trusted_subnets=record.trusted_subnets if record else (),
            features=(record.features if record else None) or topology.NO_FEATURES,
            links=links,
        )


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


