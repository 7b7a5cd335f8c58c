"""A tiny world of planners: dials take a moment and succeed where the network allows; gossip knows who is connected."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

import pytest

from tests.unit.mesh_planner.peers import address, name
from weave.mesh.planner import Planner, PlannerConfig

DIAL_S = 0.05
GOSSIP_S = 0.2
Reach = Callable[[int, int], bool]


class World:
    """Peers 0 to count-1; `reach(a, b)` tells whether a may dial b."""

    def __init__(self, count: int, seed: int, reach: Reach = lambda _a, _b: True) -> None:
        self.rng, self.reach, self.now = Random(seed), reach, 0.0
        self.count = count
        self.planners: dict[int, Planner] = {}
        self.links: dict[int, tuple[int, int]] = {}
        self.dials = self.conn = 0
        self.events: list[tuple[float, int, int, str]] = []
        for number in range(count):
            self.start(number)

    def start(self, number: int) -> None:
        config = PlannerConfig()
        self.planners[number] = Planner(me=name(number), rng=Random(self.rng.random()), config=config)
        if number:
            self.planners[number].add_targets([address(0)], self.now)

    def stop(self, number: int) -> None:
        del self.planners[number]
        for conn in [conn for conn, ends in self.links.items() if number in ends]:
            self.close(conn)

    def close(self, conn: int) -> None:
        for end in self.links.pop(conn):
            if end in self.planners:
                self.planners[end].disconnected(conn, "closed", self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            for number in sorted(self.planners):
                self.drive(number)
            self.gossip()
            following = min((planner.deadline() for planner in self.planners.values()), default=end)
            self.now = min(end, max(self.now + GOSSIP_S, min(following, self.events[0][0] if self.events else end)))
            while self.events and self.events[0][0] <= self.now:
                _, _, dialler, target = heappop(self.events)
                self.answer(dialler, target)

    def drive(self, number: int) -> None:
        step = self.planners[number].plan(self.now)
        assert self.planners[number].deadline() > self.now
        for target in step.dial:
            self.dials += 1
            heappush(self.events, (self.now + DIAL_S, self.dials, number, target))
        for conn in step.close:
            self.close(conn)

    def answer(self, dialler: int, target: str) -> None:
        octets = [int(part) for part in target.split(":")[0].split(".")]
        other = octets[2] << 8 | octets[3]
        if dialler not in self.planners:
            return
        if other not in self.planners or not self.reach(dialler, other) or other == dialler:
            self.planners[dialler].failed(target, "no route", other != dialler, self.now)
            return
        self.conn += 1
        self.links[self.conn] = (dialler, other)
        self.planners[dialler].connected(self.conn, name(other), target, True, target, self.now)
        self.planners[other].connected(self.conn, name(dialler), address(dialler) + "1", False, None, self.now)

    def component(self, number: int) -> set[int]:
        found, queue = {number}, [number]
        near: dict[int, set[int]] = {each: set() for each in self.planners}
        for one, other in self.links.values():
            near[one].add(other)
            near[other].add(one)
        for each in queue:
            queue += sorted(near[each] - found)
            found |= near[each]
        return found

    def gossip(self) -> None:
        left = set(self.planners)
        while left:
            together = self.component(min(left))
            peers = {name(each): (address(each),) for each in sorted(together)}
            for each in together:
                self.planners[each].peers_known(peers, self.now)
            left -= together

    def degrees(self) -> dict[int, int]:
        return {number: len(self.neighbours(number)) for number in self.planners}

    def neighbours(self, number: int) -> set[int]:
        return {each for ends in self.links.values() if number in ends for each in ends if each != number}


def test_small_mesh_becomes_full_with_hardly_a_double_dial() -> None:
    world = World(20, seed=1)
    world.run(10)
    assert set(world.degrees().values()) == {19}
    assert world.dials <= 190 * 1.2


@pytest.mark.parametrize("seed", [1, 2])
def test_large_mesh_is_connected_and_thins_out(seed: int) -> None:
    world = World(80, seed)
    world.run(300)
    degrees = world.degrees()
    assert len(world.component(0)) == 80
    assert max(degrees[number] for number in range(1, 80)) <= 31
    settled = world.dials
    world.run(300)
    assert world.dials == settled


def test_mesh_is_one_again_after_peers_died_and_came_back() -> None:
    world = World(60, seed=3)
    world.run(30)
    for number in range(20, 40):
        world.stop(number)
    world.run(60)
    assert len(world.component(0)) == 40
    for number in range(20, 40):
        world.start(number)
    world.run(60)
    assert len(world.component(0)) == 60


def test_peers_behind_nat_join_although_nobody_can_dial_them() -> None:
    world = World(60, seed=4, reach=lambda _, other: other < 30)
    world.run(120)
    assert len(world.component(0)) == 60
    assert min(world.degrees().values()) >= 3


def test_seed_that_dies_leaves_the_mesh_whole_and_is_asked_for_ever() -> None:
    world = World(40, seed=5)
    world.run(60)
    world.stop(0)
    world.run(120)
    assert len(world.component(1)) == 39
    assert all(planner.targets()[0].state in ("failed", "retrying") for planner in world.planners.values())
    world.start(0)
    world.run(90)
    assert len(world.component(0)) == 40


def test_same_seed_gives_the_same_run() -> None:
    one, other = World(40, seed=6), World(40, seed=6)
    for world in (one, other):
        world.run(60)
    assert one.links == other.links
