"""The wanted graph as a whole: every peer computes its part, the tests put the parts together."""

from collections.abc import Iterable
from math import log2
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.mesh_planner.peers import name
from weave.mesh.neighbours import clockwise, full_mesh_bound, ring_sides, stand_ins, wanted_links
from weave.names import PeerName

Graph = dict[PeerName, set[PeerName]]
MOST_DEGREE = 30


def some_peers(count: int, seed: int) -> list[PeerName]:
    return [name(number) for number in Random(seed).sample(range(1 << 40), count)]


def graph_of(peers: Iterable[PeerName]) -> Graph:
    everybody = list(peers)
    return {peer: set(wanted_links(ring_sides(peer, everybody))) for peer in everybody}


def distances(graph: Graph, start: PeerName) -> dict[PeerName, int]:
    found = {start: 0}
    queue = [start]
    for peer in queue:
        for other in sorted(graph[peer]):
            if other in graph and other not in found:
                found[other] = found[peer] + 1
                queue.append(other)
    return found


@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 120), seed=st.integers(0, 1 << 30))
def test_graph_is_symmetric_connected_and_of_bounded_degree(count: int, seed: int) -> None:
    graph = graph_of(some_peers(count, seed))
    assert all(peer in graph[other] for peer, others in graph.items() for other in others)
    assert all(peer not in others and len(others) <= MOST_DEGREE for peer, others in graph.items())
    assert len(distances(graph, next(iter(graph)))) == count


@pytest.mark.parametrize("count", [300, 1000])
def test_large_graph_is_sparse_and_shallow(count: int) -> None:
    graph = graph_of(some_peers(count, seed=count))
    degrees = [len(others) for others in graph.values()]
    assert max(degrees) <= MOST_DEGREE
    assert 1.5 * log2(count) < sum(degrees) / count < 2.5 * log2(count)
    reached = distances(graph, min(graph))
    assert len(reached) == count
    assert max(reached.values()) <= 5


def test_graph_survives_the_loss_of_a_third_of_its_peers() -> None:
    graph = graph_of(some_peers(300, seed=1))
    left = {peer: graph[peer] for peer in Random(2).sample(sorted(graph), 200)}
    assert len(distances(left, min(left))) == 200


@pytest.mark.parametrize("seed", range(5))
def test_a_join_or_leave_changes_few_neighbours(seed: int) -> None:
    peers = some_peers(200, seed)
    with_last, without_last = graph_of(peers), graph_of(peers[:-1])
    changed = [peer for peer in peers[:-1] if with_last[peer] != without_last[peer]]
    assert len(changed) <= 45
    assert all(len(with_last[peer] ^ without_last[peer]) <= 8 for peer in changed)


def test_result_does_not_depend_on_the_order_of_the_peers() -> None:
    peers = some_peers(100, seed=3)
    assert ring_sides(peers[0], peers) == ring_sides(peers[0], set(peers))


def test_ring_of_all_peers_comes_first() -> None:
    peers = some_peers(100, seed=4)
    order = clockwise(peers[0], peers)
    assert set(wanted_links(ring_sides(peers[0], peers))[:4]) == {*order[:2], *order[-2:]}


def test_nobody_stands_in_where_all_can_be_reached() -> None:
    assert stand_ins(ring_sides(name(0), some_peers(100, seed=5)), ()) == []


def test_the_next_peer_of_the_ring_stands_in() -> None:
    peers = [name(0), *some_peers(100, seed=5)]
    order = clockwise(name(0), peers)
    chosen = stand_ins(ring_sides(name(0), peers), {order[0], order[1]})
    assert order[2] in chosen
    assert order[3] in chosen


def test_stand_ins_are_bounded_when_nobody_can_be_reached() -> None:
    peers = some_peers(100, seed=5)
    assert stand_ins(ring_sides(name(0), peers), set(peers)) == []


@pytest.mark.parametrize(("limit", "bound"), [(0, 1), (10, 11), (31, 32), (200, 32)])
def test_full_mesh_bound_follows_the_connection_limit(limit: int, bound: int) -> None:
    assert full_mesh_bound(limit) == bound
