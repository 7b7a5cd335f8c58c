from math import inf
from random import Random

from weave.mesh.surplus import SURPLUS_AFTER_S, SURPLUS_INTERVAL_S, Surplus


def test_nothing_is_closed_before_it_was_unwanted_for_long() -> None:
    surplus = Surplus(Random(1))
    assert surplus.ripe_at() == inf
    surplus.review([7], 100.0)
    assert surplus.take(100.0 + SURPLUS_AFTER_S - 0.1) == ()
    assert surplus.take(100.0 + SURPLUS_AFTER_S) == (7,)


def test_wanted_again_in_between_starts_anew() -> None:
    surplus = Surplus(Random(1))
    surplus.review([7], 0.0)
    surplus.review([], 20.0)
    surplus.review([7], 21.0)
    assert surplus.ripe_at() == 21.0 + SURPLUS_AFTER_S


def test_closures_are_spaced_and_the_longest_unwanted_goes_first() -> None:
    surplus = Surplus(Random(1))
    surplus.review([9], 0.0)
    surplus.review([9, 3, 5], 1.0)
    assert surplus.take(100.0) == (9,)
    assert surplus.take(100.0 + 0.4 * SURPLUS_INTERVAL_S) == ()
    assert surplus.take(100.0 + 1.6 * SURPLUS_INTERVAL_S) == (3,)
