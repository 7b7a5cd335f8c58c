"""Paths: shortest, the same everywhere, over links that both ends claim."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mesh.fixtures import name
from weave.mesh.routes import EMPTY, Graph, Recent
from weave.names import PeerName

Edges = set[tuple[int, int]]


def claims_of(edges: Edges) -> dict[PeerName, frozenset[PeerName]]:
    """Return claims that make exactly these links symmetric."""
    claims: dict[PeerName, set[PeerName]] = {}
    for here, there in edges:
        claims.setdefault(name(here), set()).add(name(there))
        claims.setdefault(name(there), set()).add(name(here))
    return {who: frozenset(others) for who, others in claims.items()}


def graph_of(edges: Edges) -> Graph:
    claims = claims_of(edges)
    return EMPTY.changed(claims, claims)


def distances(edges: Edges, root: int) -> dict[PeerName, int]:
    """Measure by relaxation, the slow and obvious way."""
    found = {name(root): 0}
    for _ in range(20):
        for here, there in edges:
            for a, b in ((name(here), name(there)), (name(there), name(here))):
                if a in found:
                    found[b] = min(found.get(b, 99), found[a] + 1)
    return found


CHAIN = {(1, 2), (2, 3), (3, 4)}
SQUARE = {(1, 2), (2, 3), (3, 4), (4, 1)}
ISLANDS = {(1, 2), (3, 4)}


@pytest.mark.parametrize(
    ("edges", "here", "destination", "hop"),
    [
        (CHAIN, 1, 4, 2),
        (CHAIN, 4, 1, 3),
        (CHAIN, 2, 3, 3),
        (CHAIN, 2, 2, None),
        (ISLANDS, 1, 3, None),
        (ISLANDS, 1, 9, None),
        (set(), 1, 2, None),
    ],
)
def test_next_hop(edges: Edges, here: int, destination: int, hop: int | None) -> None:
    assert graph_of(edges).next_hop(name(here), name(destination)) == (None if hop is None else name(hop))


@pytest.mark.parametrize(
    ("edges", "root", "here", "children"),
    [
        (CHAIN, 1, 1, [2]),
        (CHAIN, 1, 2, [3]),
        (CHAIN, 2, 2, [1, 3]),
        (CHAIN, 2, 4, []),
        (SQUARE, 1, 1, [2, 4]),
        (ISLANDS, 1, 3, []),
    ],
)
def test_children(edges: Edges, root: int, here: int, children: list[int]) -> None:
    assert sorted(graph_of(edges).children(name(root), name(here))) == [name(child) for child in children]


def test_link_claimed_by_one_end_does_not_count() -> None:
    claims = {name(1): frozenset({name(2)}), name(2): frozenset({name(3)}), name(3): frozenset({name(2)})}
    graph = EMPTY.changed(claims, claims)
    assert graph.component(name(1)) == {name(1)}
    assert graph.component(name(2)) == {name(2), name(3)}


def test_peer_without_links_reaches_itself() -> None:
    assert EMPTY.component(name(1)) == {name(1)}


edge_sets = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]))


@given(edge_sets, st.integers(0, 9))
def test_trees_are_shortest_paths(edges: Edges, root: int) -> None:
    graph = graph_of(edges)
    tree = graph.tree(name(root))
    wanted = distances(edges, root)
    assert set(tree) | {name(root)} == set(wanted) == set(graph.component(name(root)))
    for child, parent in tree.items():
        assert wanted[child] == wanted[parent] + 1


@given(edge_sets, st.integers(0, 9))
def test_broadcast_reaches_everybody_once(edges: Edges, root: int) -> None:
    graph = graph_of(edges)
    members = graph.component(name(root))
    reached = [child for member in members for child in graph.children(name(root), member)]
    assert sorted([*reached, name(root)]) == sorted(members)


@given(st.lists(edge_sets, min_size=1, max_size=6))
def test_graph_that_followed_changes_equals_one_built_at_once(steps: list[Edges]) -> None:
    graph = EMPTY
    before: dict[PeerName, frozenset[PeerName]] = {}
    for edges in steps:
        claims = claims_of(edges)
        suspects = [who for who in before.keys() | claims.keys() if before.get(who) != claims.get(who)]
        graph = graph.changed(claims, sorted(suspects))
        before = claims
        for root in range(10):
            assert graph.tree(name(root)) == graph_of(edges).tree(name(root))
    assert graph.neighbours == graph_of(steps[-1]).neighbours


def test_memo_forgets_what_was_used_least_recently() -> None:
    made: list[int] = []
    memo: Recent[int, int] = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert memo.get(key, lambda key=key: made.append(key) or key) == key  # type: ignore[misc]
    assert made == [1, 2, 3, 2]
