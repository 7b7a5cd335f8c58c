"""Snapshots of the mesh for status pages: plain values, sorted, never live state."""

from collections.abc import Mapping
from dataclasses import dataclass

from weave.names import PeerName


@dataclass(frozen=True, slots=True)
class LinkView:
    """A connection of some peer, as that peer publishes it."""

    peer: PeerName
    nickname: str
    address: str
    outbound: bool
    established: bool


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer, reachable or remembered."""

    name: PeerName
    nickname: str
    uid: int
    version: str
    is_self: bool
    reachable: bool
    control_port: int
    protocol_min: int
    protocol_max: int
    addresses: tuple[str, ...]
    trusted_subnets: tuple[str, ...]
    features: Mapping[str, object]
    links: tuple[LinkView, ...]


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """A connection of ours."""

    conn: int
    peer: PeerName
    nickname: str
    address: str
    outbound: bool
    established: bool
    since: float
    rtt_s: float | None
    congested: bool
    features: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class UnicastRoute:
    """The neighbour through which a peer is reached; our own name for ourselves and, directly, for neighbours."""

    destination: PeerName
    via: PeerName


@dataclass(frozen=True, slots=True)
class BroadcastRoute:
    """The neighbours to which we pass on what a peer broadcasts."""

    source: PeerName
    via: tuple[PeerName, ...]


@dataclass(frozen=True, slots=True)
class ChannelView:
    """How one gossip channel does."""

    channel: str
    owners: int
    entries: int
    merges: int
    """Entries that were new, in all."""
    sent_bytes: int
    root: str
