"""An answer is waited for awake where answers have come, and nowhere else."""

from weave.net.sleeve import limits
from weave.net.sleeve.expecting import Expectation

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
