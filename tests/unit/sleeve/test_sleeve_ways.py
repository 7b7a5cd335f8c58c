"""Which of two ways is used: when the direct one is left, when it is taken again, and how often at most."""

import itertools
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave.net.sleeve import limits
from weave.net.sleeve.ways import Figures, Way, Ways

HOUR_S = 3600.0
Loss = Callable[[float], float]


class Road:
    """A direct way and one through a helper, measured at the pace that trials have."""

    def __init__(self, seed: int = 0, *, direct: Loss = lambda _: 0.0, through: Loss = lambda _: 0.0,
                 rtts: tuple[float, float] = (0.001, 0.002)) -> None:
        self.ways = Ways()
        self.ways.choose(["b"], 0.0)
        self.rng = random.Random(seed)
        self.losses = direct, through
        self.rtts = rtts
        self.now = 0.0
        self.trials = 0
        self.changes: list[float] = []
        """When the way was changed; the first of them left the direct one."""

    def run(self, seconds: float) -> "Road":
        end = self.now + seconds
        while self.now < end:
            self._try()
            in_haste = self.ways.is_in_haste(self.now, doubted=False)
            self.now = self.ways.next_at(limits.TRIAL_HASTE_S if in_haste else limits.TRIAL_BUSY_S)
            self.ways.settle(self.now)
            if self.ways.is_to_change(self.now):
                self.changes.append(self.now)
                self.ways.use(None if self.ways.is_relayed else "b", self.now)
            self.ways.choose(["b"], self.now)
        return self

    def _try(self) -> None:
        self.trials += 1
        number = self.ways.begin(self.now)
        for way in Way:
            if self.rng.random() >= self.losses[way](self.now):
                self.ways.answered(number, way, self.now + self.rtts[way])


def always(loss: float) -> Loss:
    return lambda _: loss


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [0.3, 0.5, 0.8])
def test_a_way_that_loses_much_is_left_within_a_minute_and_for_as_long_as_it_does(loss: float, seed: int) -> None:
    road = Road(seed, direct=always(loss)).run(600.0)
    assert len(road.changes) == 1
    assert 5.0 < road.changes[0] < 60.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_a_way_that_loses_little_is_kept(loss: float, seed: int) -> None:
    assert Road(seed, direct=always(loss)).run(HOUR_S).changes == []


def test_a_good_way_is_measured_now_and_then() -> None:
    assert Road().run(HOUR_S).trials <= HOUR_S / limits.TRIAL_BUSY_S + 1


@pytest.mark.parametrize("seed", range(5))
def test_a_way_that_was_left_is_taken_again_when_it_is_good(seed: int) -> None:
    road = Road(seed, direct=lambda now: 0.4 if now < 100 else 0.0).run(200.0)
    assert len(road.changes) == 2
    assert 100 < road.changes[1] < 130


def test_one_outage_is_nothing_lasting() -> None:
    assert Road(direct=lambda now: float(100 < now < 102)).run(300.0).changes == []


@pytest.mark.parametrize("seed", range(5))
def test_a_way_through_a_helper_that_is_no_better_is_hardly_ever_taken(seed: int) -> None:
    assert len(Road(seed, direct=always(0.3), through=always(0.3)).run(HOUR_S).changes) <= 8, "by chance"


@pytest.mark.parametrize(("rtts", "left"), [
    ((0.1, 0.01), True), ((0.026, 0.01), True), ((0.024, 0.01), False), ((0.005, 0.0005), False),
    ((0.002, 0.004), False),
])
def test_a_way_that_takes_much_longer_is_left(rtts: tuple[float, float], left: bool) -> None:
    assert bool(Road(rtts=rtts).run(300.0).changes) == left


def test_what_both_ways_lose_at_once_speaks_against_neither() -> None:
    road = Road()
    for _ in range(200):
        busy = road.rng.random() < 0.5
        road.losses = always(float(busy)), always(float(busy))
        road.run(limits.TRIAL_HASTE_S)
    assert road.changes == []
    for _ in range(200):
        busy = road.rng.random() < 0.2
        road.losses = always(1.0 if busy else 0.4), always(float(busy))
        road.run(limits.TRIAL_HASTE_S)
    assert len(road.changes) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_busy_host_whose_answers_take_now_long_now_short_takes_a_good_way_again(seed: int) -> None:
    road = Road(seed, direct=lambda now: 0.4 if now < 60 else 0.0)
    while road.now < 130.0:
        late_s = road.rng.choice([0.0, 0.02, 0.1])
        road.rtts = late_s + 0.001, late_s + 0.002
        road.run(0.01)
    assert len(road.changes) == 2


