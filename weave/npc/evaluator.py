"""Who may talk to whom: the semantics of policy, written to be obviously right. Everything else is checked against it.

A connection is allowed if its source may send it (egress) and its destination may receive it (ingress). Each direction
asks evaluators in order, and the first that does not say `NEXT` decides:

    exempt ──► tier Admin ──► NetworkPolicy ──► tier Baseline ──► accepted

`exempt` is what policy never concerns: ends that are no pods, pods with their host's network, a pod that talks to
itself, a node that talks to its own pods. A connection is judged by its real ends: a service's address has become a
pod's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from weave.addresses import IPAddress
from weave.npc.model import (
    Action,
    AnyPort,
    BlockPeer,
    Cluster,
    ClusterPolicy,
    Direction,
    Key,
    Labels,
    NamedPort,
    Namespace,
    NetworkPolicy,
    NodePeer,
    Peer,
    Pod,
    PodPeer,
    Port,
    PortRange,
    Protocol,
    Rule,
    Tier,
    TierRule,
    Unclear,
)
from weave.npc.selectors import selects


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection: a pod, with the address it uses, or an address that is no pod's."""

    address: IPAddress | None
    """None: a pod that has none of this family (yet); no block holds it."""
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """What policy judges: the first packet, after a service's address became a pod's."""

    source: End
    destination: End
    protocol: Protocol | None = None
    """None: a protocol without ports (ICMP); only rules that name no port match it."""
    port: int = 0
    """Of the destination."""


class Judgement(Enum):
    """What one evaluator says."""

    ACCEPT = "accept"
    DENY = "deny"
    NEXT = "next"


class Stage(Enum):
    """The evaluators, in their order; the value is what people read."""

    EXEMPT = "exempt"
    ADMIN = "tier Admin"
    POLICY = "NetworkPolicy"
    BASELINE = "tier Baseline"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Finding:
    """What an evaluator found, and why."""

    stage: Stage
    judgement: Judgement
    policies: tuple[str, ...] = ()
    """The policy that decided; where NetworkPolicies isolate the pod and none opens: all of those."""
    rule: int | None = None
    """Which of its rules decided or passed, counted from 0."""
    rule_name: str = ""
    reason: str = ""
    """Why it is exempt."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One direction's verdict; the last finding decided."""

    direction: Direction
    findings: tuple[Finding, ...]

    @property
    def allowed(self) -> bool:
        """Say whether this direction is open."""
        return self.findings[-1].judgement is Judgement.ACCEPT


@dataclass(frozen=True, slots=True)
class Verdict:
    """Both directions."""

    egress: Decision
    ingress: Decision

    @property
    def allowed(self) -> bool:
        """Say whether the connection is allowed."""
        return self.egress.allowed and self.ingress.allowed


_NOTHING: Labels = {}


@dataclass(frozen=True)
class Policies:
    """A cluster, with its policies found by the pod they govern. It must not change."""

    cluster: Cluster
    _governing: dict[tuple[Key, Direction], Sequence[NetworkPolicy]] = field(default_factory=dict, init=False)
    _tiers: dict[tuple[Key, Direction, Tier], Sequence[ClusterPolicy]] = field(default_factory=dict, init=False)

    @cached_property
    def _by_namespace(self) -> Mapping[str, Sequence[NetworkPolicy]]:
        found: dict[str, list[NetworkPolicy]] = {}
        for policy in sorted(self.cluster.policies.values(), key=lambda one: one.name):
            found.setdefault(policy.namespace, []).append(policy)
        return found

    @cached_property
    def _in_order(self) -> Mapping[Tier, Sequence[ClusterPolicy]]:
        ordered = sorted(self.cluster.cluster_policies.values(), key=lambda one: (one.priority, one.name))
        return {tier: [policy for policy in ordered if policy.tier is tier] for tier in Tier}

    @cached_property
    def _by_address(self) -> Mapping[IPAddress, Pod]:
        return {address: pod for _, pod in sorted(self.cluster.pods.items(), key=lambda one: str(one[0]))
                for address in pod.addresses if not pod.host_network}

    def end(self, address: IPAddress) -> End:
        """Return the end that has an address."""
        return End(address, self._by_address.get(address))

    def namespace_labels(self, pod: Pod) -> Labels:
        """Return the labels of a pod's namespace; none where it is not known."""
        namespace: Namespace | None = self.cluster.namespaces.get(pod.namespace)
        return namespace.labels if namespace else _NOTHING

    def governing(self, pod: Pod, direction: Direction) -> Sequence[NetworkPolicy]:
        """Return the NetworkPolicies that govern a pod in a direction, by name."""
        key = (Key(pod.namespace, pod.name), direction)
        if key not in self._governing:
            self._governing[key] = [policy for policy in self._by_namespace.get(pod.namespace, ())
                                    if rules_of(policy, direction) is not None and selects(policy.pods, pod.labels)]
        return self._governing[key]

    def tier(self, pod: Pod, direction: Direction, tier: Tier) -> Sequence[ClusterPolicy]:
        """Return the policies of a tier that govern a pod in a direction, in order."""
        key = (Key(pod.namespace, pod.name), direction, tier)
        if key not in self._tiers:
            labels = self.namespace_labels(pod)
            self._tiers[key] = [policy for policy in self._in_order[tier] if tier_rules_of(policy, direction)
                                and selects(policy.namespaces, labels) and selects(policy.pods, pod.labels)]
        return self._tiers[key]


