"""Which of two ways to a peer is to be used: the direct one, or the one through a helper. Pure.

           clearly and lastingly worse than through the helper
    direct ──────────────────────────────────────────────────→ relayed
       ↑ └──── no answer at all: handshakes find the helper ────→ │
       └───────────────────────────────────────────────────────── ┘
           nearly as good for some time; not too soon, and later each time it had to be left soon again

Both ways are measured at the same moments by equal datagrams (*trials*), in pairs, so what is compared is comparable.
Only what one way lost alone speaks against it: where both lost, an end was busy, or the network as a whole.
The two rules lie far apart: a way whose loss wanders about either of them is not left and taken in turns. Loss comes
first: a nearer way that loses more is none. Who decides is said elsewhere; here is only what would be decided.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from weave.net.sleeve import limits

NEVER, FAR = float("-inf"), float("inf")


class Way(IntEnum):
    """One of the two."""

    DIRECT = 0
    THROUGH = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a way lately."""

    loss: float
    rtt_s: float | None
    """The least: what is more than that is queues, of our own traffic too."""

    def words(self) -> str:
        """Return them for people."""
        rtt = "" if self.rtt_s is None else f", the others take {self.rtt_s * 1000:.3g} ms"
        return f"{self.loss:.0%} of round trips are lost{rtt}"


class _Pair:
    """Two trials that were sent at once."""

    __slots__ = ("rtts", "sent_at")

    def __init__(self, now: float) -> None:
        self.sent_at = now
        self.rtts: list[float | None] = [None, None]


def _is_lost_alone(way: Way) -> Callable[[tuple[float | None, float | None]], bool]:
    """Return what says of a pair whether only the trial of this way was lost."""
    return lambda pair: pair[way] is None and pair[1 - way] is not None


