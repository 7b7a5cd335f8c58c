"""The ring, and the theorem it rests on: whoever knows whatever part of the history, no two believe to own the same."""

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ipam.cluster import RANGE, peer
from weave.ipam.blocks import Block, Universe, blocks_between
from weave.ipam.division import make_division
from weave.ipam.ring import Range, Ring
from weave.names import PeerName

PEERS = [peer(number) for number in range(1, 5)]
UNIVERSE = Universe(RANGE)
BASE = UNIVERSE.start


def make_ring() -> Ring:
    return Ring(UNIVERSE, make_division(RANGE, PEERS))


def written(start: int, size: int, owner: int, version: int = 1, writer: int = 1) -> Range:
    return Range(Block(BASE + start, size), peer(owner), version, peer(writer))


def owners(ring: Ring) -> str:
    """Return the owner of every fourth address."""
    return "".join(ring.at(address).owner[-1] for address in range(BASE, BASE + 256, 4))


RANGES = st.builds(
    lambda power, index, owner, version, writer: written((index << power) % 256, 1 << power, owner, version, writer),
    st.integers(0, 8), st.integers(0, 255), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))


def test_first_division_owns_everything() -> None:
    assert owners(make_ring()) == "1" * 16 + "2" * 16 + "3" * 16 + "4" * 16


def test_smaller_blocks_come_before_larger_ones() -> None:
    ring = make_ring()
    for range_ in (written(0, 64, 2), written(32, 16, 3), written(40, 8, 1)):
        assert ring.merge(range_)
    assert owners(ring)[:16] == "2222222233112222"


@pytest.mark.parametrize(("new", "expected"), [
    (written(0, 16, 3, version=2), "3"),
    (written(0, 16, 3, version=0), "2"),
    (written(0, 16, 3, version=1), "3"),
    (written(0, 16, 1, version=1), "2"),
])
def test_of_one_block_the_higher_version_wins_then_the_higher_name(new: Range, expected: str) -> None:
    ring = make_ring()
    ring.merge(written(0, 16, 2))
    ring.merge(new)
    assert owners(ring)[0] == expected


@given(st.lists(RANGES, max_size=12), st.randoms(use_true_random=False))
def test_merge_is_a_join(ranges: list[Range], rng: Random) -> None:
    one, other = make_ring(), make_ring()
    for range_ in ranges:
        one.merge(range_)
    shuffled = ranges + ranges[:5]
    rng.shuffle(shuffled)
    for range_ in shuffled:
        other.merge(range_)
    assert one.ranges() == other.ranges()
    assert one.segments() == other.segments()
    assert not any(one.merge(range_) for range_ in ranges)


@given(st.lists(RANGES, max_size=12))
def test_segments_tell_what_single_addresses_tell(ranges: list[Range]) -> None:
    ring = make_ring()
    for range_ in ranges:
        ring.merge(range_)
    seen = [(address, segment.range) for segment in ring.segments() for address in range(segment.start, segment.end)]
    assert seen == [(address, ring.at(address)) for address in range(BASE, BASE + 256)]
    assert ring.written == len(ring.ranges())


@given(st.lists(RANGES, max_size=12), st.integers(0, 255), st.integers(1, 256))
def test_between_yields_the_segments_that_overlap(ranges: list[Range], low: int, size: int) -> None:
    ring = make_ring()
    for range_ in ranges:
        ring.merge(range_)
    high = min(256, low + size)
    expected = [each for each in ring.segments() if each.start < BASE + high and each.end > BASE + low]
    assert list(ring.between(BASE + low, BASE + high)) == expected


class History:
    """A run of lawful transfers: each by the owner of the moment, who knows what concerns it."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.views = {name: make_ring() for name in PEERS}
        self.records: list[Range] = []

    def transfer(self) -> None:
        giver, heir = self.rng.sample(PEERS, 2)
        view = self.views[giver]
        mine = view.of(giver)
        if not mine:
            return
        segment = self.rng.choice(mine)
        if self.rng.random() < 0.2:
            given = view.pass_all(mine, heir, giver)
        else:
            block = self.rng.choice(list(blocks_between(segment.start, segment.end)))
            while block.size > 1 and self.rng.random() < 0.6:
                block = self.rng.choice(block.halves())
            given = [view.pass_on(segment, block, heir, giver)]
        for record in given:
            view.merge(record)
        self.records += given

    def gossip(self) -> None:
        """Somebody learns something, in no order."""
        if self.records:
            self.views[self.rng.choice(PEERS)].merge(self.rng.choice(self.records))


@pytest.mark.parametrize("seed", range(30))
def test_no_two_peers_ever_believe_to_own_an_address(seed: int) -> None:
    rng = Random(seed)
    history = History(rng)
    for _ in range(120):
        (history.transfer if rng.random() < 0.3 else history.gossip)()
        for one, other in combinations(PEERS, 2):
            assert not believed(history.views[one], one) & believed(history.views[other], other)


@pytest.mark.parametrize("seed", range(10))
def test_who_knows_everything_sees_one_owner_and_no_loss(seed: int) -> None:
    history = History(Random(seed))
    for _ in range(100):
        history.transfer()
        for _ in range(5):
            history.gossip()
    for name, view in history.views.items():
        for record in history.records:
            view.merge(record)
        assert view.segments() == history.views[PEERS[0]].segments(), name
    everything = set().union(*(believed(view, name) for name, view in history.views.items()))
    assert everything == set(range(BASE, BASE + 256))


def believed(ring: Ring, name: PeerName) -> set[int]:
    return {address for segment in ring.of(name) for address in range(segment.start, segment.end)}
