"""The allocator: one deterministic machine that gives out the addresses of one range, together with its peers.

Events go in (requests, gossip, messages, the time), effects come out, to be executed strictly in order; `deadline`
says when `tick` wants to be called. It joins the parts: how the ring comes to be (`founding`), what of it is ours
(`estate`), requests (`desk`), getting space (`procurement`), giving it (`donor`), whole estates that change hands
(`handover`). What it decides itself is when each of them may act.

Invariant: an address is handed out only by the peer that owns it in its own view, and at any time no two peers own
an address in their own views; see `ring` for why, and for the exceptions.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.errors import LocalError, RemoteError
from weave.ipam import codec, reporting
from weave.ipam.blocks import Block, Universe
from weave.ipam.desk import Desk
from weave.ipam.division import Division
from weave.ipam.donor import Donor
from weave.ipam.effects import Effect
from weave.ipam.errors import AddressTaken
from weave.ipam.estate import Estate
from weave.ipam.founding import Founding
from weave.ipam.gossip import AnyEntry, HintEntry, Keys, RangeEntry, SeedEntry, encode_wish
from weave.ipam.handover import Handover, back
from weave.ipam.messages import Ask, AskView, Bequest, Denial, Deny, Grant, Message, View, decode
from weave.ipam.modes import InitMode, Observer, Seed
from weave.ipam.outbox import Outbox
from weave.ipam.pending import Wanted
from weave.ipam.presence import Presence
from weave.ipam.procurement import Procurement, Weights
from weave.ipam.recall import Recall
from weave.ipam.ring import Range
from weave.ipam.space import Space
from weave.ipam.stored import Rows, Stored
from weave.ipam.views import IpamView
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random

MALFORMED_ENTRY = "malformed ipam entry"
MALFORMED_MESSAGE = "malformed ipam message"
UNASKED = "ipam answer that nobody asked for"
LITTLE = 0.01
"""The weight of an owner that is not known to have anything free, so that it is asked last."""


class IpamCore:
    """One peer's allocator for one range; see the module."""

    def __init__(
        self,
        *,
        me: PeerName,
        range_: IPNetwork,
        default_subnet: IPNetwork | None,
        init: InitMode,
        rng: "Random",
        stored: Mapping[str, Mapping[bytes, bytes]],
    ) -> None:
        self.me = me
        self.universe = Universe(range_)
        self.refused: Counter[str] = Counter()
        self.nicknames: Mapping[PeerName, str] = {}
        self.reachable: frozenset[PeerName] = frozenset()
        self.space = Space()
        self.estate: Estate | None = None
        self._rng = rng
        self._init = init
        self._outbox = Outbox(self.universe)
        self._keys = Keys(self.universe)
        self._rows = Rows(self.universe)
        self._early: dict[tuple[PeerName, Block], RangeEntry] = {}
        self._recall = Recall(rng)
        self._is_losing = False
        self._is_stale = True
        self._load(self._rows.read(stored), default_subnet)

    def _load(self, stored: Stored, default_subnet: IPNetwork | None) -> None:
        for address, holding in stored.used:
            self.space.take(address, holding)
        self.desk = Desk(self.universe, default_subnet or self.universe.network, self.space, self._outbox)
        self.founding = Founding(self.me, self.universe, self._init, stored.vote, self._rng)
        self.procurement = Procurement(self._rng)
        self._durable_vote = self.founding.paxos.vote  # an empty vote promises nothing and need not be stored
        if stored.division is not None:
            self._settle_in(stored.division).restore(stored.ranges)

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Publish what we own; call it once, first."""
        self._recall.begin(now)
        if self.estate is not None:
            self._handover.fence_taken(now)
            self._presence.begin(now)
            self.estate.announce()
        return self._finish(now)

    def expect_nobody(self, now: float) -> list[Effect]:
        """Take note that we shall connect to no peer by ourselves, so that a host alone need not wait for any.

        Where others own something they may yet connect to us, and know what we forgot.
        """
        if self.estate is None or not self.estate.has_other_owners():
            self._recall.is_done = self._is_stale = True
        return self._finish(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        return self._finish(now)

    def deadline(self) -> float:
        """Return when `tick` wants to be called."""
        recall = self._recall.deadline(may_ask=self.estate is not None and bool(self.reachable))
        if self.estate is None:
            is_electing = self.founding.may_elect(self._recall.is_done)
            return min(recall, self.founding.paxos.deadline() if is_electing else inf)
        search = self.procurement.deadline() if self.is_active() else inf
        return min(recall, search, self.space.deadline(), self._handover.deadline(), self._presence.deadline())

    # --- requests ----------------------------------------------------------------------------------------------------

    def allocate(self, request: int, ident: str, subnet: IPNetwork | None, now: float) -> list[Effect]:
        """Give `ident` an address in a subnet (None: the default one), the same as ever if it has one there."""
        return self._attempt(request, lambda: self._want(request, self.desk.allocation(ident, subnet)), now)

    def claim(self, request: int, ident: str, interface: IPInterface, now: float) -> list[Effect]:
        """Give `ident` exactly this address."""
        return self._attempt(request, lambda: self._want(request, self.desk.claim(ident, interface)), now)

    def release(self, request: int, ident: str, address: IPAddress | None, now: float) -> list[Effect]:
        """Free one address of `ident`, or all."""
        self._is_stale = True
        return self._attempt(request, lambda: self.desk.release(request, ident, address, now), now)

    def cancel(self, request: int, now: float) -> list[Effect]:
        """Forget a request that waits; one that was answered stays so."""
        self.desk.pending.pop(request, None)
        if request in self.desk.primes:
            self.desk.primes.remove(request)
        if self.estate is not None:
            self._handover.cancel(request)
        return self._finish(now)

    def prime(self, request: int, now: float) -> list[Effect]:
        """Answer once the range is divided."""
        self.desk.primes.append(request)
        return self._finish(now)

    def takeover(self, request: int, peer: PeerName, now: float) -> list[Effect]:
        """Take everything a dead peer owns; the answer is how many addresses that was."""
        return self._attempt(request, lambda: self._take_over(request, peer), now)

    def surrender(self, request: int, now: float) -> list[Effect]:
        """Give everything we own to another peer, for we leave; the answer is how many addresses that was."""
        if self.estate is None:
            self._outbox.answer(request, 0)
        else:
            self._handover.surrender(request, self._companions(), now)
            for waiting in list(self.desk.pending):
                self.desk.end(waiting, LocalError("this peer is leaving the network"))
        return self._finish(now)

    def _attempt(self, request: int, action: Callable[[], None], now: float) -> list[Effect]:
        try:
            action()
        except LocalError as error:
            self._outbox.answer(request, error)
        return self._finish(now)

    def _want(self, request: int, wanted: Wanted) -> None:
        outcome = self.desk.known(wanted)
        if outcome is None and self.desk.is_outside(wanted):
            outcome = self.desk.take(wanted, wanted.low)
        if outcome is None and self.estate is not None and self._handover.is_leaving:
            raise LocalError("this peer is leaving the network")
        if outcome is None and self.is_active():
            outcome = self.desk.serve(wanted)
        if outcome is None:
            self.desk.wait(request, wanted)
            return
        self._outbox.answer(request, outcome)

    def _take_over(self, request: int, peer: PeerName) -> None:
        if self.estate is None:
            raise LocalError("the range is not divided yet; there is nothing to take over")
        if peer == self.me:
            raise LocalError("that is this peer itself; run `weave reset` to give up its ranges")
        if peer in self.reachable:
            raise back(peer)
        if self._is_losing:
            raise LocalError(self.status())
        self._handover.take_over(request, peer)

    # --- reading -------------------------------------------------------------------------------------------------

    def lookup(self, ident: str, subnet: IPNetwork | None = None) -> list[IPInterface]:
        """Return the addresses of `ident`, in one subnet or all."""
        return self.desk.lookup(ident, subnet)

    def owned(self) -> dict[str, list[IPInterface]]:
        """Return every address in use here, by who uses it."""
        return {ident: self.desk.lookup(ident, None) for ident in self.space.idents()}

    def status(self) -> str:
        """Return the state in one sentence."""
        return reporting.status(self)

    def view(self) -> IpamView:
        """Return everything that a report says."""
        return reporting.view(self)

    def is_losing(self) -> bool:
        """Say whether a reachable peer runs another ring, which goes before ours."""
        return self._is_losing

    # --- peers ---------------------------------------------------------------------------------------------------

    def peers_changed(
        self, reachable: frozenset[PeerName], nicknames: Mapping[PeerName, str], now: float
    ) -> list[Effect]:
        """Take note of who is reachable, and of what people call whom."""
        new = reachable - {self.me}
        came = new - self.reachable
        self.reachable = new
        self.nicknames = dict(nicknames)
        self.founding.peers_changed(new)
        self.founding.paxos.wake(now)
        self.procurement.wake(came, now)
        self._is_stale = True
        self._compare_rings()
        return self._finish(now)

    def entries_changed(
        self, changes: Sequence[tuple[PeerName, bytes, bytes | None]], now: float
    ) -> list[Effect]:
        """Take in what peers publish; an entry under our own name comes from an earlier life of ours."""
        ranges: list[tuple[PeerName, RangeEntry]] = []
        is_other = False
        for owner, key, value in changes:
            if owner == self.me:
                self._outbox.heard(key, value)
            try:
                entry = self._keys.decode(key, value)
            except RemoteError:
                self.refused[MALFORMED_ENTRY] += 1
                continue
            if isinstance(entry, RangeEntry):
                ranges.append((owner, entry))
            elif entry is not None:
                is_other |= self._is_about_rings(owner, entry, now)
                self.founding.heard(owner, entry)
        self._ranges_heard(ranges, now)
        self.founding.paxos.wake(now)
        if is_other:
            self._compare_rings()
        return self._finish(now)

    def _compare_rings(self) -> None:
        """See whether our ring goes on; if it does again, requests may have waited for that."""
        rival = None if self.estate is None else self.founding.rival(self.estate.division)
        self._is_losing = (
            self.estate is not None and rival is not None and rival[1].rank > self.estate.division.rank)
        self._is_stale |= not self._is_losing and bool(self.desk.pending)

    def _is_about_rings(self, peer: PeerName, entry: AnyEntry, now: float) -> bool:
        """Look at a hint for news of free space; say whether an entry may tell of another ring than ours."""
        if not isinstance(entry, HintEntry):
            return isinstance(entry, SeedEntry)
        before = self.founding.hints.get(peer)
        if before is None or entry.bits > before.bits:
            self.procurement.wake([peer], now)
        return self.estate is not None and {self.estate.division.ring_id} != {
            entry.ring_id, entry.ring_id if before is None else before.ring_id}

    def _ranges_heard(self, entries: Sequence[tuple[PeerName, RangeEntry]], now: float) -> None:
        if self.estate is None:
            for owner, entry in entries:
                self._early[owner, entry.block] = entry
            return
        ours = [
            (owner, entry.block, entry.range) for owner, entry in entries
            if entry.range is None or entry.ring_id == self.estate.division.ring_id
        ]
        self._merge([range_ for _, _, range_ in ours if range_ is not None], now)
        for owner, block, range_ in ours:
            self.estate.heard(owner, block, range_)

    def _merge(self, ranges: Sequence[Range], now: float) -> None:
        """Join records into the ring."""
        if self.estate is None:
            return
        news = self.estate.merge(ranges)
        if news:
            self._is_stale = True
            self.procurement.wake({range_.owner for range_ in news}, now)

    # --- messages --------------------------------------------------------------------------------------------------

    def message(self, source: PeerName, payload: bytes, now: float) -> list[Effect]:
        """Take in a unicast message of a peer."""
        if self.estate is None:
            return []
        try:
            message = decode(self.universe, self.estate.division.ring_id, payload)
        except RemoteError:
            self.refused[MALFORMED_MESSAGE] += 1
            return []
        if message is not None and source != self.me:
            self._handle(source, message, now)
        return self._finish(now)

    def _handle(self, source: PeerName, message: Message, now: float) -> None:
        match message:
            case Ask():
                self._on_ask(source, message)
            case Grant():
                if self.procurement.answered(source, message.nonce, granted=True) is None:
                    self.refused[UNASKED] += 1
                else:
                    self._merge(message.ranges, now)
            case Deny():
                self._on_deny(source, message, now)
            case AskView():
                self._send(source, self._handover.show(source, message))
            case View():
                self._on_view(source, message, now)
            case Bequest():
                self._merge(message.ranges, now)

    def _on_ask(self, source: PeerName, ask: Ask) -> None:
        if not self.is_active():
            self._send(source, Deny(ask.nonce, Denial.LATER))
        else:
            self._send(source, self._donor.answer(source, ask))

    def _on_deny(self, source: PeerName, deny: Deny, now: float) -> None:
        bounds = self.procurement.answered(source, deny.nonce, granted=False)
        if bounds is None:
            self.refused[UNASKED] += not self._handover.denied(source, deny.nonce)
            return
        self._merge(deny.ranges, now)
        if deny.reason is not Denial.IN_USE:
            return
        for request, wanted in list(self.desk.pending.items()):
            if wanted.claimed is not None and wanted.bounds == bounds:
                self.desk.end(request, AddressTaken(
                    f"{wanted.claimed.ip} is in use by {deny.holder} on {reporting.name(self, source)}"))

    def _on_view(self, source: PeerName, view: View, now: float) -> None:
        if self._recall.is_answer(view.nonce):
            self._recall.is_done = self._is_stale = True
        elif not self._handover.shown(source, view):
            self.refused[UNASKED] += 1
            return
        self._merge(view.ranges, now)

    def _send(self, peer: PeerName, message: Message) -> None:
        assert self.estate is not None, "messages are about a ring"
        self._outbox.send(peer, self.estate.division.ring_id, message)

    # --- the ring comes to be ----------------------------------------------------------------------------------------

    def _settle_in(self, division: Division) -> Estate:
        """Begin to live in a ring."""
        self.estate = Estate(self.me, self.universe, division, self.space, self._outbox)
        self._donor = Donor(self.me, self.universe, self.estate)
        self._handover = Handover(self.me, self.estate, self._rng, self._send, self.desk.end)
        self._presence = Presence(division, self._keys, self.founding, self.space, self._outbox)
        return self.estate

    def _found(self, now: float) -> None:
        """Look for the ring, and take part in its founding where that is our way."""
        founding = self.founding
        is_wanted = bool(self.desk.pending or self.desk.primes)
        founding.want(is_wanted, now)
        is_oriented = self._recall.is_done
        division = founding.choose(is_oriented)
        if division is None and founding.may_elect(is_oriented):
            founding.paxos.step(now)
            division = founding.choose(is_oriented)
        self._show_vote(is_over=division is not None)
        wish = encode_wish(self.universe.network)
        is_wishing = is_wanted and isinstance(self._init, Observer) and division is None
        self._outbox.publish(self._keys.wish, wish if is_wishing else None)
        if division is not None:
            self._adopt(division, now, is_agreed=not founding.has_ring_around())

    def _show_vote(self, *, is_over: bool) -> None:
        """Publish our vote, after it is durable; it is no longer needed once the ring is known."""
        paxos = self.founding.paxos
        if is_over or not paxos.is_elector:
            self._outbox.publish(self._keys.vote, None)
            return
        promise = replace(paxos.vote, wants=False)
        if promise != self._durable_vote:
            self._outbox.persist([self._rows.vote(promise)])
            self._durable_vote = promise
        self._outbox.publish(self._keys.vote, codec.encode_vote(self.universe.network, paxos.vote))

    def _adopt(self, division: Division, now: float, *, is_agreed: bool) -> None:
        """Begin to live in a ring that was agreed on just now, or that others run already."""
        self._settle_in(division)
        self._presence.begin(now)
        self._outbox.persist(self._rows.division(division))
        if isinstance(self._init, Seed):
            self._recall.is_done = True
        elif not is_agreed or not self._recall.is_done:
            self._recall.begin(now)
        early = sorted(self._early.items(), key=lambda item: item[0])
        self._early = {}
        self._ranges_heard([(owner, entry) for (owner, _), entry in early], now)
        self._compare_rings()

    # --- after every event -------------------------------------------------------------------------------------------

    def _finish(self, now: float) -> list[Effect]:
        """Do what has become possible or due, and return all effects of the event."""
        if self._recall.is_over(now):
            self._recall.is_done = self._is_stale = True
        if self.estate is None:
            self._found(now)
        if self.estate is not None:
            self._work(now)
        return self._outbox.drain()

    def _work(self, now: float) -> None:
        for request in self.desk.primes:
            self._outbox.answer(request, None)
        self.desk.primes.clear()
        self._is_stale |= self.space.expire(now)
        self._handover.step(self.reachable, self._companions() if self._recall.is_done else None, now)
        question = None if self._recall.is_done else self._recall.ask(self._witnesses(), now)
        if question is not None:
            self._send(question[0], AskView(question[1], self.me))
        if self.is_active():
            self._serve_all(now)
        self._presence.show(now)

    def _witnesses(self) -> list[PeerName]:
        """Return whom to ask what we may have forgotten: who is known to run our ring, or else anybody."""
        return self._companions() or sorted(self.reachable)

    def _companions(self) -> list[PeerName]:
        """Return the reachable peers that are known to run our ring."""
        assert self.estate is not None, "a peer without one has no companions"
        return self.founding.companions(self.estate.division.ring_id)

    def _serve_all(self, now: float) -> None:
        """Serve the requests that wait, and look for space for the rest."""
        if self._is_stale:
            self._is_stale = False
            for request, wanted in list(self.desk.pending.items()):
                outcome = self.desk.known(wanted) or self.desk.serve(wanted)
                if outcome is not None:
                    self.desk.end(request, outcome)
        self.procurement.keep(self.desk.unserved())
        for step in self.procurement.step(self._weigh, now):
            if step.ask is not None and step.peer is not None:
                self._send(step.peer, step.ask)
            else:
                self._scrape(step.bounds)

    def _scrape(self, bounds: tuple[int, int]) -> None:
        """Nobody has space left: reuse what still rests rather than nothing."""
        for request, wanted in list(self.desk.pending.items()):
            if wanted.bounds == bounds and wanted.claimed is None:
                address = self.space.oldest_resting(*bounds)
                if address is None:
                    return
                self.desk.end(request, self.desk.known(wanted) or self.desk.take(wanted, address))

    def _weigh(self, bounds: tuple[int, int]) -> Weights:
        """Return which reachable peers own space there, weighted by how much they have free."""
        assert self.estate is not None, "space is searched in a ring"
        weights: Weights = {}
        low, high = bounds
        for segment in self.estate.ring.between(low, high):
            owner = segment.range.owner
            if owner in self.reachable:
                size = min(high, segment.end) - max(low, segment.start)
                weights[owner] = weights.get(owner, 0) + size
        for owner in weights:
            hint = self.founding.hints.get(owner)
            if hint is not None:
                weights[owner] = min(weights[owner], (1 << hint.bits) / 2) if hint.bits else LITTLE
        return weights

    def is_active(self) -> bool:
        """Say whether we may hand out and give away what we own."""
        return (self.estate is not None and self._recall.is_done and not self._handover.is_leaving
                and not self._is_losing)
