"""Whole estates that change hands: a dead peer's is taken over, a leaving peer's goes to an heir.

A takeover first waits until what we remember may be relied on: just started, we know neither who lives nor what moved
on. Then it asks all reachable peers what they know of the dead one's ranges, so that what it gave away shortly before
is not taken. The question also says who is about to take: of two, the one with the lower name steps back, and
one message in either direction is enough for that. Then what was taken rests, so that two who could not even talk
learn by gossip which of them has it. A leaving peer waits until its heir publishes what it got, for nobody will
repeat it later.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from weave.errors import LocalError
from weave.ipam import limits
from weave.ipam.effects import Outcome
from weave.ipam.estate import Estate
from weave.ipam.messages import MAX_NONCE, AskView, Bequest, Denial, Deny, Message, View
from weave.ipam.ring import Range
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random

Send: TypeAlias = Callable[[PeerName, Message], None]
End: TypeAlias = Callable[[int, Outcome], None]


@dataclass(slots=True)
class Takeover:
    """The estate of a dead peer, to be ours."""

    peer: PeerName
    nonce: int
    waiting: set[PeerName] = field(default_factory=set)
    """Who has not answered yet."""
    resend_at: float = inf
    deadline: float = inf
    """Until when they are waited for; infinite while nobody was asked."""


@dataclass(slots=True)
class Surrender:
    """Our estate, to be an heir's."""

    heir: PeerName
    ranges: tuple[Range, ...]
    count: int
    nonce: int
    resend_at: float
    deadline: float


