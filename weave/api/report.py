"""The report: everything a router knows about itself, as the JSON of `GET /report`.

This is the one data model of status pages, metrics and the command line. It keeps the names of Weave Net's report;
what is new stands beside. Lists come sorted from whoever builds them; `None` is a service that is off.
"""

from collections.abc import Mapping
from typing import TypedDict


class ConnectionReport(TypedDict):
    """One connection of ours, or a target we try to reach."""

    Address: str
    Outbound: bool
    State: str
    """established, pending, connecting, retrying, failed or waiting."""
    Info: str
    """A sentence: why, and when it is tried again; may be empty."""
    Name: str | None
    NickName: str | None
    Attrs: Mapping[str, object]
    """`encrypted`, `mode` (of the data link) and `mtu` among others."""


class PeerConnectionReport(TypedDict):
    """One connection of some peer, as that peer published it."""

    Name: str
    NickName: str
    Address: str
    Outbound: bool
    Established: bool


class PeerReport(TypedDict):
    """One peer of the mesh, we among them."""

    Name: str
    NickName: str
    UID: int
    Version: int
    Reachable: bool
    Connections: list[PeerConnectionReport]


class UnicastRouteReport(TypedDict):
    """The neighbour through which messages for a peer go."""

    Dest: str
    Via: str


class BroadcastRouteReport(TypedDict):
    """The neighbours to which broadcasts of a peer are passed on."""

    Source: str
    Via: list[str]


class RouterReport(TypedDict):
    """The mesh as this router sees it."""

    Protocol: str
    ProtocolMinVersion: int
    ProtocolMaxVersion: int
    Name: str
    NickName: str
    UID: int
    Port: int
    Encryption: bool
    """Whether a password is set; control connections are encrypted in any case."""
    PeerDiscovery: bool
    Targets: list[str]
    TrustedSubnets: list[str]
    TerminationCount: int
    ConnLimit: int
    Connections: list[ConnectionReport]
    Peers: list[PeerReport]
    UnicastRoutes: list[UnicastRouteReport]
    BroadcastRoutes: list[BroadcastRouteReport]
    Refused: Mapping[str, int]
    """Records and handshakes that were refused, by reason."""
    Warnings: list[str]
    """What an operator should do something about, a sentence each."""


class PaxosReport(TypedDict):
    """The first division of the range, while it goes on."""

    Elector: bool
    KnownNodes: int
    Quorum: int


class RangeReport(TypedDict):
    """One range of the ring."""

    Token: str
    Size: int
    Peer: str
    Nickname: str
    IsKnownPeer: bool
    Version: int


class OwnerReport(TypedDict):
    """What one peer owns of the ring."""

    Peer: str
    Nickname: str
    IPs: int
    Percent: float
    Active: int | None
    """Addresses in use, known of ourselves alone."""
    Reachable: bool


class ClaimReport(TypedDict):
    """A claim that waits for another peer's consent."""

    Ident: str
    CIDR: str


class IpamReport(TypedDict):
    """Address allocation."""

    Status: str
    Range: str
    RangeNumIPs: int
    ActiveIPs: int
    DefaultSubnet: str
    Paxos: PaxosReport | None
    Entries: list[RangeReport]
    Owners: list[OwnerReport]
    PendingAllocates: list[str]
    PendingClaims: list[ClaimReport]
    Conflicts: list[str]


class NameReport(TypedDict):
    """One name with one address."""

    Hostname: str
    Origin: str
    ContainerID: str
    Address: str
    Reachable: bool


class DnsReport(TypedDict):
    """The name service."""

    Domain: str
    Upstream: list[str]
    Address: str
    TTL: int
    Entries: list[NameReport]
    Counters: Mapping[str, int]


class EndpointReport(TypedDict):
    """One container interface somewhere on the network."""

    MAC: str
    Addresses: list[str]
    ContainerID: str
    Interface: str
    Peer: str
    NickName: str
    Local: bool
    Labels: Mapping[str, str]


class LinkReport(TypedDict):
    """The way packets take to one peer."""

    Peer: str
    NickName: str
    Mode: str
    Address: str
    MTU: int
    Reason: str
    """Why the mode is not a better one; may be empty."""
    Quality: "QualityReport | None"
    """What was measured of an encrypted way; None for VXLAN in the clear, and until there is a way."""


class QualityReport(TypedDict):
    """How good the way to a peer is."""

    RTTms: float | None
    LossPercent: float
    DatagramBytes: int
    SentBytes: int
    ReceivedBytes: int


class BridgeReport(TypedDict):
    """The bridge of this host."""

    Name: str
    MAC: str
    MTU: int
    MTUReason: str
    """Why the MTU is less than what this host carries; else empty."""
    Addresses: list[str]


class Report(TypedDict):
    """Everything."""

    Ready: bool
    Version: str
    Router: RouterReport
    IPAM: IpamReport | None
    IPAM6: IpamReport | None
    """The IPv6 range that stands beside an IPv4 one."""
    DNS: DnsReport | None
    Endpoints: list[EndpointReport]
    Links: list[LinkReport]
    Bridge: BridgeReport
