"""Hold units back while an earlier one is asked for again, so that a loss we repair is none for who is above us. Pure.

TCP takes what comes late for lost, and slows down by half. So units wait, in order of their counters, for what is
missing before them: not longer than asking for it takes, and never more than so many.
"""

from weave.net.sleeve import limits


class Order:
    """The units of one session that wait for an earlier one."""

    __slots__ = ("_octets", "passed", "until", "waiting")

    def __init__(self) -> None:
        self.until = float("inf")
        """When everything that waits is let go, come what may."""
        self.passed = -1
        """Up to this counter nothing is waited for any more: it took too long."""
        self.waiting: dict[int, bytes] = {}
        """What waits, by counter."""
        self._octets = 0

    def hold(self, counter: int, plain: bytes, now: float, rtt_s: float) -> None:
        """Have a unit wait."""
        if not self.waiting:
            self.until = now + min(limits.HOLD_MOST_S, limits.HOLD_S + 1.5 * rtt_s)
        self.waiting[counter] = plain
        self._octets += len(plain)
        if self._octets > limits.HOLD_BYTES:
            self.until = now

    def release(self, oldest_missing: int | None, now: float) -> list[bytes]:
        """Return what need not wait any more, in order, given the lowest counter that may still come."""
        is_over = now >= self.until
        ready = [counter for counter in sorted(self.waiting)
                 if is_over or oldest_missing is None or counter < oldest_missing]
        if is_over and ready:
            self.passed = ready[-1]
        released = [self.waiting.pop(counter) for counter in ready]
        self._octets -= sum(map(len, released))
        if not self.waiting:
            self.until = float("inf")
        elif released:
            self.until = max(self.until, now + limits.HOLD_S)
        return released
