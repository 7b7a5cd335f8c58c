"""One peer with which links are encrypted: its pact, its tunnels, and which of them is used. Pure.

WireGuard is tried first, where both ends have it. IPsec costs associations and messages, so it is prepared only where
WireGuard cannot be or has failed, and given up some time after WireGuard carries again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net.crypt import keys, limits, pact, probe_messages
from weave.net.crypt.candidates import Claim, Mode, candidates, why_not
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.effects import Drop, Effect, Emit, Install, SecureLink, Settle, Tell
from weave.net.crypt.pact import Epoch, Pact, Party
from weave.net.crypt.pact_messages import Way
from weave.net.crypt.probe_messages import ANSWER, ASK, Probe
from weave.net.crypt.probing import FAILED, PROVEN, Ask, Track
from weave.net.wireguard.plan import PeerWish


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A peer to which container traffic must be encrypted, as the router knows it."""

    peer: PeerName
    static_key: bytes
    claim: Claim
    way: Way
    translated: bool
    """One of the two addresses is seen as another at the other end (NAT)."""
    reachable: bool = True
    """Over the mesh. While its router is away nobody answers probes, yet its kernel carries on."""


@dataclass(frozen=True, slots=True)
class Host:
    """What this host brings to every pair."""

    party: Party
    ability: KernelAbility
    claim: Claim
    segment_mtu: int
    """Largest packet of a container."""
    tunnel_mtu: int
    """Largest packet that goes into WireGuard."""


