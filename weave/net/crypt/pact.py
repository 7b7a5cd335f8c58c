"""How two peers agree on fresh keys, and again before those wear out. Pure.

    initiator (the lower name)                         responder
      offer  ───────────────────────────────────────→   installs what it receives by
      installs both directions, sends by the new keys ←───────────────────────────────  accept
      confirm ──────────────────────────────────────→   installs what it sends by, sends by the new keys
      ←─────────────────────────────────────────────  done
      both drop the old keys after a grace

An end sends by new keys only when it knows that the other can receive by them, and drops old ones only when nothing
sent by them can still be on its way. So nothing is lost, whichever message is lost, late or doubled. Only one end
begins, hence no two agreements cross; the other end pokes it when it wants one. An offer names the epoch that its
sender has: where that is one whose confirmation was lost, the offer confirms it.

Offers rise in incarnation and number, so that an old one played again is none. An initiator whose state file was
restored from a copy begins lower than it once was; it is told by a message made for its very offer, which only the
other end can make, how high it has been, and goes on from there. The responder never goes lower.

Invariants: the keys of an epoch come from ephemeral keys of both ends, so no key is ever used in two epochs, lives or
directions; an association is installed once, at the birth of its epoch, and never again: its counter cannot restart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random

from weave.errors import RemoteError
from weave.names import PeerName
from weave.net.crypt import keys, limits
from weave.net.crypt import pact_messages as wire
from weave.net.crypt.pact_messages import Terms, Way
from weave.netlink.xfrm import Association
from weave.noise.handshake_state import HandshakeState, PskMismatchError
from weave.noise.keys import KeyPair
from weave.wire import WireError


@dataclass(frozen=True, slots=True)
class Epoch:
    """Keys that both ends have."""

    id: bytes
    password_key: bytes = field(repr=False)
    """That of the password by which it was agreed."""
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    inbound: Association | None
    """None, as `outbound`: no IPsec."""
    outbound: Association | None
    why: str = ""
    """Why there is no IPsec, when it was wanted."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the peer, over the mesh."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Install:
    """Give the kernel an association; never the same one twice."""

    association: Association


