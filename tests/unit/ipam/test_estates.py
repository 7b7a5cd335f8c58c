"""Whole estates: taken over, given up, remembered, and found again in an old database."""

from unittest.mock import patch

import pytest

from tests.sim.world import InvariantBroken
from tests.unit.ipam.cluster import Cluster, peer
from tests.unit.ipam.scenes import allocated, answer, claimed, core_of, owners, seeded, status, wait
from weave.ipam.modes import Observer
from weave.ipam.space import Space


def bury(cluster: Cluster, number: int) -> None:
    cluster.crash(number)
    cluster[number].is_dead = True
    wait(cluster, 1)


# --- takeover -------------------------------------------------------------------------------------------------------


def test_takeover_counts_what_it_takes_and_hands_it_out_after_a_rest() -> None:
    cluster = seeded(2)
    bury(cluster, 2)
    assert answer(cluster, cluster.takeover(1, 2)) == "128"
    request = cluster.claim(1, "c", "10.32.0.200/24")
    wait(cluster, 5)
    assert request not in cluster.outcomes
    assert answer(cluster, request, within=6) == "10.32.0.200/24"


@pytest.mark.parametrize("loss", [0.0, 0.5])
def test_of_two_takeovers_at_once_one_steps_back(loss: float) -> None:
    cluster = seeded(3)
    bury(cluster, 3)
    cluster.faults.loss = loss
    first, second = cluster.takeover(1, 3), cluster.takeover(2, 3)
    assert "02 is taking over the ranges of 02:00:00:00:00:03" in answer(cluster, first)
    assert answer(cluster, second) == "128"


def test_two_takeovers_that_do_not_hear_of_each_other_agree_in_the_end() -> None:
    cluster = seeded(3)
    bury(cluster, 3)
    cluster.faults.loss = 1.0
    requests = [cluster.takeover(1, 3), cluster.takeover(2, 3)]
    assert [answer(cluster, request) for request in requests] == ["128", "128"]
    cluster.faults.loss = 0.0
    wait(cluster, 12)
    assert owners(cluster, 1) == owners(cluster, 2) == "1" * 8 + "2" * 24
    cluster.check_converged()


def test_without_a_rest_after_takeovers_two_would_own_the_same() -> None:
    with (patch.object(Space, "fence", lambda *_arguments: None),
          pytest.raises(InvariantBroken, match="own the same addresses")):
        test_two_takeovers_that_do_not_hear_of_each_other_agree_in_the_end()


@pytest.mark.parametrize(("victim", "words"), [(1, "this peer itself"), (2, "is reachable")])
def test_takeover_of_oneself_or_of_the_living_is_refused(victim: int, words: str) -> None:
    cluster = seeded(2)
    assert words in answer(cluster, cluster.takeover(1, victim))
    assert owners(cluster, 1) == "1" * 16 + "2" * 16


def test_a_host_that_just_started_does_not_take_over_who_lives() -> None:
    cluster = seeded(2)
    claimed(cluster, 2, "db", "10.32.0.130/24")
    cluster.crash(1)
    wait(cluster, 1)
    cluster.start(1)
    assert core_of(cluster, 1).reachable == frozenset()
    assert "is reachable" in answer(cluster, cluster.takeover(1, 2))
    wait(cluster, 3)
    assert owners(cluster, 1) == owners(cluster, 2) == "1" * 16 + "2" * 16


def test_a_host_that_just_started_learns_what_moved_on_before_it_takes_over() -> None:
    """An address of the dead host 3 went to host 2 while host 1 was off, and came from there to nobody else."""
    cluster = seeded(3)
    claimed(cluster, 3, "a", "10.32.0.170/24")
    wait(cluster, 3)
    cluster.crash(1)
    wait(cluster, 1)
    answer(cluster, cluster.release(3, "a"))
    wait(cluster, 31)
    assert claimed(cluster, 2, "a", "10.32.0.170/24", within=20) == "10.32.0.170/24"
    wait(cluster, 3)
    bury(cluster, 3)
    cluster.start(1)
    assert answer(cluster, cluster.takeover(1, 3))
    wait(cluster, 15)
    assert core_of(cluster, 2).view().conflicts == ()
    assert "in use by a" in claimed(cluster, 1, "mine", "10.32.0.170/24", within=10)


