"""Who takes part, as the core is told: this peer, the peer at the other end of a connection, and the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from weave.names import PeerName
from weave.wire import Plain

PROTOCOL_VERSION = 3
"""Versions 1 and 2 were Weave Net's."""


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """What this peer is and says of itself."""

    name: PeerName
    identity: bytes
    """The encoded public identity."""
    nickname: str
    uid: int
    """Random at every start: tells two processes with one identity apart."""
    incarnation: int
    """Durable, at least 1, higher at every start."""
    control_port: int
    addresses: tuple[str, ...] = ()
    """Underlay addresses without port; none leaves it to the others to see."""
    protocol_min: int = PROTOCOL_VERSION
    protocol_max: int = PROTOCOL_VERSION
    version: str = ""
    features: Mapping[str, Plain] = field(default_factory=dict)
    trusted_subnets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemotePeer:
    """What the handshake proved and told of the other end."""

    name: PeerName
    identity: bytes
    nickname: str
    uid: int
    control_port: int
    features: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """What the operator chose, and which channels this version knows beside the topology."""

    channels: tuple[str, ...] = ("dns", "endpoints", "groups", "ipam")
    durable: frozenset[str] = frozenset({"ipam"})
    discovery: bool = True
    connection_limit: int = 200
    default_port: int = 6783
