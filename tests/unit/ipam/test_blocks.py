from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.addresses import IPNetwork
from weave.ipam.blocks import Block, Universe, blocks_between, is_aligned, largest_block

BOUNDS = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: (min(pair), max(pair)))


@pytest.mark.parametrize(("start", "size", "expected"), [
    (0, 1, True), (3, 1, True), (4, 4, True), (2, 4, False), (0, 3, False), (8, 0, False), (-4, 4, False),
])
def test_blocks_are_powers_of_two_aligned_to_their_size(start: int, size: int, expected: bool) -> None:
    assert is_aligned(start, size) is expected


@given(BOUNDS)
def test_blocks_between_cover_exactly_and_cannot_be_joined(bounds: tuple[int, int]) -> None:
    blocks = list(blocks_between(*bounds))
    covered = [number for block in blocks for number in range(block.start, block.end)]
    assert covered == list(range(*bounds))
    assert all(is_aligned(block.start, block.size) for block in blocks)
    assert not any(
        one.size == other.size and one.start & one.size == 0 and one.end == other.start
        for one in blocks for other in blocks)


@given(BOUNDS, st.integers(0, 300))
def test_largest_block_is_largest_then_highest(bounds: tuple[int, int], most: int) -> None:
    start, end = bounds
    all_blocks = [
        Block(first, 1 << power) for power in range(9) for first in range(0, 300, 1 << power)
        if first >= start and first + (1 << power) <= end and 1 << power <= most]
    expected = max(all_blocks, key=lambda block: (block.size, block.start), default=None)
    assert largest_block(start, end, most) == expected


@pytest.mark.parametrize(("subnet", "first", "last"), [
    ("10.32.0.0/24", "10.32.0.1", "10.32.0.254"),
    ("10.32.0.8/30", "10.32.0.9", "10.32.0.10"),
    ("10.32.0.0/12", "10.32.0.1", "10.47.255.254"),
    ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff"),
    ("fd00::40/122", "fd00::41", "fd00::7f"),
])
def test_hosts_of_a_subnet(subnet: str, first: str, last: str) -> None:
    network = ip_network(subnet)
    low, high = Universe(network).hosts(network)
    assert (low, high - 1) == (int(ip_address(first)), int(ip_address(last)))


@pytest.mark.parametrize("network", [ip_network("10.32.0.0/12"), ip_network("fd00:aa::/48")])
def test_universe_speaks_its_family(network: IPNetwork) -> None:
    universe = Universe(network)
    assert universe.address(universe.start) == network[0]
    assert universe.contains(universe.end - 1)
    assert not universe.contains(universe.end)
    assert universe.text(universe.block) == str(network)
    expected = ip_interface(f"{network[5]}/{network.prefixlen}")
    assert universe.interface(universe.start + 5, network.prefixlen) == expected