def test_a_host_alone_takes_over_after_it_waited_for_others() -> None:
    cluster = seeded(2)
    bury(cluster, 2)
    cluster.crash(1)
    cluster.start(1)
    began = cluster.world.now
    assert answer(cluster, cluster.takeover(1, 2), within=10) == "128"
    assert 4.9 < cluster.world.now - began < 5.2


def test_takeover_of_a_stranger_takes_nothing() -> None:
    cluster = seeded(2)
    assert answer(cluster, cluster.takeover(1, 9)) == "0"


def test_takeover_learns_first_what_the_dead_gave_away() -> None:
    """Host 3 has space of host 1, and host 2 has not heard of it."""
    cluster = seeded(2, [Observer()])
    cluster.split([1, 3], [2])
    wait(cluster, 1)
    allocated(cluster, 3, "c")
    bury(cluster, 1)
    cluster[2].replica.clear()
    cluster.faults.loss = 0.3
    cluster.heal()
    wait(cluster, 0.3)
    cluster.takeover(2, 1)
    wait(cluster, 30)
    assert allocated(cluster, 3, "c") == "10.32.0.96/24"
    cluster.check_converged()
    assert set(owners(cluster, 2)) == {"2", "3"}


def test_dead_peer_that_returns_steps_back_and_keeps_what_runs() -> None:
    cluster = seeded(3)
    allocated(cluster, 3, "runs")
    wait(cluster, 2)
    cluster.crash(3)
    wait(cluster, 1)
    cluster.takeover(1, 3)
    wait(cluster, 3)
    cluster[3].is_excused = True
    cluster.start(3)
    wait(cluster, 5)
    assert owners(cluster, 3) == "1" * 8 + "2" * 8 + "1" * 16
    assert allocated(cluster, 3, "runs") == "10.32.0.128/24"
    (conflict,) = core_of(cluster, 3).view().conflicts
    assert conflict.startswith("10.32.0.128 of runs lies in a range that belongs to 02:00:00:00:00:01")
    assert allocated(cluster, 3, "new").startswith("10.32.0.")


# --- surrender ------------------------------------------------------------------------------------------------------


def test_surrender_gives_all_to_the_one_with_least() -> None:
    cluster = seeded(3)
    assert answer(cluster, cluster.surrender(3)) == "128"
    bury(cluster, 3)
    assert owners(cluster, 1) == owners(cluster, 2) == "1" * 8 + "2" * 8 + "1" * 16


def test_surrender_waits_for_the_heir_through_loss() -> None:
    cluster = seeded(2)
    cluster.faults.loss = 0.5
    request = cluster.surrender(2)
    assert answer(cluster, request, within=5) == "128"
    bury(cluster, 2)
    cluster.faults.loss = 0.0
    wait(cluster, 5)
    assert owners(cluster, 1) == "1" * 32


def test_surrender_without_anybody_ends_at_once() -> None:
    cluster = seeded(1)
    assert answer(cluster, cluster.surrender(1)) == "0"


def test_leaving_peer_gives_out_nothing() -> None:
    cluster = seeded(2)
    cluster.surrender(2)
    assert "leaving" in allocated(cluster, 2, "c")


# --- restart --------------------------------------------------------------------------------------------------------


def test_restart_remembers_everything() -> None:
    cluster = seeded(2)
    allocated(cluster, 1, "c")
    claimed(cluster, 1, "c", "10.32.0.200/24")
    before = (owners(cluster, 1), core_of(cluster, 1).owned())
    cluster.crash(1)
    cluster.start(1)
    assert (owners(cluster, 1), core_of(cluster, 1).owned()) == before


