"""Tell counters that were seen from those that were not (RFC 6479's purpose, by one big integer). Pure.

Bit i of `bits` stands for the counter `highest - i`. A counter is asked about before its datagram is opened and marked
only once it was authenticated, so that nobody else moves the window.
"""

from weave.net.sleeve.limits import REPLAY_WINDOW

_MASK = (1 << REPLAY_WINDOW) - 1


class ReplayWindow:
    """The counters of one session and direction."""

    __slots__ = ("_bits", "highest")

    def __init__(self) -> None:
        self.highest = -1
        """Highest counter that was authenticated; -1 before the first."""
        self._bits = 0

    def is_new(self, counter: int) -> bool:
        """Say whether a counter was not seen yet and is not too old to know."""
        age = self.highest - counter
        return age < 0 or (age < REPLAY_WINDOW and not self._bits >> age & 1)

    def mark(self, counter: int) -> None:
        """Take note of an authenticated counter."""
        age = self.highest - counter
        if age >= 0:
            self._bits |= 1 << age
            return
        self._bits = (self._bits << -age & _MASK) | 1 if -age < REPLAY_WINDOW else 1
        self.highest = counter
