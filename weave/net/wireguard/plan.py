"""Decide what to change in a WireGuard device: wanted peers and real ones in, changes out. Pure.

The endpoint of a peer belongs to the kernel once there was a handshake: it follows a peer that moves, which no gossip
does as fast. Ours is a first guess, and a second one where the session has died.
"""

from dataclasses import dataclass, replace
from ipaddress import ip_network

from weave.addresses import IPAddress
from weave.net.crypt.limits import HANDSHAKE_STALE_S
from weave.netlink.wireguard import Device, Peer


@dataclass(frozen=True, slots=True)
class PeerWish:
    """A peer as it should be."""

    public_key: bytes
    preshared_key: bytes
    inner: IPAddress
    endpoint: tuple[IPAddress, int] | None
    keepalive_s: int = 0


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """The device as it should be."""

    private_key: bytes
    port: int
    peers: tuple[PeerWish, ...]
    kept: frozenset[bytes] = frozenset()
    """Public keys of peers that may stay as they are: nobody knows better yet."""


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """What to change, in this order: first who goes, for an address belongs to one peer at a time."""

    gone: tuple[bytes, ...] = ()
    identity: tuple[bytes, int] | None = None
    """Private key and port."""
    peers: tuple[Peer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.gone or self.identity or self.peers)


def plan_device(wanted: DeviceWish, actual: Device, wall_clock_s: float) -> DeviceChange:
    """Return the difference; `wall_clock_s` is on the clock of the kernel's handshake times."""
    has = {peer.public_key: peer for peer in actual.peers}
    wishes = {wish.public_key: wish for wish in wanted.peers}
    changes = (_plan_peer(wishes[key], has.get(key), wall_clock_s) for key in sorted(wishes))
    is_same = actual.private_key == wanted.private_key and actual.port == wanted.port
    return DeviceChange(
        gone=tuple(sorted(has.keys() - wishes.keys() - wanted.kept)),
        identity=None if is_same else (wanted.private_key, wanted.port),
        peers=tuple(change for change in changes if change is not None),
    )


def _plan_peer(wish: PeerWish, peer: Peer | None, wall_clock_s: float) -> Peer | None:
    allowed = frozenset({ip_network(wish.inner)})
    wanted = Peer(wish.public_key, wish.preshared_key, wish.endpoint, allowed, wish.keepalive_s)
    if peer is None:
        return wanted
    is_live = peer.endpoint is not None and wall_clock_s - peer.last_handshake_s < HANDSHAKE_STALE_S
    if is_live or wish.endpoint in (None, peer.endpoint):
        wanted = replace(wanted, endpoint=None)
    same = (peer.preshared_key == wanted.preshared_key and peer.allowed == allowed
            and peer.keepalive_s == wanted.keepalive_s and wanted.endpoint is None)
    return None if same else wanted
