"""When to stay awake for a frame. Pure.

A program that sleeps until a frame comes pays for waking up, as whoever sends it pays for waking us, and for caches
that others have taken meanwhile; where the answer takes a fifth of a millisecond, that is as long again. So, as a
kernel's halt polling does, we look again and again for a moment, but only where it has paid:

* after a frame that came out of quiet, if those before it from the same side were soon followed by another;
* around the time when the next frame out of quiet comes, if those before it came at regular times.

A stream of frames needs no such thing, and a peer far away is not waited for.
"""

from weave.net.sleeve import limits
from weave.net.sleeve.rhythm import Rhythm
from weave.net.sleeve.ways import FAR, NEVER


class Expectation:
    """What usually follows a frame that came out of quiet, by the side it came from."""

    def __init__(self) -> None:
        self.until = NEVER
        """The time until which another frame is expected."""
        self.opens_at = FAR
        """When one is expected next, unless another comes before."""
        self._closes_at = NEVER
        self._answered: dict[int, int] = {}
        """How often in a row, up to some, a frame from there was soon followed; -1 for each time it was not."""
        self._rhythms: dict[int, Rhythm] = {}
        self._newest = NEVER
        self._first: int | None = None

    def came(self, side: int, now: float) -> None:
        """Note that frames came from a side."""
        quiet = now - self._newest
        self._newest, self.until = now, NEVER
        if self._first is not None:
            self._learn(self._first, was_answered=quiet < limits.ANSWER_S)
            self._first = None
        if quiet >= limits.QUIET_S:
            self._first = side
            if self._answered.get(side, 0) >= limits.ANSWERS:
                self.until = now + limits.ANSWER_S
            self._rhythms.setdefault(side, Rhythm()).came(now)
            self._plan(now)

    def open(self) -> None:
        """Begin to expect what was expected next."""
        self.until = self._closes_at
        self._plan(self._closes_at)

    def _plan(self, now: float) -> None:
        windows = [window for rhythm in self._rhythms.values() if (window := rhythm.window(now)) is not None]
        self.opens_at, self._closes_at = min(windows, default=(FAR, NEVER))

    def _learn(self, side: int, *, was_answered: bool) -> None:
        score = self._answered.get(side, 0) + (1 if was_answered else -1)
        self._answered[side] = min(max(score, 0), 2 * limits.ANSWERS)