class Ways:
    """What is known of the two ways to one peer."""

    __slots__ = ("_away_s", "_away_until", "_leaves", "_needed", "_number", "_open", "_pairs", "_returned_at",
                 "_sent_at", "_tried", "helper", "is_relayed")

    def __init__(self) -> None:
        self.helper = ""
        """Through whom the other way, or the one in use, goes; empty while nobody was chosen."""
        self.is_relayed = False
        """Whether that is the way in use."""
        self._pairs: deque[tuple[float | None, float | None]] = deque(maxlen=limits.TRIALS_KEPT)
        self._open: dict[int, _Pair] = {}
        self._number = 0
        self._sent_at = NEVER
        self._tried = 0
        """How many helpers were tried, so that each has its turn."""
        self._leaves = False
        """Whether the direct way in use was found to be left for its quality."""
        self._needed = limits.FOUND_TRIALS
        self._away_s = 0.0
        self._away_until = NEVER
        self._returned_at = NEVER

    # -- what happens --------------------------------------------------------------------------------------------

    def use(self, helper: str | None, now: float) -> None:
        """Note that the peer is reached through this helper now; None: directly."""
        self._forget()
        if helper is None:
            self._returned_at = now
            self.is_relayed = self._leaves = False
            return
        if not self.is_relayed:
            if self._leaves:
                was_left_soon = now - self._returned_at < limits.STEADY_S
                longer_s = 2 * self._away_s if was_left_soon else 0.0
                self._away_s = max(limits.AWAY_FIRST_S, min(longer_s, limits.AWAY_MOST_S))
            self._needed = limits.RETURN_TRIALS if self._leaves else limits.FOUND_TRIALS
            self._away_until = now + (self._away_s if self._leaves else 0.0)
        self.is_relayed, self.helper, self._leaves = True, helper, False

    def choose(self, helpers: list[str], now: float) -> None:
        """Choose one of these to compare the direct way with, unless that is done; move on from one that is no use."""
        if self.is_relayed:
            return
        if not helpers:
            self.helper = ""
            self._forget()
        elif self.helper not in helpers:
            self.helper = helpers[0]
            self._forget()
        elif self._is_fruitless():
            self._tried += 1
            self.helper = helpers[self._tried % len(helpers)]
            self._forget()
            self._sent_at = now + limits.TRIALS_REST_S

    def begin(self, now: float) -> int:
        """Return the number of a pair of trials that is sent now."""
        self._number = self._number + 1 & limits.LARGEST_PAIR
        self._sent_at = now
        self._open[self._number] = _Pair(now)
        return self._number

    def answered(self, number: int, way: Way, now: float) -> None:
        """Note that a trial was answered; one that nobody waits for says nothing."""
        pair = self._open.get(number)
        if pair is None or now - pair.sent_at > limits.TRIAL_PATIENCE_S:
            return
        if pair.rtts[way] is None:
            pair.rtts[way] = max(now - pair.sent_at, 1e-6)
        if pair.rtts[1 - way] is not None:
            self._close(number)

    def settle(self, now: float) -> None:
        """Take what was not answered in time for lost."""
        for number in [number for number, pair in self._open.items()
                       if now - pair.sent_at > limits.TRIAL_PATIENCE_S]:
            self._close(number)

    # -- what follows from it -------------------------------------------------------------------------------------

    @property
    def is_unknown(self) -> bool:
        """Say whether people would ask in vain why the direct way is not used."""
        return self.is_relayed and len(self._pairs) < limits.TRIALS_BARREN

    def is_in_haste(self, now: float, *, doubted: bool) -> bool:
        """Say whether trials are to follow each other quickly, for there may soon be something to decide."""
        if self.is_relayed:
            return self._answers_again() and (now >= self._away_until or self._lost(Way.THROUGH) > limits.RETURN_LOST)
        return doubted or any(direct is None for direct, _ in self._pairs) or self._is_slow(limits.TRIALS_FEW)

    def next_at(self, pace_s: float) -> float:
        """Return when the next pair is due, at that pace."""
        return self._sent_at + pace_s

    def is_to_change(self, now: float) -> bool:
        """Say whether the other way should be used."""
        if self.is_relayed:
            return self._is_lossier(Way.THROUGH) or (now >= self._away_until and self._is_good_again())
        is_bad = self._is_to_be_left()
        self._leaves = self._leaves or is_bad
        return is_bad

    def figures(self, way: Way) -> Figures | None:
        """Return what was measured of a way lately; None before there is enough to say."""
        if len(self._pairs) < limits.TRIALS_BARREN:
            return None
        return Figures(self._lost(way) / len(self._pairs), self._least(way, limits.TRIALS_KEPT))

    # -- the rules ------------------------------------------------------------------------------------------------

    def _is_to_be_left(self) -> bool:
        """Say whether the direct way is clearly and lastingly worse."""
        if self._is_lossier(Way.DIRECT):
            return True
        return (len(self._pairs) == limits.TRIALS_KEPT and self._is_slow(limits.TRIALS_KEPT)
                and self._lost_alone(Way.THROUGH) <= self._lost_alone(Way.DIRECT) + limits.RETURN_LOST)

    def _is_lossier(self, way: Way) -> bool:
        """Say whether a way loses clearly and lastingly more than the other."""
        lost, other = self._lost_alone(way), self._lost_alone(Way(1 - way))
        return (lost >= limits.LEAVE_LOST + limits.LEAVE_LOST_TIMES * other
                and self._spans_with_losses(way) >= limits.LEAVE_SPANS)

    def _is_good_again(self) -> bool:
        """Say whether the direct way is as good as the one in use, or nearly."""
        if len(self._pairs) < self._needed:
            return False
        latest = list(self._pairs)[-self._needed:]
        direct, through = (sum(map(_is_lost_alone(way), latest)) for way in Way)
        spare = limits.RETURN_LOST if self._needed == limits.RETURN_TRIALS else 0
        return direct <= through + spare and self._is_near(self._needed)

    def _is_fruitless(self) -> bool:
        """Say whether it is of no use to go on with this helper."""
        count, through = len(self._pairs), self._lost(Way.THROUGH)
        if count >= limits.TRIALS_BARREN and 2 * through >= count and through >= self._lost(Way.DIRECT):
            return True
        has_doubts = self._lost(Way.DIRECT) or self._is_slow(limits.TRIALS_FEW)
        return count == limits.TRIALS_KEPT and bool(has_doubts) and through > limits.RETURN_LOST

    def _spans_with_losses(self, way: Way) -> int:
        latest = list(map(_is_lost_alone(way), reversed(self._pairs)))
        return sum(any(latest[at:at + limits.TRIALS_SPAN]) for at in range(0, len(latest), limits.TRIALS_SPAN))

    def _answers_again(self) -> bool:
        """Say whether the direct way could be found to be the better one."""
        enough = limits.TRIALS_FEW if self._needed == limits.RETURN_TRIALS else 1
        few = list(self._pairs)[-enough:]
        return (len(few) == enough and all(direct is not None for direct, _ in few)
                and (self._is_near(limits.TRIALS_FEW) or self._lost(Way.THROUGH) > limits.RETURN_LOST))

    def _is_slow(self, count: int) -> bool:
        """Say whether the direct way took much longer in the latest pairs."""
        direct_s, through_s = (self._least(way, count) for way in Way)
        return (direct_s is not None and through_s is not None
                and direct_s > limits.LEAVE_RTT_TIMES * through_s + limits.LEAVE_RTT_S)

    def _is_near(self, count: int) -> bool:
        """Say whether the direct way took hardly longer in the latest pairs."""
        direct_s, through_s = (self._least(way, count) for way in Way)
        return direct_s is not None and (
            through_s is None or direct_s <= limits.RETURN_RTT_TIMES * through_s + limits.RETURN_RTT_S)

    def _lost(self, way: Way) -> int:
        return sum(pair[way] is None for pair in self._pairs)

    def _lost_alone(self, way: Way) -> int:
        return sum(map(_is_lost_alone(way), self._pairs))

    def _least(self, way: Way, count: int) -> float | None:
        """Return the least round trip of so many latest pairs."""
        return min((rtt for pair in list(self._pairs)[-count:] if (rtt := pair[way]) is not None), default=None)

    def _close(self, number: int) -> None:
        direct, through = self._open.pop(number).rtts
        self._pairs.append((direct, through))

    def _forget(self) -> None:
        self._pairs.clear()
        self._open.clear()
