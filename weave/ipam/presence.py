"""What a peer that has a ring tells everybody about it: which ring, roughly how much is free, and the first division.

The hint changes with every power of two of free addresses, and is told once in a while. The division in full is told
by a few peers only: it is large in a large network.
"""

from math import inf

from weave.ipam.codec import encode_division
from weave.ipam.division import Division
from weave.ipam.founding import Founding
from weave.ipam.gossip import Keys, encode_hint
from weave.ipam.limits import HINT_INTERVAL_S, SEED_PATIENCE_S
from weave.ipam.outbox import Outbox
from weave.ipam.space import Space


class Presence:
    """Our hint and our copy of the first division."""

    def __init__(self, division: Division, keys: Keys, founding: Founding, space: Space, outbox: Outbox) -> None:
        self._division = division
        self._encoded = encode_division(division)
        self._keys = keys
        self._founding = founding
        self._space = space
        self._outbox = outbox
        self._hint_due = -inf
        self._patient_until = inf
        self._is_patient = True

    def begin(self, now: float) -> None:
        """Take note that we are there from now on."""
        self._patient_until = now + SEED_PATIENCE_S

    def show(self, now: float) -> None:
        """Publish what is due."""
        self._show_division(now)
        if now >= self._hint_due and not self._is_hint_shown():
            self._hint_due = now + HINT_INTERVAL_S
            self._outbox.publish(self._keys.hint, self._hint())

    def deadline(self) -> float:
        """Return when `show` has something to do."""
        patience = self._patient_until if self._is_patient else inf
        return min(patience, inf if self._is_hint_shown() else self._hint_due)

    def _show_division(self, now: float) -> None:
        is_published = self._keys.seed in self._outbox.published
        self._is_patient = self._is_patient and now < self._patient_until
        if self._founding.should_publish(self._division, is_published=is_published, is_patient=self._is_patient):
            self._outbox.publish(self._keys.seed, self._encoded)
        elif is_published:
            self._outbox.publish(self._keys.seed, None)

    def _hint(self) -> bytes:
        return encode_hint(self._division.ring_id, self._space.free.total.bit_length())

    def _is_hint_shown(self) -> bool:
        return self._hint() == self._outbox.published.get(self._keys.hint)
