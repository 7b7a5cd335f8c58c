"""An answer is waited for awake where answers have come, and nowhere else."""

from weave.net.sleeve import limits
from weave.net.sleeve.expecting import Expectation
from weave.net.sleeve.ways import FAR

TAP, UDP = 3, 4
SOON, LATE = limits.ANSWER_S / 2, limits.ANSWER_S * 2
PAUSE = limits.QUIET_S * 5


def converse(expectation: Expectation, rounds: int, begin: float, answer_after: float = SOON) -> float:
    """Let pings leave and their answers come; return the time after the last."""
    now = begin
    for _ in range(rounds):
        expectation.came(TAP, now)
        expectation.came(UDP, now + answer_after)
        now += PAUSE
    return now


def test_nothing_is_expected_at_first() -> None:
    expectation = Expectation()
    expectation.came(TAP, 100.0)
    assert expectation.until < 100.0


def test_an_answer_is_expected_once_answers_came_soon() -> None:
    expectation = Expectation()
    now = converse(expectation, limits.ANSWERS, 100.0)
    expectation.came(TAP, now)
    assert expectation.until == now + limits.ANSWER_S


def test_after_the_answer_nothing_more_is_expected() -> None:
    expectation = Expectation()
    now = converse(expectation, limits.ANSWERS, 100.0)
    expectation.came(TAP, now)
    expectation.came(UDP, now + SOON)
    assert expectation.until < now


def test_a_peer_far_away_is_not_waited_for() -> None:
    expectation = Expectation()
    now = converse(expectation, 100, 100.0, answer_after=LATE)
    expectation.came(TAP, now)
    assert expectation.until < now


def test_answers_that_stay_away_are_soon_not_expected_any_more() -> None:
    expectation = Expectation()
    now = converse(expectation, 1000, 100.0)
    waits = 0
    for _ in range(100):
        expectation.came(TAP, now)
        waits += expectation.until > now
        now += PAUSE
    assert 0 < waits <= limits.ANSWERS + 1


def test_sides_are_told_apart() -> None:
    """What comes from the wire and is not answered leaves what comes from the bridge alone."""
    expectation = Expectation()
    now = converse(expectation, limits.ANSWERS, 100.0)
    for _ in range(2):
        expectation.came(UDP, now)
        now += PAUSE
    expectation.came(UDP, now)
    assert expectation.until < now
    now += PAUSE
    expectation.came(TAP, now)
    assert expectation.until > now


def test_in_a_stream_nothing_is_waited_for() -> None:
    expectation = Expectation()
    now = converse(expectation, limits.ANSWERS, 100.0)
    for _ in range(100):
        expectation.came(TAP, now)
        now += limits.QUIET_S / 4
    assert expectation.until < now


def beat(expectation: Expectation, rounds: int, begin: float, side: int = UDP) -> float:
    """Let frames come at regular times; return when the next is due."""
    for index in range(rounds):
        expectation.came(side, begin + index * PAUSE)
    return begin + rounds * PAUSE


def test_what_comes_at_regular_times_is_expected_when_it_is_due() -> None:
    expectation = Expectation()
    due = beat(expectation, 40, 100.0)
    assert due - PAUSE < expectation.opens_at < due
    expectation.open()
    assert expectation.until > due


def test_what_comes_ends_the_expectation_and_begins_the_next() -> None:
    expectation = Expectation()
    due = beat(expectation, 40, 100.0)
    expectation.open()
    expectation.came(UDP, due)
    assert expectation.until < due
    assert due < expectation.opens_at < due + PAUSE


def test_what_does_not_come_is_expected_a_few_times_more() -> None:
    expectation = Expectation()
    beat(expectation, 40, 100.0)
    opened = 0
    while expectation.opens_at < FAR:
        expectation.open()
        opened += 1
    assert 1 < opened <= limits.BEATS + 1


def test_of_two_sides_the_next_is_expected() -> None:
    """What comes from the bridge and what comes from the wire keep time each by itself."""
    expectation = Expectation()
    for index in range(40):
        expectation.came(TAP, 100.0 + index * PAUSE)
        expectation.came(UDP, 100.0 + (index + 0.4) * PAUSE)
    assert 100.0 + 39.4 * PAUSE < expectation.opens_at < 100.0 + 40 * PAUSE
    expectation.open()
    assert expectation.until < 100.0 + 40.3 * PAUSE
    assert 100.0 + 40 * PAUSE < expectation.opens_at < 100.0 + 40.4 * PAUSE


def test_answers_have_no_rhythm() -> None:
    """They are waited for anyway."""
    expectation = Expectation()
    now = converse(expectation, 40, 100.0)
    assert expectation.opens_at > now - PAUSE + SOON
    expectation.came(TAP, now)
    assert expectation.opens_at > now + SOON
