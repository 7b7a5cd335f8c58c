"""Which pods are on this host, at which addresses: a source's cluster and the router's endpoints put together. Pure.

The router knows the address of a pod before the API server does, and knows it for sure. So a pod of this host has the
addresses of its endpoints. It also has what the source says, unless that is another's by now: a pod that moved is on
its new host, while here its old sandbox ends.
A pod that the source has not told yet is not admitted at all, nor is one whose namespace it has not told, for policy by
labels of namespaces would not hold for it. So a pod that outlives its namespace is cut off; the API server keeps a
namespace until its pods are gone.
Where no source knows pods (`Mode.CONTAINERS`), every container of every host is one, and manifests of pods add the
names of their ports.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256

from weave.addresses import IPAddress
from weave.npc.compiler import Local
from weave.npc.endpoint import Endpoint
from weave.npc.manifest import NAME_LABEL
from weave.npc.manifest_fields import MAX_NAME_CHARACTERS
from weave.npc.model import Cluster, Key, Namespace, Pod

NAMELESS = "nameless"
DIGEST_CHARACTERS = 12
"""Of a name that is cut: two that begin alike have one digest once in 10^14."""
_Home = tuple[Key, str, str]
"""What a container is called, and the host that it is on: nickname and name of its router."""


class Mode(Enum):
    """Who knows the pods."""

    KUBERNETES = "kubernetes"
    CONTAINERS = "containers"


@dataclass(frozen=True, slots=True)
class Placed:
    """What the compiler needs."""

    cluster: Cluster
    local: Local
    pending: frozenset[Key] = frozenset()
    """Pods of this host that the source has not told yet, or whose namespace it has not: closed."""


@dataclass(slots=True)
class Placement:
    """Put clusters and endpoints together; remembers pods it made, so that equal ones stay the same object."""

    mode: Mode
    _made: dict[Key, Pod] = field(default_factory=dict)
    _implied: dict[str, Namespace] = field(default_factory=dict)
    """Namespaces that no manifest tells of."""
    _namespaces: tuple[Mapping[str, Namespace], Mapping[str, Namespace]] = ({}, {})
    """The source's, and the same with those implied."""

    def place(self, cluster: Cluster, endpoints: Sequence[Endpoint]) -> Placed:
        """Return the cluster with addresses as they are, and what of it is on this host."""
        return self._kubernetes(cluster, endpoints) if self.mode is Mode.KUBERNETES \
            else self._containers(cluster, endpoints)

    def _kubernetes(self, cluster: Cluster, endpoints: Sequence[Endpoint]) -> Placed:
        here: dict[Key, set[IPAddress]] = {}
        others: set[IPAddress] = set()
        for endpoint in endpoints:
            if endpoint.is_local:
                place = others if endpoint.pod is None else here.setdefault(endpoint.pod, set())
                place.update(endpoint.addresses)
        known = {key: found for key, found in here.items()
                 if key in cluster.pods and key.namespace in cluster.namespaces}
        made = {key: self._keep(key, _located(cluster.pods[key], found, endpoints))
                for key, found in known.items() if not cluster.pods[key].host_network}
        self._made = made
        local = {key: _ordered(known[key]) for key in made}
        pods = {**cluster.pods, **made} if made else cluster.pods
        return Placed(replace(cluster, pods=pods), Local(local, frozenset(others)),
                      frozenset(here.keys() - known.keys()))

    def _containers(self, cluster: Cluster, endpoints: Sequence[Endpoint]) -> Placed:
        groups: dict[_Home, list[Endpoint]] = {}
        others: set[IPAddress] = set()
        for endpoint in endpoints:
            if not endpoint.is_host:
                groups.setdefault((endpoint.key, endpoint.host, endpoint.peer), []).append(endpoint)
            elif endpoint.is_local:
                others.update(endpoint.addresses)
        named = _told_apart(groups)
        made = {key: self._keep(key, _container(key, group, cluster.pods.get(group[0].key)))
                for key, group in named.items()}
        self._made = made
        local = {key: made[key].addresses for key, group in named.items() if group[0].is_local}
        everything = replace(cluster, pods=made, namespaces=self._all_namespaces(cluster, made))
        return Placed(everything, Local(local, frozenset(others)))

    def _all_namespaces(self, cluster: Cluster, pods: Mapping[Key, Pod]) -> Mapping[str, Namespace]:
        """Return the namespaces with those that pods imply; the same object as long as they are the same."""
        missing = sorted({key.namespace for key in pods} - cluster.namespaces.keys())
        if self._namespaces[0] is not cluster.namespaces or missing != list(self._implied):
            self._implied = {name: self._implied.get(name) or Namespace(name, {NAME_LABEL: name}) for name in missing}
            self._namespaces = (cluster.namespaces, {**cluster.namespaces, **self._implied})
        return self._namespaces[1]

    def _keep(self, key: Key, pod: Pod) -> Pod:
        known = self._made.get(key)
        return known if known is not None and known == pod else pod


def _located(pod: Pod, here: Set[IPAddress], endpoints: Sequence[Endpoint]) -> Pod:
    """Return a pod with its addresses on this host, and those that the source says and no other pod has."""
    elsewhere = {*pod.addresses} - here
    if elsewhere:  # rarely: it moved, or its sandbox was made anew
        key = Key(pod.namespace, pod.name)
        elsewhere -= {address for endpoint in endpoints if endpoint.pod != key for address in endpoint.addresses}
    return replace(pod, addresses=_ordered(here | elsewhere))


def _told_apart(groups: Mapping[_Home, Sequence[Endpoint]]) -> dict[Key, Sequence[Endpoint]]:
    """Return containers by what they are called, each by a name of its own.

    Hosts may have containers of one name (`ip netns add blue`), with labels of their own: such a one is called so on
    its own host, elsewhere with its host, `blue@h2`. What no other host has keeps its name everywhere.
    """
    homes = Counter(key for key, _, _ in groups)
    named: dict[Key, Sequence[Endpoint]] = {}
    for (key, host, peer), group in groups.items():
        name = key.name or NAMELESS
        name = _fitted(name if homes[key] == 1 or group[0].is_local else f"{name}@{host or peer}")
        while Key(key.namespace, name) in named:  # of one nickname, or called as if it were of another host
            name = _fitted(f"{name}@{peer}")
        named[Key(key.namespace, name)] = group
    return named


def _fitted(name: str) -> str:
    """Return a name that a manifest may have, for that is how pods are told to whoever asks.

    Routers let the names of containers and of hosts have 255 characters each; of what is longer the beginning is kept,
    and a digest in place of the rest, the same on every host.
    """
    if len(name) <= MAX_NAME_CHARACTERS:
        return name
    digest = sha256(name.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{name[:MAX_NAME_CHARACTERS - 1 - DIGEST_CHARACTERS]}-{digest}"


def _container(key: Key, group: Sequence[Endpoint], manifest: Pod | None) -> Pod:
    labels = {name: value for endpoint in group for name, value in endpoint.labels.items()}
    addresses = _ordered({address for endpoint in group for address in endpoint.addresses})
    ports = () if manifest is None else manifest.ports
    return Pod(key.namespace, key.name, labels, addresses, ports, _fitted(group[0].host))


def _ordered(addresses: Set[IPAddress]) -> tuple[IPAddress, ...]:
    return tuple(sorted(addresses, key=lambda address: (address.version, int(address))))
