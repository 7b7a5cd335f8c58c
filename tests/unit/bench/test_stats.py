import pytest

from bench.stats import interleaved, paired_ratio, percentile, spread


def test_sides_take_turns_and_turn_round():
    order = []
    samples = interleaved({"a": lambda: order.append("a") or 1, "b": lambda: order.append("b") or 2}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert samples == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_ratio_pairs_neighbours_in_time():
    """A machine twice as slow in one round slows both sides: the ratio does not move."""
    assert paired_ratio([10, 5, 10], [20, 10, 20]) == 0.5


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 5), (90, 9), (99, 10), (100, 10)])
def test_percentile_is_a_value_that_was_seen(percent, expected):
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_percentile_of_one_value_is_that_value():
    assert percentile([3.0], 99) == 3.0


@pytest.mark.parametrize(("values", "expected"), [([5.0], 0.0), ([2, 2, 2], 0.0), ([1, 2, 3, 4], 1 / 2.5), ([0, 0], 0)])
def test_spread_is_half_the_quartile_distance_over_the_median(values, expected):
    assert spread(values) == pytest.approx(expected)
