"""Waiting, after a restart, until somebody has told us what we may have forgotten.

A database that was restored from a copy is older than what its peer did: it gave space away that it believes to own.
So a peer that remembers a ring asks its peers what they know of it, and neither gives out nor gives away anything
before one of them has answered, the channel was compared, or nobody answered for a while. The same holds for who finds
a ring that others run: an earlier life may have had a part in it, and the records come one by one.
"""

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from weave.ipam import limits
from weave.ipam.messages import MAX_NONCE
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random


class Recall:
    """Whether what we remember may be relied on."""

    def __init__(self, rng: "Random") -> None:
        self.is_done = False
        self._rng = rng
        self._give_up_at = inf
        self._ask_at = inf
        self._nonce = -1

    def begin(self, now: float) -> None:
        """Start to wait, also if it was over before."""
        self.is_done = False
        self._give_up_at = now + limits.SYNC_GRACE_S
        self._ask_at = now

    def is_over(self, now: float) -> bool:
        """Say whether the wait ended by itself."""
        return not self.is_done and now >= self._give_up_at

    def ask(self, peers: Sequence[PeerName], now: float) -> tuple[PeerName, int] | None:
        """Return whom to ask now, and the nonce to use."""
        if self.is_done or not peers or now < self._ask_at:
            return None
        self._ask_at = now + limits.RECALL_INTERVAL_S
        self._nonce = self._rng.randint(1, MAX_NONCE)
        return peers[self._rng.randrange(len(peers))], self._nonce

    def is_answer(self, nonce: int) -> bool:
        """Say whether this answers our question."""
        return nonce == self._nonce

    def deadline(self, *, may_ask: bool) -> float:
        """Return when `is_over` or `ask` will have news."""
        if self.is_done:
            return inf
        return min(self._give_up_at, self._ask_at) if may_ask else self._give_up_at
