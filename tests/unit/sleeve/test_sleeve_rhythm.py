"""Frames that come at regular times are forecast; others are not, and nobody waits for long."""

import random
from collections.abc import Iterable, Iterator

import pytest

from weave.net.sleeve import limits
from weave.net.sleeve.rhythm import Rhythm

BEGIN = 1000.0
PERIODS = [0.005, 0.02, 1.0]


def beats(period: float, count: int, *, jitter: float = 0.0, begin: float = BEGIN, seed: int = 1) -> Iterator[float]:
    """Return times of frames that a timer sends, each late or early by up to `jitter`."""
    rng = random.Random(seed)
    return (begin + index * period + rng.uniform(-jitter, jitter) for index in range(count))


def heard(times: Iterable[float], rhythm: Rhythm | None = None) -> tuple[Rhythm, float]:
    """Return a rhythm that heard frames, and when the last one came."""
    rhythm, last = rhythm or Rhythm(), 0.0
    for last in times:
        rhythm.came(last)
    return rhythm, last


def caught(times: Iterable[float]) -> tuple[int, float]:
    """Return how many of the frames came while one was waited for, and how long was waited altogether."""
    rhythm, window, hits, waited = Rhythm(), None, 0, 0.0
    for now in times:
        while window is not None and window[0] < now:
            begin, end = window
            hits += begin <= now <= end
            waited += min(now, end) - begin
            window = rhythm.window(min(now, end))
        rhythm.came(now)
        window = rhythm.window(now)
    return hits, waited


@pytest.mark.parametrize("period", PERIODS)
def test_the_next_beat_is_forecast(period: float) -> None:
    rhythm, last = heard(beats(period, 40))
    window = rhythm.window(last)
    assert window is not None
    begin, end = window
    assert begin < last + period < end
    assert begin > last
    assert last + period - begin == pytest.approx(limits.EARLY_S, rel=0.5)


@pytest.mark.parametrize("period", PERIODS)
def test_most_of_what_a_timer_sends_is_caught_at_a_bounded_cost(period: float) -> None:
    jitter = min(period / 50, 0.0001)
    hits, waited = caught(beats(period, 1000, jitter=jitter))
    assert hits > 900
    assert waited < 1000 * period * limits.AHEAD_SHARE * 1.2


def test_a_sender_that_counts_from_its_last_frame_is_followed() -> None:
    """It never catches up what it was late by, as one does that sleeps between two frames."""
    rng, times = random.Random(2), [BEGIN]
    for _ in range(1000):
        times.append(times[-1] + 0.01 + abs(rng.gauss(0, 0.0001)))
    assert caught(times)[0] > 900


def test_a_new_period_is_learnt() -> None:
    rhythm, last = heard(beats(0.005, 50))
    rhythm, last = heard(beats(0.02, 50, begin=last + 0.02), rhythm)
    window = rhythm.window(last)
    assert window is not None
    assert window[0] < last + 0.02 < window[1]


def test_frames_at_random_are_not_waited_for() -> None:
    rng, now, times = random.Random(3), BEGIN, []
    for _ in range(2000):
        now += limits.QUIET_S + rng.expovariate(200)
        times.append(now)
    _, waited = caught(times)
    assert waited < (times[-1] - times[0]) * 0.01


def test_a_frame_between_two_beats_leaves_the_forecast() -> None:
    rhythm, last = heard(beats(0.02, 50))
    before = rhythm.window(last)
    rhythm.came(last + 0.009)
    after = rhythm.window(last + 0.009)
    assert before is not None
    assert after == pytest.approx(before)


def test_beats_that_stay_away_are_soon_not_waited_for() -> None:
    rhythm, now = heard(beats(0.02, 50))
    windows = 0
    while (window := rhythm.window(now)) is not None:
        windows, now = windows + 1, window[1]
    assert 0 < windows <= limits.BEATS + 1


def test_after_a_pause_the_rhythm_is_learnt_anew() -> None:
    rhythm, last = heard(beats(0.02, 50))
    rhythm.came(last + 10.003)
    assert rhythm.window(last + 10.003) is None
    rhythm, last = heard(beats(0.02, 20, begin=last + 10.023), rhythm)
    assert rhythm.window(last) is not None


def test_what_comes_as_often_as_it_takes_to_wake_up_is_not_waited_for() -> None:
    rhythm, last = heard(beats(limits.EARLY_S / limits.AHEAD_SHARE / 2, 100))
    assert rhythm.window(last) is None


def test_an_inexact_timer_is_not_waited_for() -> None:
    """Not even where its period is long: what is spent each time is bounded too."""
    assert caught(beats(1.0, 200, jitter=0.05))[1] < 0.1


def test_the_first_frame_says_nothing() -> None:
    rhythm, last = heard([BEGIN])
    assert rhythm.window(last) is None
