"""How long to wait before something that failed is tried again.

Delays grow from one second by half each time, each drawn at random around its mean so that hosts that lost the same
peer do not return in step. No delay ever passes `LONGEST_RETRY_S`: a user whose uplink comes back does not wait long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

FIRST_RETRY_S = 1.0
"""The mean of the first delay: a peer that restarts is back within seconds."""
GROWTH = 1.5
"""Each delay is longer than the one before by this factor: ten failures pass before the longest is reached."""
JITTER_LOW = 0.5
JITTER_HIGH = 1.5
"""A delay lies between these shares of its mean."""
LONGEST_RETRY_S = 60.0
"""No delay is longer: edge hosts come and go, and one dial a minute costs nothing."""
CEILING_S = LONGEST_RETRY_S / JITTER_HIGH
"""The largest mean, so that even the largest draw keeps to `LONGEST_RETRY_S` without a lump of draws at it."""
RESET_AFTER_UP_S = 60.0
"""A connection that lived this long was a success: the next failure starts from the first delay again."""


class Backoff:
    """The growing delay of one thing that is tried again and again."""

    __slots__ = ("_mean",)

    def __init__(self) -> None:
        self._mean = FIRST_RETRY_S

    def next_delay(self, rng: Random) -> float:
        """Return the seconds to wait now, and let the next wait be longer."""
        delay = self._mean * rng.uniform(JITTER_LOW, JITTER_HIGH)
        self._mean = min(self._mean * GROWTH, CEILING_S)
        return delay

    def reset(self) -> None:
        """Start from the first delay again."""
        self._mean = FIRST_RETRY_S
