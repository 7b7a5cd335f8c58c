"""What policy cannot tell apart, put together: ends into groups, ports into groups. Pure.

Policy tells pods apart by the labels, namespaces, port names and blocks that it mentions, and by nothing else. So a
thousand pods under a few policies make a few groups, and a matrix of groups says all about the pods. Addresses that are
no pods' are grouped likewise: the blocks that policies mention cut the address space into pieces, and one address of
each piece speaks for it. Ports are cut at the ends of all ranges.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_network

from weave.addresses import IPAddress, IPNetwork, address_at
from weave.npc.evaluator import End, end_of, resolve
from weave.npc.model import (
    BlockPeer,
    Cluster,
    Key,
    Labels,
    NamedPort,
    Node,
    NodePeer,
    Peer,
    Pod,
    PodPeer,
    Port,
    PortRange,
    Protocol,
    Selector,
    Unclear,
)

LAST_PORT = 65535
EVERYWHERE: Mapping[int, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


class Kind(Enum):
    """What a group is made of; the value stands in JSON."""

    PODS = "pods"
    NODES = "nodes"
    ADDRESSES = "addresses"


@dataclass(frozen=True, slots=True)
class Group:
    """Ends that no policy tells apart; one speaks for all."""

    kind: Kind
    members: tuple[str, ...]
    """`namespace/name` of pods, names of nodes, a block of addresses."""
    end: End = field(compare=False)

    def __str__(self) -> str:
        more = f" and {len(self.members) - 1} more" if len(self.members) > 1 else ""
        return f"{self.members[0]}{more}"


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of one transport that no policy tells apart; the first speaks for all."""

    protocol: Protocol | None
    """None: protocols without ports, like ICMP."""
    ranges: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        if self.protocol is None:
            return "icmp"
        name = self.protocol.value.lower()
        if self.ranges == ((1, LAST_PORT),):
            return name
        return f"{name}/" + ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)


@dataclass(slots=True)
class Mentions:
    """Everything that some policies mention."""

    pod_keys: set[str] = field(default_factory=set)
    namespace_keys: set[str] = field(default_factory=set)
    node_keys: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    """Those that have policies of their own."""
    blocks: set[IPNetwork] = field(default_factory=set)
    ranges: set[PortRange] = field(default_factory=set)
    names: set[NamedPort] = field(default_factory=set)
    has_nodes: bool = False


def mentions_of(clusters: Iterable[Cluster]) -> Mentions:
    """Collect what the policies of these clusters mention."""
    found = Mentions()
    for cluster in clusters:
        for policy in cluster.policies.values():
            found.namespaces.add(policy.namespace)
            found.pod_keys |= _keys(policy.pods)
            for rule in (*(policy.ingress or ()), *(policy.egress or ())):
                _add(found, rule.peers or (), rule.ports or ())
        for tiered in cluster.cluster_policies.values():
            found.pod_keys |= _keys(tiered.pods)
            found.namespace_keys |= _keys(tiered.namespaces)
            for tier_rule in (*tiered.ingress, *tiered.egress):
                _add(found, tier_rule.peers, tier_rule.ports or ())
    return found


def _add(found: Mentions, peers: Iterable[Peer], ports: Iterable[Port | Unclear]) -> None:
    for peer in peers:
        match peer:
            case PodPeer(namespaces, pods):
                found.pod_keys |= _keys(pods)
                found.namespace_keys |= set() if namespaces is None else _keys(namespaces)
            case BlockPeer(block, excepts):
                found.blocks |= {block, *excepts}
            case NodePeer(nodes):
                found.has_nodes = True
                found.node_keys |= _keys(nodes)
    found.ranges |= {port for port in ports if isinstance(port, PortRange)}
    found.names |= {port for port in ports if isinstance(port, NamedPort)}


def _keys(selector: Selector) -> set[str]:
    return {requirement.key for requirement in selector.requirements}


# Ends

def group_ends(cluster: Cluster, found: Mentions, family: int) -> list[Group]:
    """Return the ends of a family in groups: pods, nodes where policies mention any, and pieces of address space."""
    blocks = _Blocks(found.blocks, family)
    return [*_group_pods(cluster, found, family, blocks), *_group_nodes(cluster, found, family, blocks),
            *blocks.pieces()]


