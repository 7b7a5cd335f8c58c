"""How good the way to a peer is, and how large a datagram gets through: learned from probes and handshakes. Pure."""

from weave.net.sleeve import limits


class Quality:
    """Round trip and loss of one way, smoothed."""

    __slots__ = ("latest_s", "loss", "lost_in_row", "rtt_s", "waiting")

    def __init__(self) -> None:
        self.rtt_s: float | None = None
        self.latest_s = 0.0
        """The latest round trip, of a probe or of a handshake: all that is known before the first echo."""
        self.loss = 0.0
        """Share of probes that got no echo, the latest weigh most."""
        self.lost_in_row = 0
        self.waiting: dict[int, float] = {}
        """When each probe was sent that has no echo yet."""

    def sent(self, number: int, now: float) -> None:
        """Note a probe; those before it that had time enough are lost."""
        patience = self.patience_s()
        for other, at in list(self.waiting.items()):
            if now - at > patience:
                del self.waiting[other]
                self._count(1.0)
                self.lost_in_row += 1
        self.waiting[number] = now

    def echoed(self, number: int, now: float) -> None:
        """Note an echo; one that nobody waits for says nothing."""
        at = self.waiting.pop(number, None)
        if at is None:
            return
        self.lost_in_row = 0
        self._count(0.0)
        sample = self.latest_s = max(now - at, 1e-6)
        self.rtt_s = sample if self.rtt_s is None else self.rtt_s + limits.RTT_WEIGHT * (sample - self.rtt_s)

    def patience_s(self) -> float:
        """Return how long an echo may take."""
        return max(limits.PROBE_DOUBT_S * 0.9, 3 * (self.latest_s if self.rtt_s is None else self.rtt_s))

    def _count(self, lost: float) -> None:
        self.loss += limits.LOSS_WEIGHT * (lost - self.loss)


class SizeSearch:
    """The largest datagram that gets through, found by padded probes; a size that stops getting through is left.

    What a helper puts around each comes off all sizes: on the wire they are those of the direct way, so that receiving
    buffers laid out for one way suit the other.
    """

    __slots__ = ("_candidates", "_first", "_retry_at", "_sizes", "lost_in_row", "most", "size")

    def __init__(self, most: int, around: int = 0) -> None:
        self._sizes, self._first = tuple(size - around for size in limits.SIZES), limits.FIRST_SIZE - around
        self.most = most - around
        """What our own device carries."""
        self.size = min(self._first, self.most)
        self.lost_in_row = 0
        self._candidates: list[int] = []
        self._retry_at = 0.0

    def candidates(self, now: float) -> list[int]:
        """Return sizes to try now, all at once; each is asked for a few times, then rested."""
        if now < self._retry_at:
            return []
        if not self._candidates:
            larger = [size for size in self._sizes if self.size < size <= self.most]
            self._candidates = larger * 2
            if not larger:
                self._retry_at = now + limits.SIZE_RETRY_S
                return []
        half = len(self._candidates) // 2 or 1
        tried, self._candidates = self._candidates[:half], self._candidates[half:]
        self._retry_at = now + (limits.SIZE_AGAIN_S if self._candidates else limits.SIZE_RETRY_S)
        return tried

    def deadline(self) -> float:
        """Return when there is something to try."""
        return self._retry_at

    def passed(self, size: int) -> bool:
        """Note that a datagram of this size got through; say whether that is news."""
        if size >= self.size:
            self.lost_in_row = 0
        if self.size < size <= self.most:
            self.size = size
            return True
        return False

    def vanished(self, now: float) -> bool:
        """Note that a full datagram got no echo though small ones do; say whether the size is left for a smaller."""
        self.lost_in_row += 1
        if self.lost_in_row < limits.SIZE_PROBES_LOST:
            return False
        return self.shrink(now)

    def shrink(self, now: float) -> bool:
        """Leave the size for the floor below it; say whether there was one."""
        floor = self._first if self.size > self._first else self._sizes[0]
        if floor >= self.size:
            return False
        self.size, self.lost_in_row, self._candidates = floor, 0, []
        self._retry_at = now
        return True
