"""Two machines that run with one key: what is seen of it, and for how long that is news. Pure."""

from collections.abc import Iterator
from math import inf

from weave.mesh import limits
from weave.names import PeerName

SUSPECTED_AFTER = 3
"""An old database is contradicted once or twice, by what remembers it; a clone contradicts again and again."""


class Clones:
    """What was seen lately; a clone that was stopped is seen no more."""

    def __init__(self) -> None:
        self._others: dict[PeerName, tuple[str, float]] = {}
        """Where the one that was turned away came from, and when."""
        self._ours_at = -inf
        self._strangers = 0
        self._strangers_at = -inf
        self._old_strangers = 0

    def saw(self, peer: PeerName, address: str, now: float) -> None:
        """Note that two run with a peer's key, of which we turned one away."""
        self._others[peer] = (address, now)

    def saw_ours(self, now: float) -> None:
        """Note that another turned us away for one with our key."""
        self._ours_at = now

    def count(self, strangers: int, now: float) -> None:
        """Take note of how often, so far, entries under our own key came that this life did not write."""
        if strangers != self._strangers:
            self._strangers, self._strangers_at = strangers, now
        if now - self._strangers_at >= limits.CLONE_NEWS_S:
            self._old_strangers = strangers
        if now - self._ours_at >= limits.CLONE_NEWS_S:
            self._ours_at = -inf
        self._others = {name: seen for name, seen in self._others.items() if now - seen[1] < limits.CLONE_NEWS_S}

    def others(self) -> Iterator[tuple[PeerName, str]]:
        """Yield the peers of which two are running, sorted, and where one of them is."""
        for name, (address, _) in sorted(self._others.items()):
            yield name, address

    def is_ours(self, strangers: int) -> bool:
        """Say whether another machine seems to run with our key."""
        return self._ours_at > -inf or self.news(strangers) >= SUSPECTED_AFTER

    def news(self, strangers: int) -> int:
        """Return how many of the strange entries are news."""
        return strangers - self._old_strangers