@dataclass(frozen=True, slots=True)
class Steer:
    """Send to this way's other end by the association `spi` from now on."""

    way: Way
    spi: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Take an association out of the kernel."""

    association: Association


@dataclass(frozen=True, slots=True)
class Agreed:
    """There is a new epoch to send by."""

    epoch: Epoch


Effect = Send | Install | Steer | Drop | Agreed


@dataclass(slots=True)
class _Offer:
    """An offer on its way."""

    state: HandshakeState
    id: bytes
    terms: Terms


@dataclass(slots=True)
class _Pending:
    """An agreement that the initiator has not confirmed yet, though it may send by it already."""

    epoch: Epoch
    offer: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class Party:
    """Who agrees, and by what."""

    name: PeerName
    static: KeyPair
    incarnation: int
    password_keys: tuple[bytes, ...] = field(repr=False)


class Pact:
    """One end of the agreement with one peer."""

    def __init__(self, me: Party, peer: PeerName, static_key: bytes, *, rng: Random,
                 entropy: Callable[[int], bytes], now: float) -> None:
        self.current: Epoch | None = None
        self.failure = ""
        """Why the last attempt failed, for people."""
        self.refused = 0
        self._me, self._peer, self._static_key = me, peer, static_key
        self._rng, self._entropy = rng, entropy
        self._initiates = me.name < peer
        ends = (me.name, peer) if self._initiates else (peer, me.name)
        self._prologue = wire.prologue(*ends)
        self._way: Way | None = None
        self._previous: Epoch | None = None
        self._previous_until = inf
        self._offer: _Offer | None = None
        self._pending: _Pending | None = None
        self._confirm: bytes | None = None
        self._confirms_left = 0
        self._confirm_at = inf
        self._rekey_at = inf
        self._try_at = now
        self._pause = limits.OFFER_RETRY_S
        self._latest = (me.incarnation, 0)
        """Incarnation and number of our latest offer; the former is that of an earlier life where that was higher."""
        self._heard = (0, 0)
        """Incarnation and number of the latest offer."""
        self._tried_at = -inf
        self._effects: list[Effect] = []

    # -- what the caller wants ----------------------------------------------------------------------------------

    def want(self, way: Way | None, now: float) -> list[Effect]:
        """Have IPsec over this way, or (None) not; what was there of another way goes."""
        if way == self._way:
            return []
        self._way = way
        for epoch in self.epochs():
            self._drop(epoch)
        if self.current is not None:
            self.current = replace(self.current, inbound=None, outbound=None, why="")
        self._previous, self._pending = None, None
        if way is not None:
            self._hasten(now)
        return self._finish(now)

    def renew(self, now: float) -> list[Effect]:
        """Agree on new keys now: the old ones are worn out, or gone from the kernel."""
        self._rekey_at = min(self._rekey_at, now)
        self._hasten(now)
        return self._finish(now)

    def nudge(self, now: float) -> list[Effect]:
        """Do not wait for the next attempt: the peer can be reached again."""
        if self._needs_epoch(now):
            self._hasten(now)
        return self._finish(now)

    def close(self) -> list[Effect]:
        """Drop everything."""
        for epoch in self.epochs():
            self._drop(epoch)
        self.current = self._previous = self._pending = None
        effects, self._effects = self._effects, []
        return effects

    def epochs(self) -> list[Epoch]:
        """Return the epochs by which the other end may send, the newest first."""
        pending = None if self._pending is None else self._pending.epoch
        return [epoch for epoch in (pending, self.current, self._previous) if epoch is not None]

    def installed(self) -> list[Association]:
        """Return the associations that the kernel was given; what is pending is not sent by yet."""
        held = [] if self._pending is None else [self._pending.epoch.inbound]
        for epoch in filter(None, (self.current, self._previous)):
            held += [epoch.inbound, epoch.outbound]
        return [association for association in held if association is not None]

    # -- events -------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """Return when `tick` has something to do."""
        attempt = max(self._try_at, self._rekey_at if self._is_content() else 0.0)
        return min(attempt, self._previous_until, self._confirm_at)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        return self._finish(now)

    def message(self, payload: bytes, now: float) -> list[Effect]:
        """Take in what the peer, or somebody who says to be it, sent; what makes no sense is counted."""
        try:
            parcel = wire.decode(payload)
            match parcel.kind:
                case wire.OFFER if not self._initiates:
                    self._on_offer(parcel, now)
                case wire.ACCEPT if self._initiates:
                    self._on_accept(parcel, now)
                case wire.STALE if self._initiates:
                    self._on_stale(parcel, now)
                case wire.CONFIRM if not self._initiates:
                    self._on_confirm(parcel, now)
                case wire.DONE if self._initiates:
                    self._on_done(parcel, now)
                case wire.POKE if self._initiates:
                    self._on_poke(now)
        except PskMismatchError:
            self.failure = "the other end answered with a password that this host does not know"
        except RemoteError:
            self.refused += 1
        return self._finish(now)

    def _on_offer(self, parcel: wire.Parcel, now: float) -> None:
        if self._pending is not None and self._pending.offer == parcel.body:
            self._effects.append(Send(self._pending.answer))
            return
        state = self._handshake(self._me.password_keys)
        theirs = wire.unpack_terms(state.read_message(parcel.body))
        if state.remote_static != self._static_key:
            raise WireError("an offer in the name of another peer")
        if (theirs.incarnation, theirs.number) <= self._heard:
            floor = state.write_message(wire.pack_floor(self._heard))
            self._effects.append(Send(wire.encode(wire.STALE, parcel.id, floor)))
            raise WireError("an offer that is older than another")
        self._heard = theirs.incarnation, theirs.number
        if self._pending is not None and theirs.current == self._pending.epoch.id:
            self._adopt_pending(now)
        ours = self._terms(theirs)
        answer = wire.encode(wire.ACCEPT, parcel.id, state.write_message(wire.pack_terms(ours)))
        epoch = self._epoch(state, ours, theirs, self._me.password_keys[0])
        if self._pending is not None:
            self._drop(self._pending.epoch)
        self._pending = _Pending(epoch, parcel.body, answer)
        if epoch.inbound is not None:
            self._effects.append(Install(epoch.inbound))
        self._effects.append(Send(answer))

    def _on_accept(self, parcel: wire.Parcel, now: float) -> None:
        offer = self._offer
        if offer is None or parcel.id != offer.id:
            return
        self._offer = None  # a handshake is of no use after a message that does not fit
        theirs = wire.unpack_terms(offer.state.read_message(parcel.body))
        epoch = self._epoch(offer.state, offer.terms, theirs, self._me.password_keys[offer.state.psk_index])
        if epoch.inbound is not None:
            self._effects.append(Install(epoch.inbound))
        self._adopt(epoch, now)
        confirm = wire.seal(keys.confirm_key(epoch.send_key), wire.CONFIRM, epoch.id)
        self._confirm = wire.encode(wire.CONFIRM, epoch.id, confirm)
        self._confirms_left, self._confirm_at = limits.CONFIRM_ATTEMPTS, now

    def _on_stale(self, parcel: wire.Parcel, now: float) -> None:
        offer = self._offer
        if offer is None or parcel.id != offer.id:
            return
        self._offer = None
        self._latest = max(self._latest, wire.unpack_floor(offer.state.read_message(parcel.body)))
        self._hasten(now)

    def _on_confirm(self, parcel: wire.Parcel, now: float) -> None:
        pending = self._pending
        if pending is not None and parcel.id == pending.epoch.id:
            self._require_seal(pending.epoch, parcel)
            self._adopt_pending(now)
        elif self.current is None or parcel.id != self.current.id:
            return
        assert self.current is not None
        self._require_seal(self.current, parcel)
        done = wire.seal(keys.confirm_key(self.current.send_key), wire.DONE, parcel.id)
        self._effects.append(Send(wire.encode(wire.DONE, parcel.id, done)))

    def _adopt_pending(self, now: float) -> None:
        assert self._pending is not None
        epoch, self._pending = self._pending.epoch, None
        self._adopt(epoch, now)
        self._previous_until = now + limits.GRACE_S

    def _on_done(self, parcel: wire.Parcel, now: float) -> None:
        if self.current is None or parcel.id != self.current.id or self._confirm is None:
            return
        self._require_seal(self.current, parcel)
        self._confirm, self._confirm_at = None, inf
        self._previous_until = now + limits.GRACE_S

    def _on_poke(self, now: float) -> None:
        if now - self._tried_at >= limits.MIN_POKE_S:
            self._rekey_at = now
            self._hasten(now)

    # -- work ---------------------------------------------------------------------------------------------------

    def _finish(self, now: float) -> list[Effect]:
        if self._previous is not None and self._previous_until <= now:
            self._drop(self._previous)
            self._previous = None
        if self._previous is None:
            self._previous_until = inf
        if self._confirm_at <= now:
            self._repeat_confirm(now)
        if self._needs_epoch(now) and self._try_at <= now:
            self._try(now)
        effects, self._effects = self._effects, []
        return effects

    def _repeat_confirm(self, now: float) -> None:
        if not self._confirms_left or self._confirm is None:
            self._confirm, self._confirm_at = None, inf
            self._rekey_at = now
            return
        self._effects.append(Send(self._confirm))
        self._confirms_left -= 1
        self._confirm_at = now + limits.CONFIRM_RETRY_S

    def _is_content(self) -> bool:
        """Say whether what there is will do until it is old."""
        if self.current is None:
            return False
        return self._way is None or self.current.outbound is not None or bool(self.current.why)

    def _needs_epoch(self, now: float) -> bool:
        return not self._is_content() or self._rekey_at <= now

    def _hasten(self, now: float) -> None:
        self._try_at, self._pause = max(now, self._tried_at + limits.MIN_POKE_S), limits.OFFER_RETRY_S

    def _try(self, now: float) -> None:
        """Offer, or poke who may; again after a pause, longer each time."""
        self._tried_at = now
        self._try_at = now + self._pause * self._rng.uniform(1.0, 1.25)
        self._pause = min(2 * self._pause, limits.MAX_OFFER_RETRY_S)
        if not self._initiates:
            self._effects.append(Send(wire.encode(wire.POKE, b"", bytes([self._way is not None]))))
            return
        life, number = self._latest
        self._latest = life, number + 1
        terms = self._terms(None)
        state = self._handshake(self._me.password_keys)
        try:
            message = state.write_message(wire.pack_terms(terms))
        except RemoteError as exc:
            # its key is none; the mesh admits no such peer, but one peer must never stop the others
            self.failure = str(exc)
            return
        self._offer = _Offer(state, message[:wire.ID_BYTES], terms)
        self._effects.append(Send(wire.encode(wire.OFFER, b"", message)))

    def _handshake(self, psks: Sequence[bytes]) -> HandshakeState:
        return HandshakeState(wire.PROTOCOL, initiator=self._initiates, prologue=self._prologue,
                              static=self._me.static, ephemeral=self._entropy(keys.KEY_BYTES), psks=psks,
                              remote_static=self._static_key if self._initiates else None)

    def _terms(self, theirs: Terms | None) -> Terms:
        """Return what we bring in, in answer to what the other end does (None: we begin)."""
        current = b"" if self.current is None else self.current.id
        ours = Terms(way=self._way, incarnation=self._latest[0], number=self._latest[1], current=current)
        if self._way is None:
            return replace(ours, why="the other end has no use for IPsec now")
        if theirs is not None and theirs.spi and not self._way.fits(theirs.way):
            return replace(ours, why="an address is translated between the two hosts (NAT), which ESP does not survive")
        return replace(ours, spi=self._spi())

    def _spi(self) -> int:
        used = {epoch.inbound.spi for epoch in self.epochs() if epoch.inbound is not None}
        while True:
            spi = int.from_bytes(self._entropy(4))
            if spi >= limits.MIN_SPI and spi not in used:
                return spi

    def _epoch(self, state: HandshakeState, ours: Terms, theirs: Terms, password_key: bytes) -> Epoch:
        send, receive = state.split_keys()
        inbound = outbound = None
        why = theirs.why or ours.why if ours.way == self._way else ""
        if ours.spi and theirs.spi and ours.way == self._way and self._way is not None:
            if self._way.fits(theirs.way):
                inbound = Association(self._way.other, self._way.own, ours.spi, keys.esp_key(receive, ours.spi))
                outbound = Association(self._way.own, self._way.other, theirs.spi, keys.esp_key(send, theirs.spi))
            else:
                why = why or "the two hosts see each other at different addresses"
        return Epoch(wire.epoch_id(state.handshake_hash), password_key, send, receive, inbound, outbound, why)

    def _adopt(self, epoch: Epoch, now: float) -> None:
        """Send by these keys from now on."""
        if self._previous is not None:
            self._drop(self._previous)
        self._previous, self.current = self.current, epoch
        self._previous_until = inf
        self._rekey_at = now + limits.REKEY_S * self._rng.uniform(1.0 - limits.REKEY_SPREAD, 1.0)
        self._pause = limits.OFFER_RETRY_S
        self.failure = ""
        if epoch.outbound is not None:
            self._effects.append(Install(epoch.outbound))
            self._effects.append(Steer(Way(epoch.outbound.source, epoch.outbound.destination), epoch.outbound.spi))
        self._effects.append(Agreed(epoch))

    def _drop(self, epoch: Epoch) -> None:
        self._effects += [Drop(association) for association in (epoch.outbound, epoch.inbound)
                          if association is not None]

    def _require_seal(self, epoch: Epoch, parcel: wire.Parcel) -> None:
        if not wire.is_sealed(keys.confirm_key(epoch.receive_key), parcel):
            raise WireError("a confirmation that is not genuine")
