"""The space of one peer beside a model that looks at every single address."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.ipam.cluster import RANGE, peer
from weave.ipam.blocks import Block, Universe, blocks_between
from weave.ipam.ring import Range, Segment
from weave.ipam.space import Holding, Space

BASE = Universe(RANGE).start
SIZE = 32
ADDRESSES = st.integers(BASE, BASE + SIZE - 1)
BOUNDS = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(
    lambda pair: (BASE + min(pair), BASE + max(pair)))
HOLD_S = 30.0


def segments(bounds: list[tuple[int, int]]) -> list[Segment]:
    blocks = [block for start, end in bounds for block in blocks_between(start, end)]
    return [Segment(block.start, block.end, Range(block, peer(1), 1, peer(2))) for block in blocks]


class SpaceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.space = Space()
        self.now = 0.0
        self.owned: set[int] = set()
        self.used: dict[int, str] = {}
        self.rests: dict[int, float] = {}
        self.fences: list[tuple[float, int, int]] = []

    @initialize()
    def own_everything(self) -> None:
        self.own([(BASE, BASE + SIZE)])

    @rule(bounds=st.lists(BOUNDS, max_size=3))
    def own(self, bounds: list[tuple[int, int]]) -> None:
        self.owned = {address for pair in bounds for address in range(*pair)}
        self.space.own(segments(bounds))

    @rule(address=ADDRESSES, ident=st.sampled_from("abc"))
    def take(self, address: int, ident: str) -> None:
        if address not in self.used:
            self.used[address] = ident
            self.rests.pop(address, None)
            self.space.take(address, Holding(ident, 24))

    @rule(low=ADDRESSES, ident=st.sampled_from("abc"))
    def take_lowest(self, low: int, ident: str) -> None:
        found = self.space.free.first(low, BASE + SIZE)
        if found is not None:
            self.take(found, ident)

    @rule(address=ADDRESSES)
    def drop(self, address: int) -> None:
        if address in self.used:
            del self.used[address]
            if address in self.owned:
                self.rests[address] = self.now + HOLD_S
            self.space.drop(address, self.now + HOLD_S)

    @rule(bounds=BOUNDS)
    def fence(self, bounds: tuple[int, int]) -> None:
        self.fences.append((self.now + 10, *bounds))
        self.space.fence(*bounds, self.now + 10)

    @rule(seconds=st.sampled_from((1.0, 10.0, 40.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.space.expire(self.now)
        self.rests = {address: until for address, until in self.rests.items() if until > self.now}
        self.fences = [fence for fence in self.fences if fence[0] > self.now]

    @invariant()
    def free_is_what_nobody_uses_and_does_not_rest(self) -> None:
        fenced = {address for _, start, end in self.fences for address in range(start, end)}
        free = self.owned - self.used.keys() - self.rests.keys() - fenced
        assert {address for start, end in self.space.free for address in range(start, end)} == free

    @invariant()
    def idents_know_their_addresses(self) -> None:
        for ident in "abc":
            held = {address for address, holder in self.used.items() if holder == ident}
            assert self.space.of(ident).keys() == held
        assert self.space.active == len(self.used)
        assert self.space.idents() == sorted(set(self.used.values()))

    @invariant()
    def the_oldest_rest_is_ours_and_unused(self) -> None:
        found = self.space.oldest_resting(BASE, BASE + SIZE)
        if found is not None:
            assert self.rests[found] == min(
                until for address, until in self.rests.items()
                if address in self.owned and not self.space.is_fenced(address))

    @invariant()
    def gifts_leave_half(self) -> None:
        mine = segments([(start, end) for start, end in self.space.owned])
        gift = self.space.largest_gift(mine, BASE, BASE + SIZE)
        free = self.space.free.total
        assert (gift is None) == (free == 0)
        if gift is not None:
            block = gift[1]
            assert block.size <= max(1, free // 2)
            assert self.space.free.count(block.start, block.end) == block.size


TestSpace = SpaceMachine.TestCase
TestSpace.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_gift_is_the_largest_then_highest_block_of_half() -> None:
    space, mine = Space(), segments([(BASE, BASE + 16)])
    space.own(mine)
    space.take(BASE, Holding("a", 24))
    gift = space.largest_gift(mine, BASE, BASE + 256)
    assert gift is not None
    assert gift[1] == Block(BASE + 12, 4)


def test_gift_lies_where_it_is_needed() -> None:
    space, mine = Space(), segments([(BASE, BASE + 16)])
    space.own(mine)
    gift = space.largest_gift(mine, BASE + 3, BASE + 4)
    assert gift is not None
    assert gift[1] == Block(BASE + 3, 1)


def test_freed_address_rests_before_it_is_free_again() -> None:
    space = Space()
    space.own(segments([(BASE, BASE + 2)]))
    space.take(BASE, Holding("a", 24))
    space.drop(BASE, until=30.0)
    assert space.free.first(BASE, BASE + 2) == BASE + 1
    assert space.deadline() == 30.0
    assert space.expire(30.0)
    assert space.free.first(BASE, BASE + 2) == BASE