def rules_of(policy: NetworkPolicy, direction: Direction) -> Sequence[Rule] | None:
    """Return a policy's rules for a direction; None where it does not govern it."""
    return policy.ingress if direction is Direction.INGRESS else policy.egress


def tier_rules_of(policy: ClusterPolicy, direction: Direction) -> Sequence[TierRule]:
    """Return a policy's rules for a direction."""
    return policy.ingress if direction is Direction.INGRESS else policy.egress


# The verdict

def judge(policies: Policies, connection: Connection) -> Verdict:
    """Say whether a connection is allowed, and what decides that in each direction."""
    return Verdict(_decide(policies, connection, Direction.EGRESS), _decide(policies, connection, Direction.INGRESS))


def _decide(policies: Policies, connection: Connection, direction: Direction) -> Decision:
    findings = []
    for evaluator in EVALUATORS:
        finding = evaluator(policies, connection, direction)
        findings.append(finding)
        if finding.judgement is not Judgement.NEXT:
            break
    return Decision(direction, tuple(findings))


def _exempt(policies: Policies, connection: Connection, direction: Direction) -> Finding:
    subject, peer = _sides(connection, direction)
    reason = ""
    if subject.pod is None:
        reason = "it is no pod"
    elif subject.pod.host_network:
        reason = "the pod has its host's network, which policy does not concern"
    elif peer.pod is not None and _same(subject.pod, peer.pod):
        reason = "a pod may always talk to itself"
    elif direction is Direction.INGRESS and _is_node_of(policies, peer, subject.pod):
        reason = "a node may always talk to its own pods"
    return Finding(Stage.EXEMPT, Judgement.ACCEPT if reason else Judgement.NEXT, reason=reason)


def _admin(policies: Policies, connection: Connection, direction: Direction) -> Finding:
    return _tier(policies, connection, direction, Tier.ADMIN, Stage.ADMIN)


def _baseline(policies: Policies, connection: Connection, direction: Direction) -> Finding:
    return _tier(policies, connection, direction, Tier.BASELINE, Stage.BASELINE)


def _tier(policies: Policies, connection: Connection, direction: Direction, tier: Tier, stage: Stage) -> Finding:
    """Let the first rule that matches decide; one that passes leaves it to the evaluators after this tier."""
    subject, peer = _sides(connection, direction)
    assert subject.pod is not None
    for policy in policies.tier(subject.pod, direction, tier):
        for index, rule in enumerate(tier_rules_of(policy, direction)):
            action = _action(policies, rule, peer, connection)
            if action is not None:
                return Finding(stage, _JUDGEMENTS[action], (policy.name,), index, rule.name)
    return Finding(stage, Judgement.NEXT)


_JUDGEMENTS = {Action.ACCEPT: Judgement.ACCEPT, Action.DENY: Judgement.DENY, Action.PASS: Judgement.NEXT}


def _action(policies: Policies, rule: TierRule, peer: End, connection: Connection) -> Action | None:
    """Return what a rule does with a connection; None where it does not match it."""
    if any(isinstance(part, Unclear) for part in (*rule.peers, *(rule.ports or ()))):
        return None if rule.action is Action.ACCEPT else Action.DENY
    if not any(matches_peer(policies, one, peer, own_namespace=None) for one in rule.peers):
        return None
    return rule.action if _matches_ports(rule.ports, connection) else None