def test_a_nearer_way_that_loses_more_is_none() -> None:
    assert Road(1, rtts=(0.1, 0.01), through=always(0.2)).run(HOUR_S).changes == []


def test_a_round_trip_that_got_good_brings_the_direct_way_back() -> None:
    road = Road(rtts=(0.1, 0.01)).run(100.0)
    road.rtts = (0.022, 0.01)
    road.run(300.0)
    assert len(road.changes) == 1, "between the two rules nothing changes"
    road.rtts = (0.012, 0.01)
    assert len(road.run(60.0).changes) == 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("swing", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("period_s", [20.0, 60.0, 240.0])
def test_loss_that_wanders_about_the_threshold_changes_the_way_a_few_times_an_hour(
        period_s: float, swing: float, seed: int) -> None:
    threshold = limits.LEAVE_LOST / limits.TRIALS_KEPT
    road = Road(seed, direct=lambda now: threshold * (1 + swing * math.sin(2 * math.pi * now / period_s)))
    assert 1 <= len(road.run(HOUR_S).changes) <= 22


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]), min_size=8, max_size=8),
       st.sampled_from([7.0, 16.0, 45.0]), st.integers(0, 100))
def test_whatever_the_loss_does_the_way_is_left_more_and_more_rarely(losses: list[float], span_s: float,
                                                                     seed: int) -> None:
    road = Road(seed, direct=lambda now: losses[int(now / span_s) % len(losses)]).run(HOUR_S / 2)
    away_s = 0.0
    returned_at = -math.inf
    for left_at, again_at in zip(road.changes[::2], road.changes[1::2], strict=False):
        soon = left_at - returned_at < limits.STEADY_S
        away_s = min(2 * away_s, limits.AWAY_MOST_S) if soon else limits.AWAY_FIRST_S
        assert again_at - left_at >= away_s
        returned_at = again_at


def test_a_way_that_did_not_answer_at_all_is_taken_as_soon_as_it_does_steadily() -> None:
    road = Road(direct=lambda now: float(now < 50))
    road.ways.use("b", 0.0)
    road.run(60.0)
    assert len(road.changes) == 1
    assert 50 < road.changes[0] < 57


def test_helpers_have_their_turn_when_one_is_of_no_use() -> None:
    ways, now, tried = Ways(), 0.0, []
    for _ in range(60):
        ways.choose(["b", "d"], now)
        tried.append(ways.helper)
        number = ways.begin(now)
        ways.answered(number, Way.DIRECT, now)
        now += 2 * limits.TRIAL_PATIENCE_S
        ways.settle(now)
    assert set(tried) == {"b", "d"}
    assert sum(one != other for one, other in itertools.pairwise(tried)) <= 60 / limits.TRIALS_BARREN


def test_what_is_measured_of_the_ways_is_known_soon_after_a_change() -> None:
    road = Road(2, direct=always(0.5))
    while not road.changes:
        road.run(0.1)
    assert road.ways.is_unknown
    assert road.ways.figures(Way.DIRECT) is None
    road.run(5 * limits.TRIALS_BARREN * limits.TRIAL_BUSY_S)
    assert not road.ways.is_unknown
    direct, through = (road.ways.figures(way) for way in Way)
    assert direct is not None
    assert through is not None
    assert direct.loss > 0.2 > through.loss == 0.0
    assert through.rtt_s == pytest.approx(road.rtts[Way.THROUGH])


def test_an_answer_that_nobody_waits_for_or_that_comes_late_says_nothing() -> None:
    ways = Ways()
    ways.answered(7, Way.DIRECT, 1.0)
    for at in range(limits.TRIALS_BARREN):
        number = ways.begin(10.0 * at)
        ways.answered(number, Way.THROUGH, 10.0 * at + 0.5)
        ways.answered(number, Way.THROUGH, 10.0 * at + 0.7)
        ways.answered(number, Way.DIRECT, 10.0 * at + limits.TRIAL_PATIENCE_S + 0.1)
        ways.settle(10.0 * at + 5)
    assert ways.figures(Way.DIRECT) == Figures(1.0, None)
    assert ways.figures(Way.THROUGH) == Figures(0.0, 0.5)
