from ipaddress import ip_network

import pytest

from tests.unit.ipam.cluster import Faults, peer
from tests.unit.ipam.scenes import allocated, answer, cluster_of, core_of, owners, seeded, status, wait
from weave.ipam.modes import Consensus, Observer, Seed


def test_nothing_happens_before_somebody_asks() -> None:
    cluster = cluster_of(*[Consensus(3)] * 3)
    assert [status(cluster, number) for number in (1, 2, 3)] == ["idle"] * 3


@pytest.mark.parametrize("asker", [1, 2, 3])
def test_first_request_makes_the_ring_and_gets_an_address(asker: int) -> None:
    cluster = cluster_of(*[Consensus(3)] * 3)
    expected = {1: "10.32.0.1/24", 2: "10.32.0.64/24", 3: "10.32.0.128/24"}
    assert allocated(cluster, asker, "c", within=0.5) == expected[asker]
    wait(cluster, 1)
    assert [owners(cluster, number) for number in (1, 2, 3)] == ["1" * 8 + "2" * 8 + "3" * 16] * 3


def test_waiting_for_quorum_is_visible_and_ends_when_others_come() -> None:
    cluster = cluster_of(*[Consensus(3)] * 3)
    cluster.split([1])
    wait(cluster, 1)
    request = cluster.allocate(1, "c")
    wait(cluster, 10)
    assert status(cluster, 1) == "awaiting consensus (quorum: 2, known: 1)"
    cluster.heal()
    assert answer(cluster, request, within=6) == "10.32.0.1/24"


def test_quorum_goes_ahead_without_the_others() -> None:
    cluster = cluster_of(*[Consensus(3)] * 3)
    cluster.split([1, 2])
    wait(cluster, 1)
    assert allocated(cluster, 2, "c") == "10.32.0.128/24"
    cluster.heal()
    wait(cluster, 3)
    assert owners(cluster, 3) == "1" * 16 + "2" * 16
    assert allocated(cluster, 3, "late")
    cluster.check_converged()


def test_election_survives_loss() -> None:
    cluster = cluster_of(*[Consensus(5)] * 5, faults=Faults(loss=0.4, delay=0.5))
    requests = [cluster.allocate(number, f"c{number}") for number in range(1, 6)]
    wait(cluster, 60)
    assert len({answer(cluster, request) for request in requests} - {""}) == 5


def test_seed_needs_no_election() -> None:
    cluster = seeded(2)
    assert allocated(cluster, 2, "c", within=0.05) == "10.32.0.128/24"


def test_observer_triggers_an_election_but_gets_no_share() -> None:
    cluster = cluster_of(Consensus(2), Consensus(2), Observer())
    assert core_of(cluster, 3).founding.paxos.electors() == [peer(1), peer(2)]
    assert allocated(cluster, 3, "c") != ""
    wait(cluster, 1)
    assert set(owners(cluster, 1)) == {"1", "2", "3"}


def test_lonely_observer_primes() -> None:
    cluster = cluster_of(Observer())
    cluster.prime(1)
    wait(cluster, 10)
    assert status(cluster, 1) == "priming"


def test_prime_is_answered_once_the_ring_is_there() -> None:
    cluster = cluster_of(*[Consensus(2)] * 2)
    assert answer(cluster, cluster.prime(1)) == "None"
    assert status(cluster, 1) == "ready"


def test_lonely_elector_looks_around_before_it_elects_itself() -> None:
    cluster = cluster_of(Consensus(1))
    request = cluster.allocate(1, "c")
    wait(cluster, 1)
    assert request not in cluster.outcomes
    cluster.expect_nobody(1)
    assert answer(cluster, request, within=0.1) == "10.32.0.1/24"


def test_newcomer_with_a_wrong_count_joins_the_ring_that_is_there() -> None:
    cluster = cluster_of(Consensus(2), Consensus(2), Consensus(1))
    cluster.split([1, 2], [3])
    wait(cluster, 1)
    allocated(cluster, 1, "c")
    cluster.crash(3)
    cluster.heal()
    cluster.start(3)
    assert allocated(cluster, 3, "late")
    wait(cluster, 3)
    cluster.check_converged()


def test_crash_during_an_election_breaks_no_promise() -> None:
    cluster = cluster_of(*[Consensus(3)] * 3)
    cluster.allocate(1, "c")
    for _ in range(10):
        cluster.crash(2)
        wait(cluster, 0.02)
        cluster.start(2)
        wait(cluster, 0.02)
    wait(cluster, 10)
    cluster.check_converged()


def test_only_a_few_publish_the_first_division() -> None:
    cluster = seeded(8)
    wait(cluster, 5)
    copies = [owner for (owner, key), (_, value) in cluster[1].replica.items() if key == b"seed4" and value]
    assert sorted(copies) == [peer(1), peer(2), peer(3)]


def test_ipv6_is_divided_like_ipv4() -> None:
    cluster = seeded(2, network=ip_network("fd00:32::/64"))
    assert allocated(cluster, 1, "c") == "fd00:32::1/64"
    assert allocated(cluster, 2, "c") == "fd00:32:0:0:8000::/64"


# --- two rings ------------------------------------------------------------------------------------------------------


def test_smaller_of_two_rings_allocates_nothing_new_and_says_so() -> None:
    two = Seed((peer(1), peer(2)))
    cluster = cluster_of(two, two, Seed((peer(3),)))
    assert status(cluster, 1) == "ready"
    assert status(cluster, 3).startswith("conflict: 02:00:00:00:00:")
    assert "weave reset" in status(cluster, 3)
    assert allocated(cluster, 3, "c") == ""
    assert allocated(cluster, 2, "c") == "10.32.0.128/24"
    assert any("weave reset" in sentence for sentence in core_of(cluster, 1).view().conflicts)


def test_loser_keeps_what_runs_and_goes_on_when_the_other_ring_is_gone() -> None:
    two = Seed((peer(1), peer(2)))
    cluster = cluster_of(two, two, Seed((peer(3),)))
    cluster.split([1, 2], [3])
    wait(cluster, 1)
    assert allocated(cluster, 3, "old") == "10.32.0.1/24"
    cluster.heal()
    wait(cluster, 3)
    request = cluster.allocate(3, "new")
    wait(cluster, 3)
    assert request not in cluster.outcomes
    assert allocated(cluster, 3, "old") == "10.32.0.1/24"
    cluster.split([1, 2], [3])
    assert answer(cluster, request) == "10.32.0.2/24"


def test_rings_never_mix() -> None:
    cluster = cluster_of(Seed((peer(1),)), Seed((peer(2),)))
    wait(cluster, 3)
    losers = [number for number in (1, 2) if status(cluster, number).startswith("conflict")]
    assert len(losers) == 1
    assert (owners(cluster, 1), owners(cluster, 2)) == ("1" * 32, "2" * 32)
