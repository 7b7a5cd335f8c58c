"""Which connections that nobody wants any more to close, and when: one at a time, after a while.

Neighbours change with every join and leave, and often change back. So a connection is closed only when it was
unwanted for long, and after each the mesh has time to settle.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from weave.mesh.backoff import JITTER_HIGH, JITTER_LOW

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

SURPLUS_AFTER_S = 30.0
"""How long a connection is unwanted before it is closed: longer than a router takes to restart."""
SURPLUS_INTERVAL_S = 5.0
"""The mean time between two such closures of one peer: a mesh that grew at once thins out within minutes."""


class Surplus:
    """The unwanted connections, each with the time since when."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._since: dict[int, float] = {}
        self._not_before = -inf

    def review(self, unwanted: Iterable[int], now: float) -> None:
        """Take the connections that are unwanted now; one that was missing before starts anew."""
        self._since = {conn: self._since.get(conn, now) for conn in sorted(unwanted)}

    def ripe_at(self) -> float:
        """Return when the next one is to be closed; infinity where none is."""
        if not self._since:
            return inf
        return max(self._not_before, min(self._since.values()) + SURPLUS_AFTER_S)

    def take(self, now: float) -> tuple[int, ...]:
        """Return the connection to close now, if any: the one that was unwanted longest."""
        if now < self.ripe_at():
            return ()
        conn = min(self._since, key=lambda conn: (self._since[conn], conn))
        del self._since[conn]
        self._not_before = now + SURPLUS_INTERVAL_S * self._rng.uniform(JITTER_LOW, JITTER_HIGH)
        return (conn,)
