from ipaddress import ip_address, ip_network

import pytest

from tests.unit.ipam.cluster import peer
from tests.unit.ipam.scenes import allocated, answer, claimed, core_of, owners, seeded, status, wait
from weave.ipam.errors import AddressNotHeld, AddressTaken, Released
from weave.ipam.modes import Observer

SMALL = ip_network("10.32.0.64/29")


# --- allocate -------------------------------------------------------------------------------------------------------


def test_lowest_free_address_without_network_and_broadcast() -> None:
    cluster = seeded(1)
    addresses = [allocated(cluster, 1, f"c{number}", SMALL) for number in range(6)]
    assert addresses == [f"10.32.0.{last}/29" for last in range(65, 71)]
    assert allocated(cluster, 1, "c6", SMALL) == ""


def test_asking_again_gives_the_same_address() -> None:
    cluster = seeded(1)
    assert allocated(cluster, 1, "c") == allocated(cluster, 1, "c") == "10.32.0.1/24"
    assert core_of(cluster, 1).space.active == 1


def test_one_ident_has_one_address_in_each_subnet() -> None:
    cluster = seeded(1)
    assert allocated(cluster, 1, "c") == "10.32.0.1/24"
    assert allocated(cluster, 1, "c", SMALL) == "10.32.0.65/29"
    core = core_of(cluster, 1)
    assert [str(each) for each in core.lookup("c")] == ["10.32.0.1/24", "10.32.0.65/29"]
    assert [str(each) for each in core.lookup("c", SMALL)] == ["10.32.0.65/29"]


@pytest.mark.parametrize(("subnet", "words"), [
    ("10.32.1.0/24", "does not lie in the range"), ("10.0.0.0/8", "does not lie in the range"),
    ("fd00::/64", "does not lie in the range"), ("10.32.0.0/31", "too small"),
])
def test_impossible_subnet_is_refused(subnet: str, words: str) -> None:
    assert words in allocated(seeded(1), 1, "c", ip_network(subnet))


@pytest.mark.parametrize("ident", ["", "a\nb", "x" * 256])
def test_impossible_ident_is_refused(ident: str) -> None:
    assert "printable" in allocated(seeded(1), 1, ident)


def test_freed_address_rests_while_others_are_free() -> None:
    cluster = seeded(1)
    allocated(cluster, 1, "a")
    cluster.release(1, "a")
    assert allocated(cluster, 1, "b") == "10.32.0.2/24"
    wait(cluster, 31)
    assert allocated(cluster, 1, "c") == "10.32.0.1/24"


def test_resting_address_is_better_than_none() -> None:
    cluster = seeded(1)
    for number in range(6):
        allocated(cluster, 1, f"c{number}", SMALL)
    for number in (3, 2):
        answer(cluster, cluster.release(1, f"c{number}"))
        wait(cluster, 1)
    assert allocated(cluster, 1, "new", SMALL) == "10.32.0.68/29"


def test_cancelled_request_takes_nothing() -> None:
    cluster = seeded(1, [Observer()])
    cluster.split([1], [2])
    wait(cluster, 1)
    request = cluster.allocate(2, "c")
    cluster.cancel(2, request)
    cluster.heal()
    wait(cluster, 5)
    assert request not in cluster.outcomes
    assert core_of(cluster, 2).space.active == 0


def test_releasing_an_ident_ends_what_it_waits_for() -> None:
    cluster = seeded(1)
    cluster.claim(1, "other", "10.32.0.65/24")
    requests = [cluster.allocate(1, f"c{number}", SMALL) for number in range(6)]
    wait(cluster, 1)
    assert requests[5] not in cluster.outcomes
    cluster.release(1, "c5")
    assert isinstance(cluster.outcomes[requests[5]], Released)


def test_released_address_serves_who_waits() -> None:
    cluster = seeded(1)
    requests = [cluster.allocate(1, f"c{number}", SMALL) for number in range(7)]
    wait(cluster, 1)
    assert status(cluster, 1) == "waiting for IP(s) to become available"
    assert core_of(cluster, 1).view().pending_allocates == ("c6 10.32.0.64/29",)
    cluster.release(1, "c2")
    assert answer(cluster, requests[6], within=20) == "10.32.0.67/29"


def test_release_of_what_is_not_held_is_refused_but_of_all_is_not() -> None:
    cluster = seeded(1)
    core = core_of(cluster, 1)
    (refused,) = core.release(900, "nobody", ip_address("10.32.0.9"), 5.0)
    assert isinstance(refused.outcome, AddressNotHeld)  # type: ignore[union-attr]
    (done,) = core.release(901, "nobody", None, 5.0)
    assert done.outcome is None  # type: ignore[union-attr]


