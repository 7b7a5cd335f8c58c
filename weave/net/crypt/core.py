"""The encrypted links of this host, all peers together: events and the time in, effects out. Pure.

Effects are to be carried out in order and before anything else happens: an association is in the kernel before the
message leaves that lets the other end send by it. `Settle` means: make the kernel as `wireguard_wish`, `steered` and
`protected` say now.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from random import Random

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net.crypt import keys, limits, probe_messages
from weave.net.crypt.candidates import Mode
from weave.net.crypt.effects import Effect, Emit, LinksChanged, SecureLink, Settle, TunnelQuality
from weave.net.crypt.pact_messages import Way
from weave.net.crypt.peer import Counterpart, Host, SecurePeer
from weave.net.ipsec.plan import Place
from weave.net.wireguard.plan import DeviceWish
from weave.noise.keys import KeyPair
from weave.wire import WireError

MODES = frozenset(Mode)
EPOCHS_OF_A_PEER = 4
"""Three at most are alive; a look-up table that has more of them is made again."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an earlier life left in the kernel."""

    wireguard_keys: frozenset[bytes] = frozenset()
    """Public keys of peers with a live session."""
    steered: Mapping[Way, int] | None = None
    """Ways with policies, and the SPI they send by."""


class CryptCore:
    """Own the encrypted tunnels to all peers."""

    def __init__(self, host: Host, wireguard: KeyPair, found: Found, *, rng: Random,
                 entropy: Callable[[int], bytes], now: float) -> None:
        self.refused = 0
        """Messages and probes that were not genuine, or made no sense."""
        self._host, self._wireguard = host, wireguard
        self._rng, self._entropy = rng, entropy
        self._peers: dict[PeerName, SecurePeer] = {}
        self._epochs: dict[bytes, PeerName] = {}
        self._kept_keys = found.wireguard_keys
        self._kept_ways = dict(found.steered or {})
        self._kept_until = now + limits.KEPT_S
        self._links: dict[PeerName, SecureLink] = {}

    # -- what it is asked -----------------------------------------------------------------------------------------

    def links(self) -> Mapping[PeerName, SecureLink]:
        """Return how the tunnels to each peer stand, as of the last event."""
        return self._links

    def wireguard_wish(self) -> DeviceWish:
        """Return the WireGuard device as it should be."""
        wishes = (peer.wireguard_wish() for peer in self._peers.values())
        return DeviceWish(self._wireguard.private, self._host.claim.wireguard_port,
                          tuple(wish for wish in wishes if wish is not None), self._kept_keys)

    def steered(self) -> dict[Way, int]:
        """Return the ways that have policies, and the SPI each sends by."""
        return dict(peer.steered for peer in self._peers.values() if peer.steered is not None)

    def kept_ways(self) -> frozenset[Way]:
        """Return the ways whose policies and associations of an earlier life stay for now."""
        return frozenset(self._kept_ways) - self.steered().keys()

    def protected(self) -> frozenset[IPAddress]:
        """Return the addresses to which VXLAN goes by ESP or not at all."""
        return frozenset(way.other for way in (*self.steered(), *self.kept_ways()))

    def places(self) -> set[Place]:
        """Return the associations that somebody speaks for."""
        return {
            (association.destination, association.spi)
            for peer in self._peers.values() for association in peer.pact.installed()
        }

    def measured(self, traffic: Mapping[bytes | Place, tuple[int, int]]) -> dict[PeerName, TunnelQuality]:
        """Return how good the tunnels in use are.

        `traffic` holds octets sent and received: by public key of WireGuard, or by place of an association.
        """
        found = {}
        for name, link in self._links.items():
            peer = self._peers[name]
            if link.mode is None:
                continue
            current = peer.pact.current
            held = (current.outbound, current.inbound) if current is not None and link.mode is Mode.IPSEC else ()
            keys_ = [peer.wish.claim.wireguard_key] if link.mode is Mode.WIREGUARD else [
                (association.destination, association.spi) for association in held if association is not None]
            sums = [traffic.get(key, (0, 0)) for key in keys_]
            found[name] = TunnelQuality(*peer.measured(link.mode), sum(sent for sent, _ in sums),
                                        sum(received for _, received in sums))
        return found

    def peers_by(self, mode: Mode) -> list[PeerName]:
        """Return the peers to which there is, or shall be, such a tunnel."""
        return sorted(name for name, peer in self._peers.items()
                      if (peer.wireguard_wish() if mode is Mode.WIREGUARD else peer.steered) is not None)

    def deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min((peer.deadline() for peer in self._peers.values()),
                   default=inf if not (self._kept_keys or self._kept_ways) else self._kept_until)

    def resize(self, segment_mtu: int) -> None:
        """Prove from now on that tunnels carry packets of this size."""
        self._host = replace(self._host, segment_mtu=segment_mtu)
        for peer in self._peers.values():
            peer.resize(self._host)

    # -- events ---------------------------------------------------------------------------------------------------

    def want(self, wishes: Iterable[Counterpart], now: float) -> list[Effect]:
        """Have encrypted tunnels to these peers, and to no others."""
        wanted = {wish.peer: wish for wish in wishes}
        effects: list[Effect] = []
        gone, changed = sorted(self._peers.keys() - wanted.keys()), []
        for name in gone:
            effects += self._peers.pop(name).close()
        for name in sorted(wanted):
            wish, known = wanted[name], self._peers.get(name)
            if known is not None and known.wish.static_key == wish.static_key:
                if known.wish != wish:
                    changed.append(name)
                    effects += known.rewish(wish, now)
                continue
            changed.append(name)
            peer = self._peers[name] = SecurePeer(self._host, wish, adopted=self._adopted(wish), rng=self._rng,
                                                  entropy=self._entropy, now=now)
            effects += peer.tick(now)
        return self._finish(effects, now, [*gone, *changed])

    def trust(self, addresses: Collection[IPAddress], now: float) -> list[Effect]:
        """Keep nothing of an earlier life by which VXLAN to these addresses would be held back."""
        return self._finish(self._release(frozenset(), {way for way in self._kept_ways if way.other in addresses}),
                            now, ())

    def message(self, peer: PeerName, payload: bytes, now: float) -> list[Effect]:
        """Take in a message about keys; from a peer that is not wanted it is dropped."""
        known = self._peers.get(peer)
        if known is None:
            return []
        return self._finish(known.message(payload, now), now, [peer])

    def probe(self, data: bytes, source: IPAddress, now: float) -> list[Effect]:
        """Take in a datagram of the port for probes; what is not genuine is counted."""
        try:
            probe = probe_messages.decode(data)
        except WireError:
            self.refused += 1
            return []
        name = self._epochs.get(probe.epoch, PeerName(""))
        peer = self._peers.get(name)
        epoch = next((epoch for epoch in peer.pact.epochs() if epoch.id == probe.epoch), None) if peer else None
        if (peer is None or epoch is None or probe.mode not in MODES or peer.address(Mode(probe.mode)) != source
                or not probe_messages.is_genuine(data, keys.probe_key(epoch.receive_key))):
            self.refused += 1
            return []
        return self._finish(peer.probe(probe, epoch, now), now, [name])

    def worn(self, places: Iterable[Place], now: float) -> list[Effect]:
        """Get new keys for these associations: they are worn out, or gone from the kernel."""
        worn = set(places)
        effects: list[Effect] = []
        for peer in self._peers.values():
            current = peer.pact.current
            held = (current.inbound, current.outbound) if current is not None else ()
            if any(item is not None and (item.destination, item.spi) in worn for item in held):
                effects += peer.renew(now)
        return self._finish(effects, now, ())

    def lacking(self, destination: IPAddress, now: float) -> list[Effect]:
        """Get new keys for this address: the kernel has packets for it, and no association."""
        effects: list[Effect] = []
        for peer in self._peers.values():
            if peer.steered is not None and peer.steered[0].other == destination:
                effects += peer.renew(now)
        return self._finish(effects, now, ())

    def refuse(self, peer: PeerName, mode: Mode, reason: str, now: float) -> list[Effect]:
        """Note that the kernel refuses this tunnel."""
        known = self._peers.get(peer)
        return [] if known is None else self._finish(known.refuse(mode, reason, now), now, [peer])

    def unsent(self, emit: Emit, trouble: str) -> None:
        """Note that a probe could not be sent."""
        known = self._peers.get(emit.peer)
        if known is not None and emit.mode in known.tracks:
            known.tracks[emit.mode].unsent(emit.token, trouble)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        due = [name for name in sorted(self._peers) if self._peers[name].deadline() <= now]
        effects = [effect for name in due for effect in self._peers[name].tick(now)]
        if now >= self._kept_until:
            effects += self._release(self._kept_keys, set(self._kept_ways))
        return self._finish(effects, now, due)

    # -- work -----------------------------------------------------------------------------------------------------

    def _adopted(self, wish: Counterpart) -> Sequence[Mode]:
        """Return the tunnels to a peer that an earlier life left in the kernel."""
        found = []
        if wish.claim.wireguard_key in self._kept_keys:
            found.append(Mode.WIREGUARD)
        if wish.way in self._kept_ways:
            found.append(Mode.IPSEC)
        return found

    def _finish(self, effects: list[Effect], now: float, touched: Sequence[PeerName]) -> list[Effect]:
        """Bring what is derived of these peers up to date."""
        changed = False
        for name in touched:
            peer, before = self._peers.get(name), self._links.pop(name, None)
            if peer is None:
                changed = True
                continue
            link = self._links[name] = peer.link(now)
            changed = changed or before is None or _essence(before) != _essence(link)
            self._epochs |= {epoch.id: name for epoch in peer.pact.epochs()}
            effects += self._succeed(peer, link)
        if len(self._epochs) > EPOCHS_OF_A_PEER * (1 + len(self._peers)):
            self._epochs = {epoch.id: name for name, peer in self._peers.items() for epoch in peer.pact.epochs()}
        return [*effects, LinksChanged()] if changed else effects

    def _succeed(self, peer: SecurePeer, link: SecureLink) -> list[Effect]:
        """Let go of what an earlier life left for a peer that has better now."""
        current = peer.pact.current
        if current is None or not (self._kept_keys or self._kept_ways):
            return []
        has_better = current.outbound is not None or current.why or link.mode is Mode.WIREGUARD
        return self._release({peer.wish.claim.wireguard_key}, {peer.wish.way} if has_better else ())

    def _release(self, wireguard_keys: Collection[bytes], ways: Collection[Way]) -> list[Effect]:
        """Keep these no longer."""
        before = len(self._kept_keys) + len(self._kept_ways)
        self._kept_keys -= frozenset(wireguard_keys)
        self._kept_ways = {way: spi for way, spi in self._kept_ways.items() if way not in ways}
        return [Settle()] if len(self._kept_keys) + len(self._kept_ways) != before else []


def _essence(link: SecureLink) -> tuple[object, ...]:
    """Return what of a link is worth telling of: not every round trip time."""
    return link.mode, link.vtep, link.reasons