class Handover:
    """Takeovers and the surrender under way; requests are ended through `end`."""

    def __init__(self, me: PeerName, estate: Estate, rng: "Random", send: Send, end: End) -> None:
        self.is_leaving = False
        self._me = me
        self._estate = estate
        self._rng = rng
        self._send = send
        self._end = end
        self._takeovers: dict[int, Takeover] = {}
        self._surrenders: dict[int, Surrender] = {}

    # --- taking over ---------------------------------------------------------------------------------------------

    def take_over(self, request: int, peer: PeerName) -> None:
        """Begin to take the estate of a peer; it is not reachable and not we."""
        self._takeovers[request] = Takeover(peer, self._rng.randint(1, MAX_NONCE))

    def show(self, source: PeerName, ask: AskView) -> View | Deny:
        """Return what we know of the ranges of a peer, what it wrote and owned first, as far as it fits.

        Where we are about to take them ourselves, one of us steps back.
        """
        for request, takeover in list(self._takeovers.items()):
            if takeover.peer == ask.peer and source != ask.peer:
                if source < self._me:
                    return Deny(ask.nonce, Denial.IN_USE)
                self._step_back(request, source)
        ranges = sorted(self._estate.ring.ranges(), key=lambda each: ask.peer not in (each.owner, each.writer))
        return View(ask.nonce, tuple(ranges[: limits.MAX_ENTRIES_PER_MESSAGE]))

    def shown(self, peer: PeerName, view: View) -> bool:
        """Take note of the view of a peer; say whether we had asked for it."""
        for takeover in self._takeovers.values():
            if takeover.nonce == view.nonce and peer in takeover.waiting:
                takeover.waiting.discard(peer)
                return True
        return False

    def denied(self, peer: PeerName, nonce: int) -> bool:
        """Step back for a peer that is taking what we wanted to take; say whether we had asked it."""
        for request, takeover in list(self._takeovers.items()):
            if takeover.nonce == nonce and peer in takeover.waiting:
                self._step_back(request, peer)
                return True
        return False

    def _step_back(self, request: int, taker: PeerName) -> None:
        takeover = self._takeovers.pop(request)
        self._end(request, LocalError(f"{taker} is taking over the ranges of {takeover.peer} at this moment"))

    def _take(self, peer: PeerName, now: float) -> int:
        segments = self._estate.ring.of(peer)
        for segment in segments:
            self._estate.space.fence(segment.start, segment.end, now + limits.TAKEOVER_HOLD_S)
        self._estate.merge(self._estate.ring.pass_all(segments, self._me, self._me, limits.TAKEOVER_BUMP))
        return sum(segment.size for segment in segments)

    def fence_taken(self, now: float) -> None:
        """Let what we ever took rest after a restart: nobody knows whether the rest was over when we stopped."""
        for segment in self._estate.mine:
            if segment.range.writer == self._me and segment.range.version:
                self._estate.space.fence(segment.start, segment.end, now + limits.TAKEOVER_HOLD_S)

    # --- giving up -----------------------------------------------------------------------------------------------

    def surrender(self, request: int, companions: Iterable[PeerName], now: float) -> None:
        """Give everything to the reachable peer that has least; without one there is nobody to give it to."""
        self.is_leaving = True
        heir = min(companions, key=lambda peer: (self._estate.size_of(peer), peer), default=None)
        count = sum(segment.size for segment in self._estate.mine)
        if heir is None or count == 0:
            self._end(request, 0)
            return
        given = tuple(self._estate.ring.pass_all(list(self._estate.mine), heir, self._me))
        self._estate.merge(given)
        nonce = self._rng.randint(1, MAX_NONCE)
        self._surrenders[request] = Surrender(heir, given, count, nonce, now, now + limits.SURRENDER_TIMEOUT_S)

    def _bequeath(self, surrender: Surrender) -> None:
        rest = [each for each in surrender.ranges if not self._estate.is_published_by_owner(each)]
        for at in range(0, len(rest), limits.MAX_ENTRIES_PER_MESSAGE):
            part = tuple(rest[at : at + limits.MAX_ENTRIES_PER_MESSAGE])
            self._send(surrender.heir, Bequest(surrender.nonce, part))

    # --- time ----------------------------------------------------------------------------------------------------

    def step(self, reachable: frozenset[PeerName], companions: Iterable[PeerName] | None, now: float) -> None:
        """End what is complete or has waited long enough, and repeat what may be lost.

        `companions` are the reachable peers of our ring; None: what we remember may not be relied on yet.
        """
        for request, takeover in list(self._takeovers.items()):
            if takeover.deadline == inf:
                if companions is None:
                    continue
                takeover.waiting = set(companions)
                takeover.resend_at, takeover.deadline = now, now + limits.VIEW_TIMEOUT_S
            takeover.waiting &= reachable
            if takeover.waiting and now < takeover.deadline:
                self._inquire(takeover, now)
                continue
            del self._takeovers[request]
            self._end(request, back(takeover.peer) if takeover.peer in reachable else self._take(takeover.peer, now))
        for request, surrender in list(self._surrenders.items()):
            is_done = all(map(self._estate.is_published_by_owner, surrender.ranges))
            if is_done or now >= surrender.deadline:
                del self._surrenders[request]
                self._end(request, surrender.count)
            elif now >= surrender.resend_at:
                surrender.resend_at = now + limits.SURRENDER_RESEND_S
                self._bequeath(surrender)

    def _inquire(self, takeover: Takeover, now: float) -> None:
        if now >= takeover.resend_at:
            takeover.resend_at = now + limits.VIEW_RESEND_S
            for companion in sorted(takeover.waiting):
                self._send(companion, AskView(takeover.nonce, takeover.peer))

    def deadline(self) -> float:
        """Return when `step` is due."""
        return min([
            inf,
            *(min(takeover.deadline, takeover.resend_at) for takeover in self._takeovers.values()),
            *(min(surrender.deadline, surrender.resend_at) for surrender in self._surrenders.values()),
        ])

    def cancel(self, request: int) -> None:
        """Forget a takeover that has not happened; a surrender cannot be undone."""
        self._takeovers.pop(request, None)
        self._surrenders.pop(request, None)


def back(peer: PeerName) -> LocalError:
    """Return the refusal to take over a peer that lives."""
    return LocalError(f"{peer} is reachable; only the ranges of a dead peer can be taken over. To remove a live one, "
                      "run `weave reset` there")
