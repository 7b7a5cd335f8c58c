from ipaddress import ip_network
from itertools import pairwise
from random import Random

import pytest

from tests.unit.ipam.cluster import peer
from weave.ipam.blocks import Universe
from weave.ipam.division import Division, make_division

RANGE = ip_network("10.32.0.0/24")


def shares(count: int, prefix: int = 24) -> list[str]:
    network = ip_network(f"10.32.0.0/{prefix}")
    division = make_division(network, [peer(number) for number in range(1, count + 1)])
    return [f"{Universe(network).text(block)} {owner[-1]}" for block, owner in division.shares()]


@pytest.mark.parametrize(("count", "expected"), [
    (1, ["10.32.0.0/24 1"]),
    (2, ["10.32.0.0/25 1", "10.32.0.128/25 2"]),
    (3, ["10.32.0.0/26 1", "10.32.0.64/26 2", "10.32.0.128/25 3"]),
    (4, ["10.32.0.0/26 1", "10.32.0.64/26 2", "10.32.0.128/26 3", "10.32.0.192/26 4"]),
])
def test_each_peer_gets_one_aligned_block(count: int, expected: list[str]) -> None:
    assert shares(count) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 30, 100, 254])
def test_shares_cover_the_range_and_differ_by_a_factor_of_two(count: int) -> None:
    blocks = [block for block, _ in make_division(RANGE, [peer(n) for n in range(1, count + 1)]).shares()]
    assert sum(block.size for block in blocks) == RANGE.num_addresses
    assert all(one.end == other.start for one, other in pairwise(blocks))
    assert max(block.size for block in blocks) <= 2 * min(block.size for block in blocks)


def test_more_peers_than_addresses_leave_the_last_without() -> None:
    assert shares(6, prefix=30) == ["10.32.0.0/32 1", "10.32.0.1/32 3", "10.32.0.2/32 4", "10.32.0.3/32 6"]


def test_everybody_derives_the_same_from_any_order() -> None:
    peers = [peer(number) for number in range(1, 9)]
    shuffled = peers + peers[:3]
    Random(1).shuffle(shuffled)
    assert make_division(RANGE, peers) == make_division(RANGE, shuffled)


def test_another_range_or_another_peer_makes_another_ring() -> None:
    one = make_division(RANGE, [peer(1), peer(2)])
    others = [make_division(RANGE, [peer(1)]), Division(ip_network("10.32.0.0/25"), one.peers)]
    assert len({division.ring_id for division in (one, *others)}) == 3


def test_of_two_rings_the_one_of_more_peers_goes_on() -> None:
    small, large = make_division(RANGE, [peer(9)]), make_division(RANGE, [peer(1), peer(2)])
    assert large.rank > small.rank