def test_restarted_peer_answers_for_what_it_has_at_once_and_allocates_after_it_asked_around() -> None:
    cluster = seeded(2)
    allocated(cluster, 1, "old")
    cluster.crash(1)
    cluster.start(1)
    new = cluster.allocate(1, "new")
    assert allocated(cluster, 1, "old", within=0.0) == "10.32.0.1/24"
    assert new not in cluster.outcomes
    assert answer(cluster, new, within=2) == "10.32.0.2/24"


def test_restarted_peer_that_nobody_answers_goes_on_after_a_grace() -> None:
    cluster = seeded(2)
    cluster.split([1], [2])
    cluster.crash(1)
    cluster.start(1)
    began, request = cluster.world.now, cluster.allocate(1, "c")
    assert answer(cluster, request, within=10) == "10.32.0.1/24"
    assert 4.9 < cluster.world.now - began < 5.2


def test_old_database_does_not_hand_out_what_moved_on() -> None:
    cluster = seeded(1, [Observer()])
    old = cluster.snapshot(1)
    allocated(cluster, 2, "theirs")
    wait(cluster, 3)
    cluster.crash(1)
    cluster.restore(1, old)
    cluster.start(1)
    request = cluster.claim(1, "mine", "10.32.0.128/24")
    assert "in use by theirs" in answer(cluster, request, within=10)
    assert owners(cluster, 1) == "1" * 16 + "2" * 8 + "1" * 8
    cluster.check_converged()


def test_old_database_of_a_host_that_others_connect_to_does_not_hand_out_what_moved_on() -> None:
    """It knows of nobody to connect to, and of others that own something."""
    cluster = seeded(1, [Observer()])
    allocated(cluster, 2, "first")
    wait(cluster, 3)
    old = cluster.snapshot(1)
    claimed(cluster, 2, "theirs", "10.32.0.5/24")
    wait(cluster, 3)
    cluster.crash(1)
    cluster.restore(1, old)
    cluster.start(1)
    cluster.expect_nobody(1)
    given = [answer(cluster, cluster.allocate(1, f"new{number}"), within=10) for number in range(10)]
    assert all(given)
    assert "10.32.0.5/24" not in given


def test_a_host_that_never_had_peers_does_not_wait_for_any() -> None:
    cluster = seeded(1)
    cluster.crash(1)
    cluster.start(1)
    cluster.expect_nobody(1)
    assert allocated(cluster, 1, "c", within=0.1) == "10.32.0.1/24"


def test_old_database_with_used_addresses_that_moved_on_shows_a_conflict() -> None:
    cluster = seeded(1, [Observer()])
    claimed(cluster, 1, "old", "10.32.0.140/24")
    old = cluster.snapshot(1)
    answer(cluster, cluster.release(1, "old"))
    wait(cluster, 31)
    allocated(cluster, 2, "theirs")
    wait(cluster, 3)
    cluster.crash(1)
    cluster.restore(1, old)
    cluster.start(1)
    wait(cluster, 3)
    assert len(core_of(cluster, 1).view().conflicts) == 1
    answer(cluster, cluster.release(1, "old"))
    assert core_of(cluster, 1).view().conflicts == ()
    assert status(cluster, 1) == "ready"


def test_entries_are_as_many_as_ranges_owned() -> None:
    """Whoever gave a range away withdraws its record once the owner publishes it."""
    cluster = seeded(2, [Observer(), Observer()])
    for number in range(8):
        allocated(cluster, 1 + number % 4, f"c{number}")
        claimed(cluster, 1 + number % 4, f"k{number}", f"10.32.0.{20 * number + 9}/24")
    wait(cluster, 10)
    estate = core_of(cluster, 1).estate
    assert estate is not None
    for name in (peer(1), peer(2), peer(3), peer(4)):
        published = [key for (owner, key), (_, value) in cluster[1].replica.items()
                     if owner == name and key[:1] == b"t" and value is not None]
        assert len(published) == len([range_ for range_ in estate.ring.ranges() if range_.owner == name])
