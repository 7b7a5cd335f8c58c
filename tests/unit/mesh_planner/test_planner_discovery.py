"""Peers that gossip knows: who dials whom, when, and which connections go again."""

from math import inf
from random import Random

from tests.unit.mesh_planner.peers import address, known, name
from weave.mesh.attempts import NO_ADDRESS_PATIENCE_S
from weave.mesh.discovery import YIELD_HIGH_S, YIELD_LOW_S
from weave.mesh.neighbours import ring_sides, stand_ins, wanted_links
from weave.mesh.planner import DIAL_LIMIT_S, Planner, PlannerConfig, PlanStep
from weave.mesh.surplus import SURPLUS_AFTER_S
from weave.names import PeerName

MANY = range(100, 200)


def planner(*, me: int = 1, **config: int) -> Planner:
    return Planner(me=name(me), rng=Random(1), config=PlannerConfig(discovery=True, **config))


def number(peer: PeerName) -> int:
    return int(peer.replace(":", ""), 16)


def knowing(*numbers: int, me: int = 1, **config: int) -> Planner:
    made = planner(me=me, **config)
    made.peers_known(known(*numbers, me), 0.0)
    return made


def settled(*, me: int = 1) -> tuple[Planner, list[int]]:
    """A peer of a large mesh that is connected to all its neighbours, by connections of its own making."""
    made = knowing(*MANY, me=me)
    neighbours = [number(peer) for peer in wanted_links(ring_sides(name(me), [name(each) for each in MANY]))]
    made.plan(0.0)
    for each in neighbours:
        made.connected(each, name(each), address(each), True, address(each), 0.0)
    made.plan(0.0)
    return made, neighbours


def replaceable() -> int:
    """A neighbour of peer 1 whose ring needs a new link when it is gone."""
    sides = ring_sides(name(1), [name(each) for each in MANY])
    return number(next(peer for peer in wanted_links(sides) if stand_ins(sides, {peer})))


def test_lower_name_dials_at_once() -> None:
    one = knowing(2)
    assert one.plan(0.0).dial == (address(2),)
    assert one.targets()[0].user is False


def test_higher_name_waits_a_few_seconds() -> None:
    one = knowing(2, me=3)
    assert one.plan(0.0).dial == ()
    assert YIELD_LOW_S <= one.deadline() <= YIELD_HIGH_S
    assert "other end" in one.targets()[0].info
    assert one.plan(one.deadline()).dial == (address(2),)


def test_higher_name_does_not_dial_who_came_by_itself() -> None:
    one = knowing(2, me=3)
    one.plan(0.0)
    one.connected(1, name(2), "10.0.0.2:50000", False, None, 1.0)
    assert one.plan(YIELD_HIGH_S) == PlanStep()
    assert one.targets() == []


def test_small_mesh_is_a_full_mesh() -> None:
    one = knowing(*range(2, 30), parallel_dials=100)
    assert sorted(one.plan(0.0).dial) == sorted(address(each) for each in range(2, 30))


def test_large_mesh_is_sparse() -> None:
    one = knowing(*MANY, parallel_dials=1000)
    wanted = wanted_links(ring_sides(name(1), [name(each) for each in MANY]))
    assert set(one.plan(0.0).dial) == {address(number(peer)) for peer in wanted}


def test_addresses_are_tried_in_turn_before_a_pause() -> None:
    one = planner()
    one.peers_known({name(2): ("10.0.0.2:1", "host:1", "[::1]:2")}, 0.0)
    assert one.plan(0.0).dial == ("10.0.0.2:1",)
    one.failed("10.0.0.2:1", "refused", True, 1.0)
    assert one.plan(1.0).dial == ("[::1]:2",)
    one.failed("[::1]:2", "no route", True, 2.0)
    assert one.plan(2.0).dial == ()
    assert one.targets()[0].info == "no route"
    assert one.plan(one.deadline()).dial == ("10.0.0.2:1",)


