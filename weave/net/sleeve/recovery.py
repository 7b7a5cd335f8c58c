"""Decide what to ask for again, and when. Pure.

A unit is lacking when a newer one authenticated before it, or when it is the newest and stays incomplete. It is asked
for after a moment in which mere reordering would heal, then at most twice more, each after a round trip. Nothing that
is not authenticated makes us ask: forged fragments cannot turn us against a peer.
"""

from dataclasses import dataclass

from weave.net.sleeve import limits
from weave.net.sleeve.reassembly import Reassembly
from weave.net.sleeve.replay import ReplayWindow
from weave.net.sleeve.wire import Lack, lack_bytes


@dataclass(slots=True)
class Gap:
    """When a unit was found missing, and when it is asked for next."""

    noticed: float
    due: float
    asked: int = 0


class Recovery:
    """The units of one session that are known to be missing."""

    def __init__(self, seen: ReplayWindow, reassembly: Reassembly) -> None:
        self.asked = 0
        """Units that were asked for, in all."""
        self.lost = 0
        """Units that were given up."""
        self._seen = seen
        self._reassembly = reassembly
        self.gaps: dict[int, Gap] = {}
        """The units that are missing before one that came, by counter."""

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is missing."""
        return not self.gaps and not self._reassembly.partial

    def oldest_above(self, counter: int) -> int | None:
        """Return the lowest counter above this one that may still come."""
        return min((gap for gap in self.gaps if gap > counter), default=None)

    def arrived(self, counter: int, before: int, now: float) -> None:
        """Note that a unit was authenticated when `before` was the highest counter."""
        if self.gaps:
            self.gaps.pop(counter, None)
        if counter <= before + 1:
            return
        first = max(before + 1, counter - limits.MAX_MISSING)
        self.lost += first - (before + 1)
        due = now + limits.NACK_DELAY_S
        for missing in range(first, counter):
            self.gaps[missing] = Gap(now, due)
        while len(self.gaps) > limits.MAX_MISSING:
            self._give_up(next(iter(self.gaps)))

    def spoiled(self, counter: int, now: float) -> None:
        """Note that a unit was whole but did not authenticate: somebody put a fragment into it."""
        if counter < self._seen.highest:
            self.gaps.setdefault(counter, Gap(now, now))

    def due(self, now: float, rtt_s: float) -> list[Lack]:
        """Return what to ask for now, at most one message full."""
        for counter, unit in self._reassembly.partial.items():
            if counter not in self.gaps and now >= unit.began + limits.NACK_TAIL_S:
                self.gaps[counter] = Gap(now, now)
        lacks: list[Lack] = []
        room = limits.MAX_NACK_BYTES
        for counter, gap in list(self.gaps.items()):
            if gap.due > now:
                continue
            if gap.asked >= limits.NACKS or now - gap.noticed > limits.NACK_GIVE_UP_S:
                self._give_up(counter)
                continue
            partial = self._reassembly.partial.get(counter)
            lack = Lack(counter, 0 if partial is None else partial.lacking)
            room -= lack_bytes(lack)
            if room < 0:
                break
            gap.asked += 1
            gap.due = now + 1.5 * rtt_s + gap.asked * limits.NACK_TAIL_S
            lacks.append(lack)
        self.asked += len(lacks)
        return lacks

    def deadline(self) -> float:
        """Return when `due` has something to say next."""
        due = min((gap.due for gap in self.gaps.values()), default=float("inf"))
        for counter, unit in self._reassembly.partial.items():
            if counter not in self.gaps:
                due = min(due, unit.began + limits.NACK_TAIL_S)
        return due

    def _give_up(self, counter: int) -> None:
        del self.gaps[counter]
        self._reassembly.forget(counter)
        self.lost += 1
