"""A tunnel is used when both ends have proven it, and left when probes stay unanswered."""

from itertools import count, pairwise

import pytest

from weave.net.crypt import limits
from weave.net.crypt.probing import FAILED, PROVEN, PROVING, Ask, Track


class Clock:
    """A track, a clock, and a tunnel that answers or not."""

    def __init__(self) -> None:
        numbers = count(1)
        self.now = 0.0
        self.track = Track(0.0, lambda size: next(numbers).to_bytes(size))
        self.answers = {False: True, True: True}
        self.peer_proven = True

    def run(self, seconds: float) -> list[Ask]:
        until, asked = self.now + seconds, []
        while self.track.deadline() <= until:
            self.now = max(self.now, self.track.deadline())
            for ask in self.track.tick(self.now):
                asked.append(ask)
                if self.answers[ask.large]:
                    self.track.answered(ask.token, self.now, peer_proven=self.peer_proven)
        self.now = until
        return asked


def proven() -> Clock:
    clock = Clock()
    clock.run(1.0)
    assert clock.track.is_usable(clock.now)
    return clock


def test_it_starts_unproven_and_asks_small_and_large() -> None:
    track = Clock().track
    assert not track.is_usable(0.0)
    assert [ask.large for ask in track.tick(0.0)] == [False, True]


def test_one_end_alone_does_not_use_it() -> None:
    clock = Clock()
    clock.peer_proven = False
    clock.run(5.0)
    assert clock.track.phase == PROVEN
    assert not clock.track.is_usable(clock.now)


def test_the_other_end_giving_up_ends_its_use_at_once() -> None:
    clock = proven()
    clock.track.heard(clock.now, peer_proven=False)
    assert not clock.track.is_usable(clock.now)


def test_a_dead_tunnel_fails_within_six_seconds() -> None:
    clock = proven()
    clock.run(30.0)
    clock.answers = {False: False, True: False}
    clock.run(6.0)
    assert clock.track.phase == FAILED
    assert "no longer answered" in clock.track.reason


def test_one_lost_probe_is_no_failure() -> None:
    clock = proven()
    clock.answers = {False: False, True: False}
    clock.run(limits.PROBE_INTERVAL_S)
    clock.answers = {False: True, True: True}
    clock.run(10.0)
    assert clock.track.is_usable(clock.now)


def test_lost_large_probes_alone_are_named() -> None:
    clock = proven()
    clock.answers[True] = False
    clock.run(20.0)
    assert not clock.track.is_usable(clock.now)
    assert "large packets vanish" in clock.track.reason


def test_large_probes_lost_while_it_is_proven_are_named() -> None:
    clock = Clock()
    clock.answers[True] = False
    clock.run(limits.PROVE_S + 0.1)
    assert clock.track.phase == FAILED
    assert "large packets vanish" in clock.track.reason


def test_a_way_that_is_cut_while_it_is_proven_is_not_taken_for_one_that_loses_large_packets() -> None:
    clock = Clock()
    clock.answers[True] = False
    clock.run(limits.PROVE_INTERVAL_S + 0.1)
    clock.answers[False] = False
    clock.run(limits.PROVE_S)
    assert clock.track.phase == FAILED
    assert "no longer answered" in clock.track.reason


def test_it_is_tried_again_after_a_pause_that_grows() -> None:
    clock = Clock()
    clock.answers = {False: False, True: False}
    asked_at = []
    for second in range(400):
        if clock.run(1.0) and (not asked_at or second - asked_at[-1] > 1):
            asked_at.append(second)
        elif asked_at and clock.track.phase == PROVING:
            asked_at[-1] = second
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert len(pauses) >= 3
    assert pauses == sorted(pauses)


def test_a_peer_that_probes_us_is_probed_without_waiting() -> None:
    clock = Clock()
    clock.answers = {False: False, True: False}
    clock.run(limits.PROVE_S + 3.0)
    assert clock.track.phase == FAILED
    clock.track.heard(clock.now, peer_proven=False)
    assert clock.track.phase == PROVING


def test_a_probe_that_cannot_be_sent_gives_the_reason() -> None:
    clock = Clock()
    clock.answers = {False: False, True: False}
    for ask in clock.track.tick(0.0):
        clock.track.unsent(ask.token, "network is unreachable")
    clock.run(limits.PROVE_S + 0.1)
    assert clock.track.reason == "network is unreachable"


def test_while_the_router_over_there_is_away_nothing_is_missed() -> None:
    clock = proven()
    clock.track.suspend(clock.now, suspended=True)
    clock.answers = {False: False, True: False}
    assert clock.run(3600.0) == []
    assert clock.track.is_usable(clock.now)
    clock.track.suspend(clock.now, suspended=False)
    assert clock.track.is_usable(clock.now)
    clock.run(limits.ADOPTED_S + 1.0)
    assert clock.track.phase == FAILED


