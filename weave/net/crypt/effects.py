"""What the core of the encrypted links asks of its shell, in this order, and what it tells of links."""

from dataclasses import dataclass

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net.crypt.candidates import Mode
from weave.netlink.xfrm import Association


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message about keys to a peer, over the mesh."""

    peer: PeerName
    payload: bytes


@dataclass(frozen=True, slots=True)
class Install:
    """Give the kernel an association."""

    peer: PeerName
    association: Association


@dataclass(frozen=True, slots=True)
class Drop:
    """Take an association out of the kernel."""

    association: Association


@dataclass(frozen=True, slots=True)
class Settle:
    """Make gate, policies and WireGuard as the core has them now, before the effects that follow."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Send a probe into a tunnel."""

    peer: PeerName
    mode: Mode
    token: bytes
    address: IPAddress
    port: int
    datagram: bytes
    is_answer: bool


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """What `links` returns is not what it was."""


Effect = Tell | Install | Drop | Settle | Emit | LinksChanged


@dataclass(frozen=True, slots=True)
class TunnelQuality:
    """How good a tunnel in use is."""

    rtt_s: float | None
    loss: float
    size: int
    """The largest datagram that probes have sent through it."""
    sent: int
    """Octets, by the present session or keys."""
    received: int


@dataclass(frozen=True, slots=True)
class SecureLink:
    """How the encrypted tunnels to one peer stand."""

    peer: PeerName
    mode: Mode | None
    """The best one that both ends have proven; None: there is none."""
    vtep: IPAddress | None
    """Where VXLAN goes in that mode."""
    rtt_s: float | None
    reasons: tuple[tuple[Mode, str], ...]
    """Why not the better ones; of all of them where there is none."""

    def words(self) -> str:
        """Return the reasons as one sentence."""
        return "; ".join(f"no {mode.words}: {reason}" for mode, reason in self.reasons)