def test_address_where_another_peer_answers_is_not_dialled_for_it_again() -> None:
    one = planner()
    one.peers_known({name(2): ("10.0.0.2:1", "10.0.0.2:2")}, 0.0)
    one.plan(0.0)
    one.connected(1, name(9), "10.0.0.2:1", True, "10.0.0.2:1", 1.0)
    assert one.plan(1.0).dial == ("10.0.0.2:2",)
    one.failed("10.0.0.2:2", "refused", True, 2.0)
    one.plan(2.0)
    assert one.plan(one.deadline()).dial == ("10.0.0.2:2",)


def test_our_own_address_is_not_dialled_twice() -> None:
    one = planner()
    one.peers_known({name(2): ("127.0.0.1:6783",)}, 0.0)
    one.plan(0.0)
    one.failed("127.0.0.1:6783", "this is ourselves", False, 0.1)
    assert one.plan(1e3).dial == ()
    one.peers_known({name(2): ("10.0.0.2:6783",)}, 1e3)
    assert one.plan(2e3).dial == ("10.0.0.2:6783",)


def test_forgotten_peer_takes_its_addresses_along() -> None:
    one = knowing(2)
    one.plan(0.0)
    one.failed(address(2), "no route", True, 1.0)
    one.peers_known(known(3), 2.0)
    assert address(2) not in [view.address for view in one.targets()]
    assert one.plan(1e3).dial == (address(3),)


def test_forget_drops_a_discovered_address_until_its_peer_left() -> None:
    one = knowing(2)
    one.plan(0.0)
    one.failed(address(2), "no route", True, 1.0)
    one.forget([address(2)], 2.0)
    assert one.plan(1e3) == PlanStep()
    assert one.targets() == []
    one.peers_known({}, 2e3)
    one.peers_known(known(2), 3e3)
    assert one.plan(3e3).dial == (address(2),)


def test_connect_takes_back_a_forget() -> None:
    one = knowing(2)
    one.forget([address(2)], 0.0)
    one.add_targets([address(2)], 1.0)
    assert one.plan(1.0).dial == (address(2),)
    one.forget([address(2)], 2.0)


def test_discovery_leaves_an_address_to_the_user_target() -> None:
    one = knowing(2)
    one.add_targets(["10.0.0.2"], 0.0)
    assert one.plan(0.0).dial == (address(2),)
    assert one.plan(DIAL_LIMIT_S / 2).dial == ()


def test_peer_of_a_user_target_is_dialled_by_its_target_alone() -> None:
    one = planner()
    one.add_targets(["host2"], 0.0)
    one.plan(0.0)
    one.connected(1, name(2), address(2), True, "host2:6783", 0.0)
    one.peers_known(known(2), 0.0)
    one.plan(0.0)
    one.disconnected(1, "closed", 100.0)
    one.plan(100.0)
    assert one.plan(one.deadline()).dial == ("host2:6783",)


def test_peer_is_found_at_other_addresses_when_its_user_target_is_dead() -> None:
    one, now, dialled = planner(), 0.0, set[str]()
    one.add_targets(["host2"], 0.0)
    one.plan(0.0)
    one.connected(1, name(2), address(2), True, "host2:6783", 0.0)
    one.peers_known(known(2), 0.0)
    one.disconnected(1, "closed", 100.0)
    while now < 200.0:
        now = max(now + 0.1, min(one.deadline(), 200.0))
        for target in one.plan(now).dial:
            dialled.add(target)
            one.failed(target, "no route", True, now)
    assert dialled == {"host2:6783", address(2)}


def test_lost_neighbour_is_dialled_after_a_short_pause() -> None:
    one = knowing(2)
    one.plan(0.0)
    one.connected(1, name(2), address(2), True, address(2), 0.0)
    one.plan(0.0)
    one.disconnected(1, "closed", 100.0)
    assert one.plan(100.0).dial == ()
    assert one.plan(one.deadline()).dial == (address(2),)


