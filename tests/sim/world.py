"""The virtual world: one clock, one heap of events, one seed.

Everything random draws from `rng(concern)`, a generator of its own for each concern, so that adding a fault does not
shift the others. Every event feeds the trace hash; the last ones are kept in words for when something fails.
"""

import heapq
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any
from zlib import crc32

RECENT_EVENTS = 50


class InvariantBroken(AssertionError):  # noqa: N818
    """The system did what it must never do."""


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.events = 0
        self.trace = 0
        self.recent: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=RECENT_EVENTS)
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def rng(self, concern: str) -> Random:
        """Return a generator that depends on the seed and the concern alone."""
        return Random(f"{self.seed}/{concern}")

    def at(self, when: float, act: Callable[..., None], *args: Any) -> None:
        """Let something happen at a time, not before now."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(when, self.now), self._sequence, act, args))

    def after(self, delay: float, act: Callable[..., None], *args: Any) -> None:
        self.at(self.now + delay, act, *args)

    def note(self, what: str, *details: object) -> None:
        """Take an event into the trace; the words are made only when they are wanted."""
        self.trace = crc32(b"%.6f" % self.now + what.encode(), self.trace)
        self.recent.append((self.now, what, details))

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, act, args = heapq.heappop(heap)
            self.events += 1
            act(*args)
        self.now = until

    def tail(self) -> list[str]:
        """Return the last events in words."""
        return [
            f"{when:12.6f} {what} {' '.join(str(detail)[:160] for detail in details)}"
            for when, what, details in self.recent
        ]
