"""How long to wait for an answer from an end that may be slow rather than gone. Pure.

The router of a host with too much to do answers seconds late, while its kernel forwards as ever; to leave the kernel's
way for one through user space would make it worse. As with a retransmission timer (RFC 6298), the wait follows the
round trips.
"""

from weave.net.crypt import limits


class Patience:
    """Own the wait for one peer."""

    def __init__(self) -> None:
        self._slow_s = 0.0
        """The slowest of the recent round trips; it fades with those that follow."""

    @property
    def wait_s(self) -> float:
        """Return after how long a probe counts as lost."""
        return max(limits.ANSWER_S, min(limits.MAX_ANSWER_S, limits.SLOW_FACTOR * self._slow_s))

    @property
    def factor(self) -> float:
        """Return by how much longer than usual that is."""
        return self.wait_s / limits.ANSWER_S

    def learn(self, rtt_s: float) -> None:
        """Take note of a round trip, however late it came."""
        self._slow_s = max(rtt_s, self._slow_s * limits.SLOW_FADES)
