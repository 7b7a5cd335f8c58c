"""Where policy comes from, as changes one after the other, and what they add up to.

A source tells of objects as manifests: what is there, what is gone, when everything that was there has been told, and
how it goes. Until it is synced nothing is enforced, for half of the policies would open what the other half closes; a
source that fails later changes nothing: the last it told stands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, assert_never

from weave.npc.manifest import Manifest, namespace_of, parse
from weave.npc.manifest_fields import ManifestError
from weave.npc.model import Cluster, ClusterPolicy, Key, Namespace, NetworkPolicy, Node, Pod

Object: TypeAlias = Mapping[str, object]
MAX_PROBLEMS_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies an object among all of a cluster."""

    kind: str
    namespace: str
    """Empty for what lies in none."""
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


@dataclass(frozen=True, slots=True)
class Upsert:
    """An object is there, new or changed."""

    identity: Identity
    manifest: Object


@dataclass(frozen=True, slots=True)
class Remove:
    """An object is gone."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that was there has been told."""


@dataclass(frozen=True, slots=True)
class State:
    """How it goes, told when it changes."""

    is_well: bool
    sentence: str
    unread: Sequence[tuple[Identity, str]] = ()
    """Files that cannot be read, and why; the sentence says so, too."""


Change: TypeAlias = Upsert | Remove | Synced | State
Deliver: TypeAlias = Callable[[Sequence[Change]], None]


class Source(Protocol):
    """Tells what policy depends on."""

    async def run(self, deliver: Deliver) -> None:
        """Tell everything, then every change; never returns, and raises nothing that a later attempt may mend."""


NAMESPACED = frozenset({"Pod", "NetworkPolicy"})


def identity_of(manifest: object) -> Identity | None:
    """Return what an object is called; None for what has no kind or name, or a namespace that is no name.

    A policy in another namespace than its author means would leave open what he wants closed.
    """
    read = manifest if isinstance(manifest, Mapping) else {}
    meta = read.get("metadata")
    found = meta if isinstance(meta, Mapping) else {}
    kind, name = read.get("kind"), found.get("name")
    if not isinstance(kind, str) or not isinstance(name, str) or not kind or not name:
        return None
    try:
        return Identity(kind, namespace_of(found) if kind in NAMESPACED else "", name)
    except ManifestError:
        return None


@dataclass(slots=True)
class Holdings:
    """Own what a source has told so far."""

    synced: bool = False
    state: State = State(is_well=True, sentence="nothing was told yet")
    values: dict[Identity, Manifest] = field(default_factory=dict)
    originals: dict[Identity, Object] = field(default_factory=dict)
    """Of policies: as their authors wrote them. Pods are too many, and too large, to be kept twice."""
    refused: dict[Identity, str] = field(default_factory=dict)
    """Objects that are not what they say they are."""
    _cluster: Cluster = field(default_factory=Cluster)
    _pending: dict[Identity, None] = field(default_factory=dict)

    def take(self, changes: Sequence[Change]) -> bool:
        """Take changes over; tell whether policy may depend on any of them."""
        matters = False
        for change in changes:
            match change:
                case Upsert(identity, manifest):
                    matters = self._upsert(identity, manifest) or matters
                case Remove(identity):
                    matters = self._remove(identity) or matters
                case Synced():
                    matters, self.synced = matters or not self.synced, True
                case State():
                    self.state = change
                case never:
                    assert_never(never)
        return matters

    @property
    def cluster(self) -> Cluster:
        """Return everything as one value; what did not change is the same object as before."""
        if self._pending:
            self._cluster = self._merge()
            self._pending.clear()
        return self._cluster

    def problems(self) -> Iterator[tuple[Identity, str]]:
        """Yield what was not understood, object by object, and files that cannot be read."""
        yield from self.state.unread
        for identity, value in self.values.items():
            if isinstance(value, NetworkPolicy | ClusterPolicy):
                for problem in value.problems:
                    yield identity, problem
        yield from self.refused.items()

    def _upsert(self, identity: Identity, manifest: Object) -> bool:
        try:
            value = parse(manifest)
        except ManifestError as exc:
            self.refused[identity] = str(exc)
            return self._forget(identity)
        self.refused.pop(identity, None)
        if self.values.get(identity) == value:
            return False
        self.values[identity] = value
        if isinstance(value, NetworkPolicy | ClusterPolicy):
            self.originals[identity] = manifest
        self._pending[identity] = None
        return True

    def _remove(self, identity: Identity) -> bool:
        self.refused.pop(identity, None)
        return self._forget(identity)

    def _forget(self, identity: Identity) -> bool:
        self.originals.pop(identity, None)
        if self.values.pop(identity, None) is None:
            return False
        self._pending[identity] = None
        return True

    def _merge(self) -> Cluster:
        old = self._cluster
        kinds = {identity.kind for identity in self._pending}
        pods = dict(old.pods) if "Pod" in kinds else old.pods
        namespaces = dict(old.namespaces) if "Namespace" in kinds else old.namespaces
        nodes = dict(old.nodes) if "Node" in kinds else old.nodes
        policies = dict(old.policies) if "NetworkPolicy" in kinds else old.policies
        cluster_policies = dict(old.cluster_policies) if "ClusterNetworkPolicy" in kinds else old.cluster_policies
        for identity in self._pending:
            value = self.values.get(identity)
            key = Key(identity.namespace, identity.name)
            match identity.kind:
                case "Pod":
                    _put(pods, key, value, Pod)
                case "Namespace":
                    _put(namespaces, identity.name, value, Namespace)
                case "Node":
                    _put(nodes, identity.name, value, Node)
                case "NetworkPolicy":
                    _put(policies, key, value, NetworkPolicy)
                case "ClusterNetworkPolicy":
                    _put(cluster_policies, identity.name, value, ClusterPolicy)
        return Cluster(pods, namespaces, nodes, policies, cluster_policies)


def _put(place: object, key: object, value: object, kind: type) -> None:
    assert isinstance(place, dict)
    if isinstance(value, kind):
        place[key] = value
    else:
        place.pop(key, None)