# --- space from others ----------------------------------------------------------------------------------------------


def test_donor_gives_half_and_keeps_the_rest() -> None:
    cluster = seeded(1, [Observer()])
    assert allocated(cluster, 2, "c") == "10.32.0.128/24"
    wait(cluster, 1)
    assert owners(cluster, 1) == owners(cluster, 2) == "1" * 16 + "2" * 8 + "1" * 8


def test_space_is_got_in_the_subnet_that_is_asked_for() -> None:
    cluster = seeded(1, [Observer()])
    assert allocated(cluster, 2, "c", SMALL) == "10.32.0.68/29"


def test_every_address_of_a_subnet_can_be_had_from_anywhere() -> None:
    cluster = seeded(4, [Observer()])
    addresses = {allocated(cluster, 1 + number % 5, f"c{number}", SMALL, within=30) for number in range(6)}
    assert addresses == {f"10.32.0.{last}/29" for last in range(65, 71)}


def test_exhausted_cluster_waits_and_goes_on_when_another_host_frees_something() -> None:
    cluster = seeded(2)
    for number in range(6):
        allocated(cluster, 1, f"c{number}", SMALL, within=20)
    request = cluster.allocate(2, "late", SMALL)
    wait(cluster, 5)
    assert status(cluster, 2) == "waiting for IP(s) to become available"
    cluster.release(1, "c1")
    assert answer(cluster, request, within=60) == "10.32.0.66/29"


def test_unreachable_owners_are_named_for_what_they_are() -> None:
    cluster = seeded(1, [Observer()])
    cluster.split([1], [2])
    wait(cluster, 1)
    cluster.allocate(2, "c")
    assert status(cluster, 2) == "all IP ranges owned by unreachable peers - use 'rmpeer' if they are dead"
    (owner,) = core_of(cluster, 2).view().owners
    assert (owner.peer, owner.reachable, owner.active) == (peer(1), False, None)


# --- claim ----------------------------------------------------------------------------------------------------------


def test_claim_in_own_space_is_taken_and_repeatable() -> None:
    cluster = seeded(1)
    assert claimed(cluster, 1, "c", "10.32.0.7/24") == claimed(cluster, 1, "c", "10.32.0.7/24") == "10.32.0.7/24"


def test_claim_of_a_used_address_names_who_has_it() -> None:
    cluster = seeded(2)
    claimed(cluster, 1, "first", "10.32.0.7/24")
    assert "in use by first" in claimed(cluster, 1, "second", "10.32.0.7/24")
    remote = claimed(cluster, 2, "third", "10.32.0.7/24")
    assert "in use by first on 02:00:00:00:00:01" in remote
    assert any(isinstance(outcome, AddressTaken) for outcome in cluster.outcomes.values())


def test_claim_in_anothers_space_gets_exactly_that_address() -> None:
    cluster = seeded(2)
    assert claimed(cluster, 2, "c", "10.32.0.8/24") == "10.32.0.8/24"
    wait(cluster, 1)
    assert owners(cluster, 1) == "12" + "1" * 14 + "2" * 16
    estate = core_of(cluster, 1).estate
    assert estate is not None
    assert estate.size_of(peer(2)) == 129


def test_claim_of_network_and_broadcast_is_the_callers_business() -> None:
    assert claimed(seeded(1), 1, "c", "10.32.0.255/24") == "10.32.0.255/24"


def test_claim_outside_of_the_range_is_only_recorded() -> None:
    cluster = seeded(2)
    assert claimed(cluster, 1, "c", "192.0.2.7/24") == "192.0.2.7/24"
    assert claimed(cluster, 2, "c", "192.0.2.7/24") == "192.0.2.7/24"
    assert "in use" in claimed(cluster, 1, "d", "192.0.2.7/24")
    assert core_of(cluster, 1).view().conflicts == ()


def test_claim_of_the_other_family_is_refused() -> None:
    assert "family" in claimed(seeded(1), 1, "c", "fd00::1/64")


def test_claim_in_the_space_of_an_unreachable_peer_waits_visibly() -> None:
    cluster = seeded(2)
    cluster.split([1], [2])
    wait(cluster, 1)
    request = cluster.claim(2, "c", "10.32.0.7/24")
    wait(cluster, 5)
    assert core_of(cluster, 2).view().pending_claims == (("c", "10.32.0.7/24"),)
    cluster.heal()
    assert answer(cluster, request, within=10) == "10.32.0.7/24"


def test_claim_of_a_resting_address_is_granted_at_once() -> None:
    cluster = seeded(1)
    allocated(cluster, 1, "a")
    answer(cluster, cluster.release(1, "a"))
    assert claimed(cluster, 1, "b", "10.32.0.1/24", within=0.1) == "10.32.0.1/24"