def _group_pods(cluster: Cluster, found: Mentions, family: int, blocks: "_Blocks") -> Iterator[Group]:
    pod_keys, namespace_keys = sorted(found.pod_keys), sorted(found.namespace_keys)
    nothing: Labels = {}
    namespaces = {name: _project(one.labels, namespace_keys) for name, one in cluster.namespaces.items()}
    groups: dict[object, list[Pod]] = {}
    for pod in cluster.pods.values():
        end = end_of(pod, family)
        key = (pod.host_network,
               pod.namespace if pod.namespace in found.namespaces else None,
               namespaces.get(pod.namespace, _project(nothing, namespace_keys)),
               _project(pod.labels, pod_keys),
               frozenset((name, *one) for name in found.names for one in resolve(name, pod)) if pod.ports else None,
               None if end.address is None else blocks.holding(end.address))
        groups.setdefault(key, []).append(pod)
    made = [(sorted(str(Key(pod.namespace, pod.name)) for pod in pods), end_of(pods[0], family))
            for pods in groups.values()]
    for members, end in sorted(made, key=lambda one: one[0]):
        yield Group(Kind.PODS, tuple(members), end)


def _project(labels: Labels, keys: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(labels.get(key) for key in keys)


def _group_nodes(cluster: Cluster, found: Mentions, family: int, blocks: "_Blocks") -> Iterator[Group]:
    if not found.has_nodes:
        return
    keys = sorted(found.node_keys)
    groups: dict[object, list[tuple[Node, IPAddress]]] = {}
    for node in sorted(cluster.nodes.values(), key=lambda one: one.name):
        for address in node.addresses:
            if address.version == family:
                key = (_project(node.labels, keys), blocks.holding(address))
                groups.setdefault(key, []).append((node, address))
    for members in groups.values():
        names = tuple(dict.fromkeys(f"node {node.name}" for node, _ in members))
        yield Group(Kind.NODES, names, End(members[0][1]))


class _Blocks:
    """The blocks of one family that policies mention, as numbers."""

    def __init__(self, blocks: Iterable[IPNetwork], family: int) -> None:
        own = {EVERYWHERE[family], *(block for block in blocks if block.version == family)}
        self.blocks = sorted(own, key=lambda block: (int(block.network_address), block.prefixlen))
        self.family = family
        self._numbers = [(int(block.netmask), int(block.network_address)) for block in self.blocks]

    def holding(self, address: IPAddress) -> tuple[int, ...]:
        """Return the indexes of the blocks that hold an address."""
        number = int(address)
        return tuple(index for index, (mask, network) in enumerate(self._numbers) if number & mask == network)

    def pieces(self) -> Iterator[Group]:
        """Yield every block, less those within it, that has an address left."""
        for index, block in enumerate(self.blocks):
            free = int(block.network_address)
            for inner in self.blocks[index + 1:]:
                if int(inner.network_address) > free:
                    break
                free = max(free, int(inner.broadcast_address) + 1)
            if free <= int(block.broadcast_address):
                name = str(block) if block.prefixlen else "other addresses"
                yield Group(Kind.ADDRESSES, (name,), End(address_at(self.family, free)))


# Ports

def group_ports(cluster: Cluster, found: Mentions) -> list[Ports]:
    """Return all ports of all transports in groups, and what has no ports."""
    named = {one for name in found.names for pod in cluster.pods.values() for one in resolve(name, pod)}
    groups = [group for protocol in Protocol for group in _of_protocol(protocol, found, named)]
    return [*groups, Ports(None, ())]


def _of_protocol(protocol: Protocol, found: Mentions, named: set[tuple[Protocol, int]]) -> Iterator[Ports]:
    """Yield the groups of one transport.

    A port that some pod has a name for stands alone: another pod may have the same name for another one.
    """
    ranges = sorted({(one.first, one.last) for one in found.ranges if one.protocol is protocol})
    single = {number for transport, number in named if transport is protocol}
    cuts = sorted({1, *(first for first, _ in ranges), *(last + 1 for _, last in ranges),
                   *single, *(number + 1 for number in single)} - {LAST_PORT + 1})
    alike: dict[object, list[tuple[int, int]]] = {}
    for first, following in zip(cuts, [*cuts[1:], LAST_PORT + 1], strict=True):
        key = (frozenset(one for one in ranges if one[0] <= first <= one[1]), first if first in single else None)
        alike.setdefault(key, []).append((first, following - 1))
    for intervals in alike.values():
        yield Ports(protocol, tuple(intervals))
