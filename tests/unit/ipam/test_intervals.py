from hypothesis import given
from hypothesis import strategies as st

from weave.ipam.intervals import Intervals

SIZE = 40
BOUNDS = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))
CHANGES = st.lists(st.tuples(st.booleans(), BOUNDS), max_size=30)


def build(changes: list[tuple[bool, tuple[int, int]]]) -> tuple[Intervals, set[int]]:
    intervals, model = Intervals(), set[int]()
    for is_added, (start, end) in changes:
        (intervals.add if is_added else intervals.remove)(start, end)
        (model.update if is_added else model.difference_update)(range(start, end))
    return intervals, model


@given(CHANGES)
def test_intervals_hold_what_a_set_would_hold(changes: list[tuple[bool, tuple[int, int]]]) -> None:
    intervals, model = build(changes)
    assert {number for start, end in intervals for number in range(start, end)} == model
    assert intervals.total == len(model)
    assert all((number in intervals) == (number in model) for number in range(-1, SIZE + 1))


@given(CHANGES)
def test_intervals_are_sorted_and_never_touch(changes: list[tuple[bool, tuple[int, int]]]) -> None:
    bounds = [bound for interval in build(changes)[0] for bound in interval]
    assert bounds == sorted(set(bounds))


@given(CHANGES, BOUNDS)
def test_first_count_and_between_look_at_a_part(changes: list[tuple[bool, tuple[int, int]]],
                                                bounds: tuple[int, int]) -> None:
    intervals, model = build(changes)
    part = sorted(model & set(range(*bounds)))
    assert intervals.first(*bounds) == (part[0] if part else None)
    assert intervals.count(*bounds) == len(part)
    assert [number for start, end in intervals.between(*bounds) for number in range(start, end)] == part


@given(CHANGES)
def test_intervals_with_the_same_members_are_equal(changes: list[tuple[bool, tuple[int, int]]]) -> None:
    intervals, model = build(changes)
    assert intervals == Intervals((number, number + 1) for number in sorted(model, reverse=True))
