"""Snapshots of address allocation for reports: plain values, sorted, never live state."""

from dataclasses import dataclass

from weave.addresses import IPAddress, IPNetwork
from weave.names import PeerName


@dataclass(frozen=True, slots=True)
class PaxosView:
    """The election of the first division, while it goes on."""

    elector: bool
    known: int
    quorum: int


@dataclass(frozen=True, slots=True)
class RangeView:
    """Consecutive addresses of one owner that follow from one record."""

    token: IPAddress
    size: int
    peer: PeerName
    nickname: str
    is_known: bool
    version: int


@dataclass(frozen=True, slots=True)
class OwnerView:
    """What one peer owns in all."""

    peer: PeerName
    nickname: str
    size: int
    percent: float
    active: int | None
    """Addresses in use, known of ourselves alone."""
    reachable: bool


@dataclass(frozen=True, slots=True)
class IpamView:
    """Everything a report says of one allocator."""

    status: str
    network: IPNetwork
    active: int
    default_subnet: IPNetwork
    paxos: PaxosView | None
    ranges: tuple[RangeView, ...]
    owners: tuple[OwnerView, ...]
    """Ourselves first where we own anything, the others by name."""
    pending_allocates: tuple[str, ...]
    pending_claims: tuple[tuple[str, str], ...]
    """Ident and CIDR."""
    conflicts: tuple[str, ...]
