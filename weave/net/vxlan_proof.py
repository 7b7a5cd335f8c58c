"""Whether plain VXLAN gets through to each peer: probes in and out, and who cannot be reached by it. Pure.

Unlike a tunnel that is prepared beside another way, plain VXLAN is used before it is proven: it nearly always works,
and there is nothing to protect. It is left when probes do not get through, or the other end says so of its own, and
used again when both ends have proven it. A peer that was not reached by it in an earlier life of this router is taken
for broken until then. The more peers there are, the less often each is probed.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf

from weave.addresses import IPAddress
from weave.errors import RemoteError
from weave.names import PeerName
from weave.net.crypt.limits import STALLED_S
from weave.net.crypt.probing import FAILED, PROVEN, Track
from weave.net.limits import VXLAN_HOPE_S, VXLAN_PEERS_AT_FULL_PACE
from weave.net.vxlan_probe import ANSWER, ASK, Probe, decode, encode


@dataclass(frozen=True, slots=True)
class Emit:
    """Send a datagram to the VXLAN port of an address."""

    peer: PeerName
    token: bytes
    datagram: bytes
    address: IPAddress


@dataclass(frozen=True, slots=True)
class VxlanWay:
    """Where plain VXLAN goes to a peer."""

    address: IPAddress
    reachable: bool
    """Over the mesh: its router answers probes."""
    connected: bool = False
    """The routers have a connection of their own: when that breaks, the way is looked at sooner."""
    slow_s: float = 0.0
    """How long things take that do not depend on VXLAN, for routers that may have too much to do."""


class _Peer:
    def __init__(self, way: VxlanWay, track: Track, hopeful_from: float) -> None:
        self.way, self.track = way, track
        self.hopeful_from = hopeful_from
        """From when on it may be unproven for a while; infinite where there is no reason to wait, or no more hope."""

    @property
    def hopeful_until(self) -> float:
        """Return until when it may be unproven."""
        return self.hopeful_from + VXLAN_HOPE_S * self.track.patience

    def deadline(self) -> float:
        return min(self.track.deadline(), self.hopeful_until)


class VxlanProof:
    """Own what is known of the ways to all peers."""

    def __init__(self, me: PeerName, vni: int, entropy: Callable[[int], bytes]) -> None:
        self.refused = 0
        """Frames that were no probe of a peer."""
        self.mtu = 0
        """Of the segment."""
        self.broken: dict[PeerName, str] = {}
        """The peers to which VXLAN does not get through, and why."""
        self._me, self._vni, self._entropy = me, vni, entropy
        self._peers: dict[PeerName, _Peer] = {}
        self._due: dict[PeerName, float] = {}
        """When each has something to do: kept, for it is asked for with every frame."""

    def doubt(self, peers: Collection[PeerName]) -> None:
        """Take these for broken until they are proven; to be said before they are wanted."""
        self.broken |= dict.fromkeys(peers, "it did not get through before this router was started anew")

    def want(self, ways: Mapping[PeerName, VxlanWay], now: float) -> list[Emit]:
        """Prove these ways, and no others; whoever is doubted and not wanted any more is forgotten."""
        for name in self._peers.keys() - ways.keys():
            del self._peers[name], self._due[name]
            self.broken.pop(name, None)
        pace = max(1.0, len(ways) / VXLAN_PEERS_AT_FULL_PACE)
        for name, way in ways.items():
            peer = self._peers.get(name)
            if peer is None or peer.way.address != way.address:
                peer = self._peers[name] = _Peer(way, Track(now, self._entropy), now)
            elif way.reachable and not peer.way.reachable:
                peer.hopeful_from = now
                peer.track.retry(now)
            elif peer.way.connected and not way.connected:
                peer.track.hurry(now)
            peer.way, peer.track.pace = way, pace
            peer.track.expect(way.slow_s)
            peer.track.suspend(now, suspended=not way.reachable)
            self._due[name] = peer.deadline()
        return self.tick(now)

    def frame(self, frame: bytes, now: float) -> list[Emit]:
        """Take in a frame that came to our bridge; what is no probe of a peer is counted."""
        try:
            name, probe = decode(frame)
        except RemoteError:
            self.refused += 1
            return []
        peer = self._peers.get(name)
        if peer is None:
            self.refused += 1
            return []
        if probe.kind == ANSWER:
            peer.track.answered(probe.token, now, peer_proven=probe.proven)
            return self._tend(name, peer, now)
        peer.track.heard(now, peer_proven=probe.proven)
        answer = self._emit(name, peer, Probe(ANSWER, peer.track.phase == PROVEN, probe.token))
        return [answer, *self._tend(name, peer, now)]

    def unsent(self, emit: Emit, trouble: str) -> None:
        """Note that a probe could not be sent."""
        if emit.peer in self._peers:
            self._peers[emit.peer].track.unsent(emit.token, trouble)

    def tick(self, now: float) -> list[Emit]:
        """Do what is due."""
        overdue = sorted(name for name, at in self._due.items() if at <= now)
        late_s = now - min((self._due[name] for name in overdue), default=now)
        if late_s > STALLED_S:
            for name, peer in self._peers.items():
                peer.hopeful_from += late_s  # we were held up ourselves
                self._due[name] = peer.deadline()
        due = [(name, self._peers[name]) for name in overdue]
        return [emit for name, peer in due for emit in self._tend(name, peer, now)]

    def deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min(self._due.values(), default=inf)

    def _tend(self, name: PeerName, peer: _Peer, now: float) -> list[Emit]:
        asks = peer.track.tick(now)
        if peer.track.is_usable(now):
            self.broken.pop(name, None)
            if peer.hopeful_until <= now:
                peer.hopeful_from = inf
        elif peer.way.reachable:
            if peer.track.phase == FAILED or peer.hopeful_until <= now:
                self.broken[name] = peer.track.reason or "the other end does not get through"
                peer.hopeful_from = inf
            elif peer.hopeful_from == inf and name not in self.broken:
                peer.hopeful_from = now  # its router may have begun anew, and have to prove it first
        self._due[name] = peer.deadline()
        return [self._emit(name, peer, Probe(ASK, peer.track.phase == PROVEN, ask.token),
                           self.mtu if ask.large else 0) for ask in asks]

    def _emit(self, name: PeerName, peer: _Peer, probe: Probe, packet: int = 0) -> Emit:
        return Emit(name, probe.token, encode(probe, name, self._me, vni=self._vni, packet=packet), peer.way.address)