def test_connection_limit_stops_discovery_but_not_the_user() -> None:
    one = knowing(*MANY, connection_limit=3)
    assert len(one.plan(0.0).dial) == 3
    assert one.deadline() == DIAL_LIMIT_S
    one.add_targets(["host1"], 0.0)
    assert one.plan(0.0).dial == ("host1:6783",)


def test_next_peer_stands_in_for_one_that_cannot_be_reached() -> None:
    one, _ = settled()
    lost = replaceable()
    one.disconnected(lost, "no route", 100.0)
    now, dialled = 100.0, set[str]()
    while now < 130.0:
        for target in one.plan(now).dial:
            dialled.add(target)
            one.failed(target, "no route", True, now)
        now = max(now + 0.1, min(one.deadline(), 130.0))
    assert address(lost) in dialled
    assert dialled - {address(lost)}


def test_neighbour_without_an_address_is_replaced_when_it_does_not_come() -> None:
    one = knowing(*MANY, parallel_dials=1000)
    nowhere = replaceable()
    one.peers_known({**known(*MANY), name(nowhere): ()}, 0.0)
    first = set(one.plan(0.0).dial)
    for each in sorted(first):
        peer = int(each.split(":", maxsplit=1)[0].rsplit(".", maxsplit=1)[1])
        one.connected(peer, name(peer), each, True, each, 0.0)
    one.plan(0.0)
    assert one.deadline() == NO_ADDRESS_PATIENCE_S
    assert set(one.plan(NO_ADDRESS_PATIENCE_S).dial) - first


def test_surplus_connection_is_closed_after_a_while() -> None:
    one, neighbours = settled()
    extra = next(each for each in MANY if each not in neighbours)
    one.connected(9, name(extra), address(extra), True, address(extra), 1.0)
    assert one.plan(1.0).close == ()
    assert one.deadline() == 1.0 + SURPLUS_AFTER_S
    assert one.plan(1.0 + SURPLUS_AFTER_S).close == (9,)


def test_connection_of_the_other_ends_making_is_its_own_to_close() -> None:
    one, neighbours = settled()
    extra = next(each for each in MANY if each not in neighbours)
    one.connected(9, name(extra), address(extra), False, None, 1.0)
    assert one.plan(1.0) == PlanStep()
    assert one.deadline() == inf


def test_connection_of_a_user_target_is_never_closed() -> None:
    one, neighbours = settled()
    extra = next(each for each in MANY if each not in neighbours)
    one.add_targets(["host"], 1.0)
    one.plan(1.0)
    one.connected(9, name(extra), address(extra), True, "host:6783", 1.0)
    assert one.plan(1e3).close == ()


def test_surplus_connections_stay_while_a_neighbour_is_missing() -> None:
    one, neighbours = settled()
    extra = next(each for each in MANY if each not in neighbours)
    one.connected(9, name(extra), address(extra), True, address(extra), 1.0)
    one.disconnected(neighbours[0], "closed", 2.0)
    one.plan(2.0)
    one.plan(one.deadline())
    assert one.plan(50.0).close == ()
    one.connected(neighbours[0], name(neighbours[0]), address(neighbours[0]), True, address(neighbours[0]), 51.0)
    assert one.plan(51.0).close == (9,)


def test_mesh_around_the_bound_does_not_flap() -> None:
    one = knowing(*range(2, 40), parallel_dials=1000)
    sparse = set(one.plan(0.0).dial)
    one.peers_known(known(*range(2, 30)), 1.0)
    assert len(one.plan(1.0).dial) < 28 - len(sparse)
    one.peers_known(known(*range(2, 20)), 2.0)
    one.plan(2.0)
    assert len(one.targets()) == 18


def test_order_of_what_is_known_does_not_matter() -> None:
    one, other = planner(), planner()
    one.peers_known(known(*MANY), 0.0)
    other.peers_known(dict(reversed(known(*MANY).items())), 0.0)
    assert one.plan(0.0) == other.plan(0.0)
