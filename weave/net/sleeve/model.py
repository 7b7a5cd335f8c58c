"""What the router tells the sleeve, what the sleeve tells the router, and what its core wants done: values only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from weave.net.sleeve.ways import Figures
from weave.net.sleeve.wire import Address, Key, Lack

if TYPE_CHECKING:
    from weave.net.sleeve.peer import Peer


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """A peer that container traffic is exchanged with."""

    name: str
    key: Key
    addresses: tuple[Address, ...]
    """Where it may be; it is taken to be where it was last heard from."""
    standby: bool = False
    """It only helps to reach others, or is helped: no frames go to it."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """How the way to a peer is."""

    name: str
    established: bool
    address: Address | None
    rtt_s: float | None
    loss: float
    size: int
    """The largest datagram that gets through."""
    sent: int
    received: int
    """Octets of frames."""
    helper: str = ""
    """The peer that passes everything on, where there is no direct way, or only a worse one."""
    direct: Figures | None = None
    """What was measured of the direct way meanwhile; None where it does not answer."""
    through: Figures | None = None
    """What was measured of the way through the helper at the same moments."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a datagram."""

    datagram: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class Resend:
    """Send fragments of units of a session again, where they are still kept."""

    peer: "Peer"
    receiver: int
    lacks: tuple[Lack, ...]
    address: Address


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell the log, and the router, that something changed."""

    peer: str
    event: str
    address: Address | None


Effect = Send | Resend | Notice
