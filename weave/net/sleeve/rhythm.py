"""When the next frame comes, where frames come at regular times: pings, voice, sensors, controllers. Pure.

Where the last ones came is followed by a g-h (also alpha-beta) filter: a forecast of the next beat and of the period,
each corrected by a share of what the forecast was wrong by. Its mean error says how long to wait for a beat.
"""

from math import ceil

from weave.net.sleeve import limits

_PHASE_GAIN, _PERIOD_GAIN, _JITTER_GAIN = 0.4, 0.1, 0.25
_TOLERANCE = 1 / 8
"""Of a period: what comes farther from a beat is none."""
_JITTERS = 2
"""So many mean errors before and after a beat it still comes."""


class Rhythm:
    """The beat of frames from one side; times in seconds."""

    __slots__ = ("_came", "_due", "_jitter", "_period", "_score")

    def __init__(self) -> None:
        self._came: float | None = None
        self._due = 0.0
        self._period = 0.0
        self._jitter = 0.0
        self._score = 0
        """How often in a row, up to some, a frame came at its time; one less for each time it did not."""

    def came(self, now: float) -> None:
        """Note that a frame came."""
        missed = max(0, round((now - self._due) / self._period)) if self._period else 0
        self._due += missed * self._period
        self._score = max(self._score - missed, 0)
        error = now - self._due
        if abs(error) <= self._period * _TOLERANCE and (self._score or not missed):
            self._score = min(self._score + 1, 2 * limits.BEATS)
            self._jitter += (abs(error) - self._jitter) * _JITTER_GAIN
            self._period += error * _PERIOD_GAIN
            self._due += error * _PHASE_GAIN + self._period
        elif self._score > 1:
            self._score -= 1
        elif self._came is not None:
            self._score, self._period = 0, now - self._came
            self._due, self._jitter = now + self._period, self._period * _TOLERANCE / 4
        self._came = now

    def window(self, now: float) -> tuple[float, float] | None:
        """Return when, after now, to begin and to end waiting for a beat; None where that is not worthwhile."""
        margin = self._jitter * _JITTERS
        ahead = limits.EARLY_S + margin
        if self._score < limits.BEATS or ahead > min(limits.AHEAD_MOST_S, self._period * limits.AHEAD_SHARE):
            return None
        missed = max(0, ceil((now + ahead - self._due) / self._period))
        if missed > self._score - limits.BEATS:
            return None
        beat = self._due + missed * self._period
        return beat - ahead, beat + margin + limits.LATE_S
