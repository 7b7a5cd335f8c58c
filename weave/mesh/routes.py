"""The graph of peers and the paths through it: the same on every peer that knows the same links.

A link counts where both ends claim it as established. All paths come from one tree for each peer, by breadth first
search. Every peer's neighbours are searched in the order of their exclusive-or distance to it: any fixed order would
do, this one lets different peers relay for different roots.

    tree(s)        s            a broadcast of s goes down the tree: from b to b's children
                  / \\
                 b   c          a unicast to s goes up the tree: from e to e's parent
                 |   |\\
                 d   e f
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Set
from functools import lru_cache
from typing import Generic, TypeVar

from weave.mesh import limits
from weave.names import PeerName

Tree = Mapping[PeerName, PeerName]
"""Every peer but the root, and its parent."""

K = TypeVar("K")
V = TypeVar("V")


Claims = Mapping[PeerName, Set[PeerName]]
"""The established links that each peer claims."""
Edge = tuple[PeerName, PeerName]

_NOBODY: frozenset[PeerName] = frozenset()


class Graph:
    """An immutable graph; trees and components are computed when first asked for."""

    def __init__(self, neighbours: dict[PeerName, tuple[PeerName, ...]]) -> None:
        self.neighbours = neighbours
        self._trees: dict[PeerName, Tree] = {}
        self._component_of: dict[PeerName, frozenset[PeerName]] = {}

    def changed(self, claims: Claims, suspects: Iterable[PeerName]) -> "Graph":
        """Return the graph of other claims, which differ from ours for the suspects alone.

        It costs what changed, not what is there: the neighbours of others and the trees that the change does not
        touch are kept.
        """
        neighbours = dict(self.neighbours)
        gained: set[Edge] = set()
        lost: set[Edge] = set()
        for name in suspects:
            before = set(neighbours.get(name, ()))
            after = {other for other in claims.get(name, _NOBODY) if name in claims.get(other, _NOBODY)}
            gained.update((name, other) for other in after - before)
            lost.update((name, other) for other in before - after)
            for other in before ^ after:
                _set(neighbours, other, {*neighbours.get(other, ())} ^ {name})
            _set(neighbours, name, after)
        graph = Graph(neighbours)
        if len(gained) + len(lost) <= limits.MAX_EDGES_CARRIED_OVER:
            graph._trees = {
                root: tree for root, tree in self._trees.items() if not _touches(tree, root, gained, lost)
            }
        return graph

    def component(self, name: PeerName) -> frozenset[PeerName]:
        """Return the peers that have a path to `name`, itself included."""
        known = self._component_of.get(name)
        if known is not None:
            return known
        found = frozenset((name, *self.tree(name)))
        for member in found:
            self._component_of[member] = found
        return found

    def tree(self, root: PeerName) -> Tree:
        """Return the shortest-path tree of a root."""
        tree = self._trees.get(root)
        if tree is None:
            tree = self._trees[root] = _grow(self.neighbours, root)
        return tree

    def children(self, root: PeerName, here: PeerName) -> list[PeerName]:
        """Return those to whom `here` passes on what `root` broadcasts."""
        tree = self.tree(root)
        return [other for other in self.neighbours.get(here, ()) if tree.get(other) == here]

    def next_hop(self, here: PeerName, destination: PeerName) -> PeerName | None:
        """Return the neighbour through which `here` reaches `destination`; None without a path."""
        return self.tree(destination).get(here)


EMPTY = Graph({})


def _grow(neighbours: Mapping[PeerName, tuple[PeerName, ...]], root: PeerName) -> Tree:
    tree: dict[PeerName, PeerName] = {root: root}
    everybody = len(neighbours)
    level = [root]
    while level and len(tree) < everybody:
        below = []
        for parent in level:
            for child in neighbours.get(parent, ()):
                if child not in tree:
                    tree[child] = parent
                    below.append(child)
        level = below
    del tree[root]
    return tree


def _touches(tree: Tree, root: PeerName, gained: Iterable[Edge], lost: Iterable[Edge]) -> bool:
    """Say whether a change of edges may change a tree; an edge between equals is never searched successfully."""
    if any(tree.get(here) == there or tree.get(there) == here for here, there in lost):
        return True
    return any(_depth(tree, root, here) != _depth(tree, root, there) for here, there in gained)


def _depth(tree: Tree, root: PeerName, name: PeerName) -> int:
    """Return the distance from the root; one that differs from everybody's for whom the tree does not have."""
    depth = 0
    while name != root:
        parent = tree.get(name)
        if parent is None:
            return -1
        name = parent
        depth += 1
    return depth


def _set(neighbours: dict[PeerName, tuple[PeerName, ...]], name: PeerName, others: Set[PeerName]) -> None:
    """Replace the neighbours of a peer, in the order in which it searches them."""
    if not others:
        neighbours.pop(name, None)
        return
    mask = _number(name)
    neighbours[name] = tuple(sorted(others, key=lambda other: _number(other) ^ mask))


@lru_cache(maxsize=1 << 14)
def _number(name: PeerName) -> int:
    return int(name.replace(":", ""), 16)


class Recent(Generic[K, V]):
    """A memo of the values used last; a function of its keys alone, so that replicas in one process may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key, made where it is not remembered."""
        values = self._values
        if key in values:
            values.move_to_end(key)
            return values[key]
        made = make()
        values[key] = made
        if len(values) > self._size:
            values.popitem(last=False)
        return made