def back() -> Clock:
    """Return a proven tunnel to a router that has just come back, and answers nothing yet."""
    clock = proven()
    clock.track.suspend(clock.now, suspended=True)
    clock.run(60.0)
    clock.track.suspend(clock.now, suspended=False)
    clock.answers = {False: False, True: False}
    return clock


def test_a_router_that_came_back_has_time_to_agree_on_keys() -> None:
    clock = back()
    for _ in range(10):
        clock.run(limits.ADOPTED_S / 12)
        assert clock.track.is_usable(clock.now)
    clock.answers = {False: True, True: True}
    clock.run(60.0)
    assert clock.track.is_usable(clock.now)


def test_a_router_that_came_back_and_answered_is_missed_as_soon_as_any_other() -> None:
    clock = back()
    clock.answers = {False: True, True: True}
    clock.run(2.0)
    clock.answers = {False: False, True: False}
    clock.run(10.0)
    assert clock.track.phase == FAILED


def test_a_router_that_came_back_and_knows_nothing_of_the_tunnel_is_not_sent_to() -> None:
    clock = back()
    clock.track.heard(clock.now, peer_proven=False)
    assert not clock.track.is_usable(clock.now)


def test_answers_nobody_asked_for_say_nothing() -> None:
    clock = proven()
    rtt = clock.track.rtt_s
    clock.track.answered(b"x" * 8, clock.now + 5, peer_proven=False)
    assert clock.track.rtt_s == rtt
    assert clock.track.is_usable(clock.now)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.7, 61.3])
def test_there_is_never_a_deadline_that_does_nothing(seconds: float) -> None:
    clock = Clock()
    clock.answers[True] = False
    clock.run(seconds)
    clock.track.tick(clock.now)
    assert clock.track.deadline() > clock.now


class SlowClock(Clock):
    """A tunnel whose other end answers, but late."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self.delay_s = delay_s
        self.due: list[tuple[float, bytes]] = []

    def run(self, seconds: float) -> list[Ask]:
        until, asked = self.now + seconds, []
        while (at := min(self.track.deadline(), self.due[0][0] if self.due else until)) < until:
            self.now = max(self.now, at)
            while self.due and self.due[0][0] <= self.now:
                self.track.answered(self.due.pop(0)[1], self.now, peer_proven=True)
            asked += (asks := self.track.tick(self.now))
            self.due += [(self.now + self.delay_s, ask.token) for ask in asks]
        self.now = until
        return asked


def usable_throughout(clock: Clock, seconds: int) -> bool:
    return all(clock.run(1.0) is not None and clock.track.is_usable(clock.now) for _ in range(seconds))


@pytest.mark.parametrize("delay_s", [1.5, 3.0, 5.0])
def test_an_end_that_answers_late_is_not_taken_for_gone(delay_s: float) -> None:
    clock = SlowClock(delay_s)
    clock.run(30.0)
    assert usable_throughout(clock, 120)


def test_an_end_that_becomes_slow_is_left_for_some_seconds_at_most() -> None:
    clock = SlowClock(0.001)
    clock.run(60.0)
    clock.delay_s = 4.0
    clock.run(20.0)
    assert usable_throughout(clock, 120)


def test_an_end_that_was_slow_is_missed_as_soon_as_any_other_once_it_was_quick_again() -> None:
    clock = SlowClock(3.0)
    clock.run(60.0)
    clock.delay_s = 0.001
    clock.run(60.0)
    assert clock.track.is_usable(clock.now)
    clock.delay_s = 1000.0
    clock.run(8.0)
    assert clock.track.phase == FAILED


def test_answers_that_come_too_late_for_anything_do_not_make_a_tunnel() -> None:
    clock = SlowClock(limits.OVERDUE_S + 1)
    clock.run(120.0)
    assert not clock.track.is_usable(clock.now)
    assert len(clock.track._overdue) < 100


@pytest.mark.parametrize("stall_s", [1.0, 30.0, 300.0])
def test_time_in_which_we_were_held_up_is_not_counted(stall_s: float) -> None:
    clock = proven()
    clock.run(30.0)
    asks = []
    while not asks:
        clock.now = clock.track.deadline()
        asks = clock.track.tick(clock.now)
    clock.now += stall_s
    clock.track.tick(clock.now)
    assert clock.track.is_usable(clock.now)
    for ask in asks:  # it lay unread all the time
        clock.track.answered(ask.token, clock.now, peer_proven=True)
    assert usable_throughout(clock, 30)
