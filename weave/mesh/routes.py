"""The graph of peers and the paths through it: the same on every peer that knows the same links.

A link counts where both ends claim it as established. All paths come from one tree for each peer, by breadth first
search; of several parents at one distance the one wins whose name, exclusive-or the root's, is smallest: any fixed
order would do, this one spreads the load of relaying differently for each root.

    tree(s)        s            a broadcast of s goes down the tree: from b to b's children
                  / \\
                 b   c          a unicast to s goes up the tree: from e to e's parent
                 |   |\\
                 d   e f
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from functools import lru_cache
from typing import Generic, TypeVar

from weave.names import PeerName

Tree = Mapping[PeerName, PeerName]
"""Every peer but the root, and its parent."""

K = TypeVar("K")
V = TypeVar("V")


class Graph:
    """An immutable graph; trees and components are computed when first asked for."""

    def __init__(self, claims: Mapping[PeerName, Set[PeerName]]) -> None:
        """Build it from the established links that each peer claims."""
        nobody: frozenset[PeerName] = frozenset()
        self.neighbours: dict[PeerName, tuple[PeerName, ...]] = {
            name: tuple(sorted(other for other in claimed if name in claims.get(other, nobody)))
            for name, claimed in claims.items()
        }
        self._trees: dict[PeerName, Tree] = {}
        self._component_of: dict[PeerName, frozenset[PeerName]] = {}

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
        """Return those to whom `here` passes on what `root` broadcasts, sorted."""
        tree = self.tree(root)
        return [other for other in self.neighbours.get(here, ()) if tree.get(other) == here]

    def next_hop(self, here: PeerName, destination: PeerName) -> PeerName | None:
        """Return the neighbour through which `here` reaches `destination`; None without a path."""
        return self.tree(destination).get(here)


def _grow(neighbours: Mapping[PeerName, tuple[PeerName, ...]], root: PeerName) -> Tree:
    mask = _number(root)
    tree: dict[PeerName, PeerName] = {}
    level = [root]
    while level:
        level.sort(key=lambda name: _number(name) ^ mask)
        below = []
        for parent in level:
            for child in neighbours.get(parent, ()):
                if child not in tree and child != root:
                    tree[child] = parent
                    below.append(child)
        level = below
    return tree


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