class SecurePeer:
    """One end of all tunnels to one peer."""

    def __init__(self, host: Host, wish: Counterpart, *, adopted: Sequence[Mode], rng: Random,
                 entropy: Callable[[int], bytes], now: float) -> None:
        self.wish = wish
        self.pact = Pact(host.party, wish.peer, wish.static_key, rng=rng, entropy=entropy, now=now)
        self.tracks: dict[Mode, Track] = {}
        self.steered: tuple[Way, int] | None = None
        """The way that has policies, and the SPI they send by."""
        self._host = host
        self._entropy = entropy
        self._wants_esp = False
        self._spare_esp_at = inf
        """When IPsec is given up, for WireGuard carries."""
        self._refused: dict[Mode, tuple[str, float]] = {}
        """Tunnels that our kernel refused, why, and until when it is not asked again."""
        self._adopted = frozenset(adopted)
        self._adopted_until = now + limits.ADOPTED_S

    # -- what it is asked -----------------------------------------------------------------------------------------

    def candidates(self) -> tuple[Mode, ...]:
        """Return the tunnels that both ends can have."""
        wish = self.wish
        found = candidates(self._host.claim, wish.claim, wish.way.other.version, translated=wish.translated)
        return tuple(mode for mode in found if mode not in self._refused)

    def address(self, mode: Mode) -> IPAddress:
        """Return where VXLAN goes in a mode."""
        return keys.inner_address(self.wish.peer) if mode is Mode.WIREGUARD else self.wish.way.other

    def wireguard_wish(self) -> PeerWish | None:
        """Return this peer as WireGuard should have it; None where it should not, or no keys are agreed yet."""
        epoch, wish = self.pact.current, self.wish
        if epoch is None or Mode.WIREGUARD not in self.candidates():
            return None
        theirs = wish.claim.wireguard_key
        return PeerWish(theirs, keys.pair_key(epoch.password_key, self._host.claim.wireguard_key, theirs),
                        keys.inner_address(wish.peer), (wish.way.other, wish.claim.wireguard_port),
                        limits.KEEPALIVE_S if wish.translated else 0)

    def link(self, now: float) -> SecureLink:
        """Return how the tunnels stand."""
        ours = self.candidates()
        reasons: list[tuple[Mode, str]] = []
        for mode in Mode:
            if mode in self._refused:
                reasons.append((mode, self._refused[mode][0]))
                continue
            if mode not in ours:
                reasons.append((mode, why_not(mode, self._host.claim, self.wish.claim, self.wish.way.other.version,
                                              self._host.ability)))
                continue
            track = self.tracks.get(mode)
            if self._carries(mode, now):
                return SecureLink(self.wish.peer, mode, self.address(mode), track.rtt_s if track else None,
                                  tuple(reasons))
            reasons.append((mode, self._why_unused(mode, track)))
        return SecureLink(self.wish.peer, None, None, None, tuple(reasons))

    def measured(self, mode: Mode) -> tuple[float | None, float, int]:
        """Return round trip, loss and datagram size of a tunnel."""
        track = self.tracks.get(mode)
        return (None, 0.0, 0) if track is None else (track.rtt_s, track.loss, self._large(mode))

    def deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min(self.pact.deadline(), self._spare_esp_at, self._adopted_until if self._adopted else inf,
                   *(until for _, until in self._refused.values()),
                   *(track.deadline() for track in self.tracks.values()))

    def resize(self, host: Host) -> None:
        """Take note that packets of this host are of another size now."""
        self._host = host

    # -- events ---------------------------------------------------------------------------------------------------

    def rewish(self, wish: Counterpart, now: float) -> list[Effect]:
        """Take note that the router knows something else of the peer now."""
        has_moved = replace(self.wish, reachable=wish.reachable) != wish
        self.wish = wish
        for track in self.tracks.values():
            if has_moved or wish.reachable:
                track.retry(now)
            track.suspend(now, suspended=not wish.reachable)
        return [*self._perform(self.pact.nudge(now), now), *self.tick(now), Settle()]

    def message(self, payload: bytes, now: float) -> list[Effect]:
        """Take in a message about keys."""
        return [*self._perform(self.pact.message(payload, now), now), *self.tick(now)]

    def probe(self, probe: Probe, epoch: Epoch, now: float) -> list[Effect]:
        """Take in a genuine probe, which came through the tunnel it names."""
        mode = Mode(probe.mode)
        track = self.tracks.get(mode)
        if probe.kind == ANSWER:
            if track is not None:
                track.answered(probe.token, now, peer_proven=probe.proven)
            return self.tick(now)
        answer = Probe(ANSWER, mode, self._vouches(mode, now), epoch.id, probe.token)
        datagram = probe_messages.encode(answer, keys.probe_key(epoch.send_key))
        if track is not None:
            track.heard(now, peer_proven=probe.proven)
        return [Emit(self.wish.peer, mode, probe.token, self.address(mode), self.wish.claim.probe_port, datagram,
                     is_answer=True), *self.tick(now)]

    def renew(self, now: float) -> list[Effect]:
        """Get new keys: the old ones are worn out, or the kernel lost them."""
        return self._perform(self.pact.renew(now), now)

    def refuse(self, mode: Mode, reason: str, now: float) -> list[Effect]:
        """Do without a tunnel for a while: our kernel refuses it."""
        self._refused[mode] = reason, now + limits.REFUSED_S
        return self.tick(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self._adopted_until <= now:
            self._adopted = frozenset()
        self._refused = {mode: refusal for mode, refusal in self._refused.items() if refusal[1] > now}
        ours = self.candidates()
        for mode in [mode for mode in self.tracks if mode not in ours]:
            del self.tracks[mode]
        effects: list[Effect] = []
        for mode, track in sorted(self.tracks.items()):
            before = track.phase
            effects += [self._emit(mode, ask, now) for ask in track.tick(now)]
            if mode is Mode.IPSEC and track.phase == FAILED != before:
                effects += self._perform(self.pact.renew(now), now)  # the other end may have lost the keys
        effects += self._choose_esp(ours, now)
        effects += self._perform(self.pact.tick(now), now)
        if Mode.WIREGUARD in ours and self.pact.current is not None:
            self._track(Mode.WIREGUARD, now)
        return effects

    def close(self) -> list[Effect]:
        """Drop everything; the next `Settle` takes it from the kernel."""
        self.steered = None
        return [*self._perform(self.pact.close(), 0.0), Settle()]

    # -- work -----------------------------------------------------------------------------------------------------

    def _carries(self, mode: Mode, now: float) -> bool:
        """Say whether a tunnel is proven, or was found in the kernel at the start and not disproven since."""
        track = self.tracks.get(mode)
        if track is not None and track.is_usable(now):
            return True
        return self._is_adopted(mode, now)

    def _vouches(self, mode: Mode, now: float) -> bool:
        """Say whether the other end may use a tunnel, as far as we know."""
        track = self.tracks.get(mode)
        return (track is not None and track.phase == PROVEN) or self._is_adopted(mode, now)

    def _is_adopted(self, mode: Mode, now: float) -> bool:
        track = self.tracks.get(mode)
        return mode in self._adopted and now < self._adopted_until and (track is None or track.phase != FAILED)

    def _choose_esp(self, ours: Sequence[Mode], now: float) -> list[Effect]:
        """Begin or end to want IPsec."""
        wireguard = self.tracks.get(Mode.WIREGUARD)
        if Mode.IPSEC not in ours:
            return self._want_esp(None, now)
        if Mode.WIREGUARD not in ours or (wireguard is not None and wireguard.phase == FAILED):
            self._spare_esp_at = inf
            return self._want_esp(self.wish.way, now)
        if self._wants_esp and wireguard is not None and wireguard.is_usable(now):
            self._spare_esp_at = min(self._spare_esp_at, now + limits.GRACE_S)
        if self._spare_esp_at <= now:
            return self._want_esp(None, now)
        return self._want_esp(self.wish.way, now) if self._wants_esp else []

    def _want_esp(self, way: Way | None, now: float) -> list[Effect]:
        if way is None:
            self._spare_esp_at = inf
        self._wants_esp = way is not None
        effects = self._perform(self.pact.want(way, now), now)
        if self.steered is not None and self.steered[0] != way:
            self._unsteer()
            effects.append(Settle())
        return effects

    def _track(self, mode: Mode, now: float) -> None:
        if mode not in self.tracks:
            self.tracks[mode] = Track(now, self._entropy)
            self.tracks[mode].suspend(now, suspended=not self.wish.reachable)

    def _unsteer(self) -> None:
        self.steered = None
        self.tracks.pop(Mode.IPSEC, None)

    def _perform(self, effects: Sequence[pact.Effect], now: float) -> list[Effect]:
        found: list[Effect] = []
        for effect in effects:
            match effect:
                case pact.Send(payload):
                    found.append(Tell(self.wish.peer, payload))
                case pact.Install(association):
                    found.append(Install(self.wish.peer, association))
                case pact.Drop(association):
                    found.append(Drop(association))
                case pact.Steer(way, spi):
                    self.steered = way, spi
                    self._track(Mode.IPSEC, now)
                    found.append(Settle())
                case pact.Agreed(epoch):
                    if epoch.outbound is None:
                        self._unsteer()
                    found.append(Settle())
        return found

    def _emit(self, mode: Mode, ask: Ask, now: float) -> Emit:
        epoch = self.pact.current
        assert epoch is not None, "tunnels are tracked only when keys are agreed"
        probe = Probe(ASK, mode, self._vouches(mode, now), epoch.id, ask.token)
        size = self._large(mode) if ask.large else 0
        return Emit(self.wish.peer, mode, ask.token, self.address(mode), self.wish.claim.probe_port,
                    probe_messages.encode(probe, keys.probe_key(epoch.send_key), size), is_answer=False)

    def _large(self, mode: Mode) -> int:
        """Return the size of a datagram that makes as large a packet as VXLAN with a full container packet does."""
        version = self.address(mode).version
        packet = self._host.segment_mtu + limits.VXLAN_OVERHEAD[version]
        if mode is Mode.WIREGUARD:
            packet = min(packet, self._host.tunnel_mtu)
        return packet - probe_messages.UDP_OVERHEAD[version]

    def _why_unused(self, mode: Mode, track: Track | None) -> str:
        if self.pact.current is None:
            return self.pact.failure or "no keys are agreed with that host yet"
        if mode is Mode.IPSEC and self._wants_esp and self.steered is None:
            return self.pact.current.why or "no keys are agreed for it yet"
        if track is None:
            return "it is not needed"
        return track.reason or "the other end has not proven it yet"
