"""When to stay awake for an answer. Pure.

A program that sleeps until the answer comes pays for waking up, and for caches that others have taken meanwhile; where
the answer takes a fifth of a millisecond, that is as long again. So, as a kernel's halt polling does, we look again
and again for a moment, but only where it has paid: after a frame that came out of quiet, if those before it from the
same side were soon followed by another. A stream of frames needs no such thing, and a peer far away never gets it.
"""

from weave.net.sleeve import limits
from weave.net.sleeve.ways import NEVER


class Expectation:
    """What usually follows a frame that came out of quiet, by the side it came from."""

    def __init__(self) -> None:
        self.until = NEVER
        """The time until which another frame is expected."""
        self._answered: dict[int, int] = {}
        """How often in a row, up to some, a frame from there was soon followed; -1 for each time it was not."""
        self._newest = NEVER
        self._first: int | None = None

    def came(self, side: int, now: float) -> None:
        """Note that frames came from a side."""
        quiet = now - self._newest
        self._newest = now
        if self._first is not None:
            self._learn(self._first, was_answered=quiet < limits.ANSWER_S)
            self._first, self.until = None, NEVER
        if quiet >= limits.QUIET_S:
            self._first = side
            if self._answered.get(side, 0) >= limits.ANSWERS:
                self.until = now + limits.ANSWER_S

    def _learn(self, side: int, *, was_answered: bool) -> None:
        score = self._answered.get(side, 0) + (1 if was_answered else -1)
        self._answered[side] = min(max(score, 0), 2 * limits.ANSWERS)