def _network_policies(policies: Policies, connection: Connection, direction: Direction) -> Finding:
    """Let any rule of any policy that governs the pod open; where none does, but one governs, it is closed."""
    subject, peer = _sides(connection, direction)
    assert subject.pod is not None
    governing = policies.governing(subject.pod, direction)
    for policy in governing:
        for index, rule in enumerate(rules_of(policy, direction) or ()):
            if _opens(policies, policy, rule, peer, connection):
                return Finding(Stage.POLICY, Judgement.ACCEPT, (f"{policy.namespace}/{policy.name}",), index)
    names = tuple(f"{policy.namespace}/{policy.name}" for policy in governing)
    return Finding(Stage.POLICY, Judgement.DENY if names else Judgement.NEXT, names)


def _opens(policies: Policies, policy: NetworkPolicy, rule: Rule, peer: End, connection: Connection) -> bool:
    is_peer = rule.peers is None or any(matches_peer(policies, one, peer, own_namespace=policy.namespace)
                                        for one in rule.peers)
    return is_peer and _matches_ports(rule.ports, connection)


def _default(policies: Policies, connection: Connection, direction: Direction) -> Finding:  # noqa: ARG001
    return Finding(Stage.DEFAULT, Judgement.ACCEPT)


Evaluator = Callable[[Policies, Connection, Direction], Finding]
EVALUATORS: Sequence[Evaluator] = (_exempt, _admin, _network_policies, _baseline, _default)


# What matches

def _sides(connection: Connection, direction: Direction) -> tuple[End, End]:
    """Return the end whose policies are asked, and the other one."""
    if direction is Direction.INGRESS:
        return connection.destination, connection.source
    return connection.source, connection.destination


def _same(one: Pod, other: Pod) -> bool:
    return (one.namespace, one.name) == (other.namespace, other.name)


def _is_node_of(policies: Policies, end: End, pod: Pod) -> bool:
    """Say whether an end is the node of a pod."""
    node = policies.cluster.nodes.get(pod.node or "")
    return node is not None and end.address in node.addresses and (end.pod is None or end.pod.host_network)


def matches_peer(policies: Policies, peer: Peer, end: End, *, own_namespace: str | None) -> bool:
    """Say whether an end is one of those that a peer of a rule means."""
    match peer:
        case PodPeer():
            return end.pod is not None and _is_among(policies, peer, end.pod, own_namespace)
        case BlockPeer():
            return end.address is not None and in_block(peer, end.address)
        case NodePeer():
            return any(end.address in node.addresses and selects(peer.nodes, node.labels)
                       for node in policies.cluster.nodes.values())
        case Unclear():
            return False


def _is_among(policies: Policies, peer: PodPeer, pod: Pod, own_namespace: str | None) -> bool:
    if pod.host_network or not selects(peer.pods, pod.labels):
        return False
    if peer.namespaces is None:
        return pod.namespace == own_namespace
    return selects(peer.namespaces, policies.namespace_labels(pod))


def in_block(peer: BlockPeer, address: IPAddress) -> bool:
    """Say whether an address is in a block and in none of its exceptions."""
    return address in peer.block and not any(address in inner for inner in peer.excepts)


def _matches_ports(ports: Iterable[Port | Unclear] | None, connection: Connection) -> bool:
    return ports is None or any(_matches_port(port, connection) for port in ports)


def _matches_port(port: Port | Unclear, connection: Connection) -> bool:
    match port:
        case AnyPort():
            return connection.protocol is port.protocol
        case PortRange():
            return connection.protocol is port.protocol and port.first <= connection.port <= port.last
        case NamedPort():
            pod = connection.destination.pod
            wanted = (connection.protocol, connection.port)
            return pod is not None and any(wanted == found for found in resolve(port, pod))
        case Unclear():
            return False


def resolve(port: NamedPort, pod: Pod) -> Iterator[tuple[Protocol, int]]:
    """Yield what a pod calls so: transports and ports; nothing for a pod with its host's network, which is no peer."""
    for own in pod.ports:
        if own.name == port.name and port.protocol in (None, own.protocol) and not pod.host_network:
            yield own.protocol, own.port


# Ends of pods

def connect(source: Pod, destination: Pod, protocol: Protocol | None = None, port: int = 0) -> Connection:
    """Return the connection between two pods, over a family that both have, IPv4 first."""
    shared = {one.version for one in source.addresses} & {one.version for one in destination.addresses}
    family = min(shared, default=4)
    return Connection(end_of(source, family), end_of(destination, family), protocol, port)


def end_of(pod: Pod, family: int) -> End:
    """Return a pod as an end that uses its address of a family."""
    return End(next((address for address in pod.addresses if address.version == family), None), pod)
