"""What policy is about: pods, namespaces, nodes and the policies over them, as values.

Sources (the Kubernetes API, a directory of manifests) make these values, the evaluator and the compiler read them.
Everything is checked before it becomes a value here, so that nothing that reads them has to guess. What a source could
not understand is kept as `Unclear`, which matches nothing where it would open and everything where it would close.

Semantics: `networking.k8s.io/v1` NetworkPolicy, and ClusterNetworkPolicy of `policy.networking.k8s.io/v1alpha2`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from weave.addresses import IPAddress, IPNetwork

Labels = Mapping[str, str]


class Protocol(Enum):
    """A transport that policy can tell from others; the value is what Kubernetes calls it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Direction(Enum):
    """Which end's policies are asked: the source's about what leaves it, the destination's about what enters it."""

    EGRESS = "egress"
    INGRESS = "ingress"


class Operator(Enum):
    """How a requirement compares; the value is what Kubernetes calls it."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on labels."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()
    """Empty for `EXISTS` and `DOES_NOT_EXIST`."""


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements hold; without any it selects everything. `matchLabels` are requirements with `IN`."""

    requirements: tuple[Requirement, ...] = ()
    """Sorted, each once: equal selectors are equal values."""


# The cluster

@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a pod names."""

    name: str
    port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, or on hosts without Kubernetes a labelled endpoint."""

    namespace: str
    name: str
    labels: Labels
    addresses: tuple[IPAddress, ...]
    """Of both families, maybe none yet; sorted."""
    ports: tuple[ContainerPort, ...] = ()
    node: str | None = None
    """Name of the node it runs on."""
    host_network: bool = False
    """It has the addresses of its node, and no policy selects it as a subject or as a peer."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace; sources add `kubernetes.io/metadata.name` where the API server did not."""

    name: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Node:
    """A node, for peers that are nodes."""

    name: str
    labels: Labels
    addresses: tuple[IPAddress, ...]


# Rules

@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports `first` to `last`, both included."""

    protocol: Protocol
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class NamedPort:
    """The port that the destination pod calls so, resolved for each pod on its own."""

    protocol: Protocol | None
    """None: whichever protocol the pod's port of that name has (ClusterNetworkPolicy)."""
    name: str


@dataclass(frozen=True, slots=True)
class AnyPort:
    """Every port of a protocol."""

    protocol: Protocol


Port = PortRange | NamedPort | AnyPort


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods by labels, in namespaces by labels."""

    namespaces: Selector | None
    """None: the policy's own namespace (NetworkPolicy alone)."""
    pods: Selector


@dataclass(frozen=True, slots=True)
class BlockPeer:
    """Addresses of a block, less some."""

    block: IPNetwork
    excepts: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class NodePeer:
    """Nodes by labels (ClusterNetworkPolicy, egress)."""

    nodes: Selector


@dataclass(frozen=True, slots=True)
class Unclear:
    """Something that this version does not understand: fails closed.

    As a peer or port of a rule that opens it matches nothing. A rule of a tier that has one anywhere matches nothing if
    it accepts, and denies everything if it denies or passes.
    """

    reason: str


Peer = PodPeer | BlockPeer | NodePeer | Unclear


@dataclass(frozen=True, slots=True)
class Rule:
    """Opens what matches one of its peers and one of its ports."""

    peers: tuple[Peer, ...] | None
    """None: everybody. Never empty."""
    ports: tuple[Port | Unclear, ...] | None
    """None: every port of every protocol, and what has no ports (ICMP). Never empty."""


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """Isolates the pods it selects in the directions it governs, and opens what its rules say."""

    namespace: str
    name: str
    pods: Selector
    ingress: tuple[Rule, ...] | None
    """None: not governed. Empty: nothing is opened."""
    egress: tuple[Rule, ...] | None
    problems: tuple[str, ...] = ()
    """What was not understood, in sentences for its author."""


class Tier(Enum):
    """Before or after NetworkPolicy; the value is what the API calls it."""

    ADMIN = "Admin"
    BASELINE = "Baseline"


class Action(Enum):
    """What a rule of a tier does with what it matches; the value is what the API calls it."""

    ACCEPT = "Accept"
    DENY = "Deny"
    PASS = "Pass"  # noqa: S105 - a verdict, no secret


@dataclass(frozen=True, slots=True)
class TierRule:
    """One rule of a tier; of several that match, the first decides.

    Manifests where anything of it is unclear make one that has an `Unclear` as its only peer, no ports, and does not
    pass.
    """

    name: str
    """For people; may be empty."""
    action: Action
    peers: tuple[Peer, ...]
    """Never empty."""
    ports: tuple[Port | Unclear, ...] | None
    """None: every port of every protocol, and what has no ports (ICMP). Never empty."""


@dataclass(frozen=True, slots=True)
class ClusterPolicy:
    """A ClusterNetworkPolicy."""

    name: str
    tier: Tier
    priority: int
    """0 to 1000, lower first; among equals the name decides."""
    namespaces: Selector
    pods: Selector
    """The subject: these pods in these namespaces."""
    ingress: tuple[TierRule, ...]
    egress: tuple[TierRule, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """What identifies a pod or a NetworkPolicy."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything that policy depends on, at one moment."""

    pods: Mapping[Key, Pod] = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    """A pod may be in a namespace that is not here yet: it has no labels then."""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    policies: Mapping[Key, NetworkPolicy] = field(default_factory=dict)
    cluster_policies: Mapping[str, ClusterPolicy] = field(default_factory=dict)
