"""Getting space from others: whom to ask, and what to do when they do not answer or have none.

For each stretch of addresses in which a request waits there is one search. It asks one owner at a time, the likelier
the more it has free, and goes on to the next after a denial or a timeout. When all were asked it pauses, longer each
time; news of free space or of a new owner ends the pause. An answer that comes late is still taken: the donor has
given the space away in any case, and gossip would bring the same records.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from weave.ipam import limits
from weave.ipam.messages import MAX_NONCE, Ask
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random

Bounds: TypeAlias = tuple[int, int]
Weights: TypeAlias = dict[PeerName, float]
"""Who may be asked, and how likely."""


@dataclass(slots=True)
class Search:
    """The search for space in one stretch of addresses."""

    asked: PeerName | None = None
    nonce: int = 0
    deadline: float = inf
    denied: set[PeerName] = field(default_factory=set)
    retry_at: float = 0.0
    pause: float = limits.ASK_ROUND_S

    def wake(self, now: float) -> None:
        """Begin a new round at once, or as soon as the owner that is being asked has answered."""
        self.retry_at = now
        self.pause = limits.ASK_ROUND_S


@dataclass(frozen=True, slots=True)
class Step:
    """What a search came to: a request to send, or nobody left to ask."""

    bounds: Bounds
    peer: PeerName | None = None
    ask: Ask | None = None


class Procurement:
    """All searches of a peer."""

    def __init__(self, rng: "Random") -> None:
        self._rng = rng
        self._searches: dict[Bounds, Search] = {}
        self._asks: OrderedDict[tuple[PeerName, int], Bounds] = OrderedDict()

    def keep(self, wanted: Iterable[Bounds]) -> None:
        """Search in exactly these stretches; a search that is under way goes on."""
        self._searches = {bounds: self._searches.get(bounds) or Search() for bounds in wanted}

    def wake(self, peers: Iterable[PeerName], now: float) -> None:
        """Take note that these peers may have space now."""
        peers = set(peers)
        for search in self._searches.values():
            search.denied -= peers
            search.wake(now)

    def step(self, weigh: Callable[[Bounds], Weights], now: float) -> list[Step]:
        """Ask whoever is to be asked next, in every search."""
        steps = []
        for bounds, search in self._searches.items():
            step = self._step(bounds, search, weigh, now)
            if step is not None:
                steps.append(step)
        return steps

    def answered(self, peer: PeerName, nonce: int, *, granted: bool) -> Bounds | None:
        """Take note of an answer; return the stretch it is about, None for one that we did not ask for."""
        bounds = self._asks.pop((peer, nonce), None)
        search = None if bounds is None else self._searches.get(bounds)
        if search is None:
            return bounds
        if search.nonce == nonce:
            search.asked = None
        if granted:
            search.denied.clear()
            search.pause = limits.ASK_ROUND_S
        else:
            search.denied.add(peer)
        return bounds

    def deadline(self) -> float:
        """Return when `step` is due."""
        return min((search.retry_at if search.asked is None else search.deadline
                    for search in self._searches.values()), default=inf)

    def _step(self, bounds: Bounds, search: Search, weigh: Callable[[Bounds], Weights], now: float) -> Step | None:
        if search.asked is not None and now >= search.deadline:
            search.denied.add(search.asked)
            search.asked = None
        if search.asked is not None or now < search.retry_at:
            return None
        weights = {peer: weight for peer, weight in weigh(bounds).items() if peer not in search.denied}
        if not weights:
            search.denied.clear()
            search.retry_at = now + search.pause
            search.pause = min(2 * search.pause, limits.ASK_ROUND_MAX_S)
            return Step(bounds)
        search.asked = self._draw(weights)
        search.nonce = self._rng.randint(1, MAX_NONCE)
        search.deadline = now + limits.ASK_TIMEOUT_S
        self._remember(search.asked, search.nonce, bounds)
        return Step(bounds, search.asked, Ask(search.nonce, *bounds))

    def _draw(self, weights: Weights) -> PeerName:
        point = self._rng.random() * sum(weights.values())
        for peer in sorted(weights):
            point -= weights[peer]
            if point < 0:
                return peer
        return max(weights)

    def _remember(self, peer: PeerName, nonce: int, bounds: Bounds) -> None:
        self._asks[peer, nonce] = bounds
        while len(self._asks) > limits.REMEMBERED_ASKS:
            self._asks.popitem(last=False)
