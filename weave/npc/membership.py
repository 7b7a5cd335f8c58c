"""Who a selector selects, kept up to date: the elements of the sets that policies share.

A `Wanted` is what one set holds; two policies with the same selector want the same. A change of one pod touches only
what could select it: wants are found by their namespace and a pair of label and value that they ask for, and pods
likewise. Clusters are compared by the identity of their values, for sources replace what changed and keep the rest.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from weave.npc.blocks import text_of
from weave.npc.model import Cluster, Key, Labels, Node, Operator, Pod, Protocol, Selector
from weave.npc.ruleset import FAMILIES
from weave.npc.selectors import selects

Pair = tuple[str, str]
Name = TypeVar("Name")
Entry = TypeVar("Entry")
Value = TypeVar("Value")
NO_LABELS: Labels = {}


@dataclass(frozen=True, slots=True)
class WantedPods:
    """The addresses of pods by labels, in one namespace or in namespaces by labels."""

    namespace: str | None
    namespaces: Selector | None
    pods: Selector


@dataclass(frozen=True, slots=True)
class WantedNodes:
    """The addresses of nodes by labels."""

    nodes: Selector


@dataclass(frozen=True, slots=True)
class WantedPort:
    """The addresses of pods that name a port so, each with that port."""

    protocol: Protocol
    name: str


Wanted = WantedPods | WantedNodes | WantedPort
Elements = Mapping[int, frozenset[str]]
"""By family."""


@dataclass(eq=False, slots=True)
class _Group:
    """What one want holds, counted, for two pods may show the same address while one of them goes."""

    wanted: Wanted
    counts: dict[int, Counter[str]] = field(default_factory=lambda: {family: Counter() for family in FAMILIES})
    frozen: dict[int, frozenset[str]] = field(default_factory=dict)

    def add(self, family: int, element: str, sign: int) -> None:
        count = self.counts[family]
        count[element] += sign
        if count[element] == 0:
            del count[element]
        self.frozen.pop(family, None)

    def elements(self, family: int) -> frozenset[str]:
        found = self.frozen.get(family)
        if found is None:
            found = self.frozen[family] = frozenset(self.counts[family])
        return found


class Membership:
    """Own the elements of every set that was asked for since the last `forget`."""

    def __init__(self) -> None:
        self._cluster = Cluster()
        self._groups: dict[Wanted, _Group] = {}
        self._by_hint: dict[tuple[str | None, Pair | None], dict[_Group, None]] = {}
        self._ports: dict[str, dict[Protocol, _Group]] = {}
        self._pods: dict[str, dict[Pair | None, dict[Key, None]]] = {}
        """By namespace, those with a label; None: all of the namespace."""

    def update(self, cluster: Cluster) -> None:
        """Take over what differs from the cluster of the last call."""
        old, self._cluster = self._cluster, cluster
        moved = {name for name in _changed(old.namespaces, cluster.namespaces)
                 if _labels(old, name) != _labels(cluster, name)}
        touched = dict.fromkeys(_changed(old.pods, cluster.pods))
        touched.update((key, None) for name in sorted(moved) for key in self._pods.get(name, {}).get(None, ()))
        for key in touched:
            if key in old.pods:
                self._count(old.pods[key], _labels(old, key.namespace), -1)
            if key in cluster.pods:
                self._count(cluster.pods[key], _labels(cluster, key.namespace), +1)
        if old.nodes is not cluster.nodes:
            self._update_nodes(old.nodes, cluster.nodes)

    def elements(self, wanted: Wanted, family: int) -> frozenset[str]:
        """Return what a set holds; the same object as long as nothing changed."""
        group = self._groups.get(wanted)
        if group is None:
            group = self._open(wanted)
        return group.elements(family)

    def forget(self, used: Iterable[Wanted]) -> None:
        """Keep only what is still used."""
        kept = set(used)
        for wanted in [wanted for wanted in self._groups if wanted not in kept]:
            group = self._groups.pop(wanted)
            if isinstance(wanted, WantedPods):
                for hint in _hints(wanted.pods):
                    _take_out(self._by_hint, (wanted.namespace, hint), group)
            elif isinstance(wanted, WantedPort):
                _take_out(self._ports, wanted.name, wanted.protocol)

    def _open(self, wanted: Wanted) -> _Group:
        group = self._groups[wanted] = _Group(wanted)
        if isinstance(wanted, WantedNodes):
            for node in self._cluster.nodes.values():
                _count_node(group, node, +1)
            return group
        if isinstance(wanted, WantedPort):
            self._ports.setdefault(wanted.name, {})[wanted.protocol] = group
            for pod in self._cluster.pods.values():
                _count_port(group, wanted, pod, +1)
            return group
        for hint in _hints(wanted.pods):
            self._by_hint.setdefault((wanted.namespace, hint), {})[group] = None
        for key in self._candidates(wanted):
            _count_pod(group, wanted, self._cluster.pods[key], _labels(self._cluster, key.namespace), +1)
        return group

    def _candidates(self, wanted: WantedPods) -> Iterator[Key]:
        """Yield pods among which are all that the want selects, each once."""
        hints = _hints(wanted.pods)
        for name in self._pods if wanted.namespace is None else (wanted.namespace,):
            if wanted.namespaces is None or selects(wanted.namespaces, _labels(self._cluster, name)):
                for hint in hints:
                    yield from self._pods.get(name, {}).get(hint, ())

    def _count(self, pod: Pod, namespace: Labels, sign: int) -> None:
        self._register(pod, sign)
        groups: dict[_Group, None] = {}
        for home in (pod.namespace, None):
            for pair in (None, *pod.labels.items()):
                groups.update(self._by_hint.get((home, pair), {}))
        for group in groups:
            assert isinstance(group.wanted, WantedPods)
            _count_pod(group, group.wanted, pod, namespace, sign)
        for name in {port.name for port in pod.ports}:
            for group in self._ports.get(name, {}).values():
                assert isinstance(group.wanted, WantedPort)
                _count_port(group, group.wanted, pod, sign)

    def _register(self, pod: Pod, sign: int) -> None:
        key = Key(pod.namespace, pod.name)
        index = self._pods.setdefault(pod.namespace, {})
        for place in (None, *pod.labels.items()):
            if sign > 0:
                index.setdefault(place, {})[key] = None
                continue
            _take_out(index, place, key)
        if not index:
            del self._pods[pod.namespace]

    def _update_nodes(self, old: Mapping[str, Node], new: Mapping[str, Node]) -> None:
        for group in self._groups.values():
            if not isinstance(group.wanted, WantedNodes):
                continue
            for name in _changed(old, new):
                if name in old:
                    _count_node(group, old[name], -1)
                if name in new:
                    _count_node(group, new[name], +1)


def _changed(old: Mapping[Name, Value], new: Mapping[Name, Value]) -> Iterator[Name]:
    """Name what is not the same value in both, in an order that follows from theirs."""
    if old is new:
        return
    for name, value in new.items():
        if old.get(name) is not value:
            yield name
    for name in old:
        if name not in new:
            yield name


def _take_out(index: dict[Name, dict[Entry, Value]], place: Name, entry: Entry) -> None:
    """Take an entry out of an index, and its place where that is empty then."""
    index[place].pop(entry, None)
    if not index[place]:
        del index[place]


def _hints(selector: Selector) -> tuple[Pair | None, ...]:
    """Return pairs of which every selected pod has one; `(None,)` where no requirement says so."""
    for requirement in selector.requirements:
        if requirement.operator is Operator.IN:
            return tuple((requirement.key, value) for value in sorted(requirement.values))
    return (None,)


def _labels(cluster: Cluster, namespace: str) -> Labels:
    found = cluster.namespaces.get(namespace)
    return NO_LABELS if found is None else found.labels


def _count_pod(group: _Group, wanted: WantedPods, pod: Pod, namespace: Labels, sign: int) -> None:
    if pod.host_network or wanted.namespace not in (None, pod.namespace) or not selects(wanted.pods, pod.labels):
        return
    if wanted.namespaces is not None and not selects(wanted.namespaces, namespace):
        return
    for address in pod.addresses:
        group.add(address.version, text_of(address), sign)


def _count_port(group: _Group, wanted: WantedPort, pod: Pod, sign: int) -> None:
    if pod.host_network:
        return
    for port in pod.ports:
        if port.name == wanted.name and port.protocol is wanted.protocol:
            for address in pod.addresses:
                group.add(address.version, f"{text_of(address)} . {port.port}", sign)


def _count_node(group: _Group, node: Node, sign: int) -> None:
    assert isinstance(group.wanted, WantedNodes)
    if not selects(group.wanted.nodes, node.labels):
        return
    for address in node.addresses:
        group.add(address.version, text_of(address), sign)
