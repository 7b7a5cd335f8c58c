"""Who may reach whom over what, of all ends and all ports at once. Pure.

The evaluator judges one connection; this judges all, by the same rules, on sets of groups as bits of whole numbers:
for each group and direction, the set of the groups that it may talk to. That it says the same as the evaluator is
tested. One thing is left out: a node's way to its own pods, which is always open.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from weave.npc.evaluator import End, Policies, matches_peer, resolve, rules_of, tier_rules_of
from weave.npc.matrix_groups import Group, Kind, Ports
from weave.npc.model import (
    Action,
    AnyPort,
    Cluster,
    Direction,
    NamedPort,
    NetworkPolicy,
    Peer,
    PodPeer,
    Port,
    PortRange,
    Requirement,
    Rule,
    Selector,
    Tier,
    TierRule,
    Unclear,
)
from weave.npc.selectors import fulfils

Bits = int
"""A set of groups: bit number i is the group number i."""


@dataclass(frozen=True)
class Matrix:
    """All verdicts over some groups of ends and ports. What a pod says to itself is always allowed and not told."""

    policies: Policies
    groups: Sequence[Group]
    ports: Sequence[Ports]
    _peers: dict[object, Bits] = field(default_factory=dict, init=False)
    """What peers, and parts of them, mean."""
    _opened: dict[object, Bits] = field(default_factory=dict, init=False)

    @cached_property
    def reachable(self) -> Sequence[Sequence[Bits]]:
        """Return, per group of ports and source, the destinations that it reaches."""
        return [self._reachable(ports) for ports in self.ports]

    @cached_property
    def _all(self) -> Bits:
        return (1 << len(self.groups)) - 1

    def _reachable(self, ports: Ports) -> Sequence[Bits]:
        admitting: dict[Bits, Bits] = {}
        for index in range(len(self.groups)):
            sources = self._side(index, ports, Direction.INGRESS)
            admitting[sources] = admitting.get(sources, 0) | 1 << index
        entered = [0] * len(self.groups)
        for sources, destinations in admitting.items():
            for index in members(sources):
                entered[index] |= destinations
        return [self._side(index, ports, Direction.EGRESS) & entered[index] for index in range(len(self.groups))]

    def _side(self, index: int, ports: Ports, direction: Direction) -> Bits:
        """Return the groups that one may talk to as far as its own policies are concerned."""
        pod = self.groups[index].end.pod
        if pod is None or pod.host_network:
            return self._all
        admin = self.policies.tier(pod, direction, Tier.ADMIN)
        own = self.policies.governing(pod, direction)
        base = () if own else self.policies.tier(pod, direction, Tier.BASELINE)
        # What lets in names ports of the pod itself; so those that name them differently are judged on their own.
        names = frozenset(pod.ports) if direction is Direction.INGRESS else None
        key = (ports, direction, names, *(id(one) for one in (*admin, *own, *base)))
        if key not in self._opened:
            admin_rules, base_rules = ([rule for one in tier for rule in tier_rules_of(one, direction)]
                                       for tier in (admin, base))
            self._opened[key] = self._judge(index, ports, direction, admin_rules, own, base_rules)
        return self._opened[key]

    def _judge(self, index: int, ports: Ports, direction: Direction, admin: Iterable[TierRule],
               own: Sequence[NetworkPolicy], base: Iterable[TierRule]) -> Bits:
        accepted, remaining = self._tier(index, ports, direction, admin, self._all)
        if own:
            return accepted | remaining & self._opens(index, ports, direction, own)
        also, left = self._tier(index, ports, direction, base, remaining)
        return accepted | also | left

    def _tier(self, index: int, ports: Ports, direction: Direction, rules: Iterable[TierRule], asked: Bits,
              ) -> tuple[Bits, Bits]:
        """Return of those asked about who is accepted, and who is left to the next evaluator."""
        accepted, passed, undecided = 0, 0, asked
        for rule in rules:
            is_unclear = any(isinstance(part, Unclear) for part in (*rule.peers, *(rule.ports or ())))
            if is_unclear and rule.action is Action.ACCEPT:
                continue
            matched = undecided
            if not is_unclear:
                matched &= self._meant(rule, None) & self._over(rule.ports, index, ports, direction)
            undecided &= ~matched
            if rule.action is Action.ACCEPT:
                accepted |= matched
            elif rule.action is Action.PASS and not is_unclear:
                passed |= matched
        return accepted, passed | undecided

    def _opens(self, index: int, ports: Ports, direction: Direction, own: Sequence[NetworkPolicy]) -> Bits:
        opened = 0
        for policy in own:
            for rule in rules_of(policy, direction) or ():
                opened |= self._meant(rule, policy.namespace) & self._over(rule.ports, index, ports, direction)
        return opened

    def _meant(self, rule: Rule | TierRule, namespace: str | None) -> Bits:
        """Return the groups that a rule's peers mean."""
        if rule.peers is None:
            return self._all
        meant = 0
        for peer in rule.peers:
            meant |= self._matching(peer, namespace)
        return meant

    def _matching(self, peer: Peer, namespace: str | None) -> Bits:
        if isinstance(peer, PodPeer):
            spaces = (self._in_namespace(namespace) if peer.namespaces is None
                      else self._selected(peer.namespaces, of_namespaces=True))
            return spaces & self._selected(peer.pods, of_namespaces=False)
        if peer not in self._peers:
            self._peers[peer] = self._where(lambda end: matches_peer(self.policies, peer, end, own_namespace=None))
        return self._peers[peer]

    def _selected(self, selector: Selector, *, of_namespaces: bool) -> Bits:
        """Return the groups of pods that a selector means, by their labels or by those of their namespaces."""
        found = self._pods
        for requirement in selector.requirements:
            found &= self._fulfilling(requirement, of_namespaces=of_namespaces)
        return found

    def _fulfilling(self, requirement: Requirement, *, of_namespaces: bool) -> Bits:
        key = (requirement, of_namespaces)
        if key not in self._peers:
            self._peers[key] = self._where(lambda end: end.pod is not None and fulfils(
                requirement, self.policies.namespace_labels(end.pod) if of_namespaces else end.pod.labels))
        return self._peers[key]

    def _in_namespace(self, name: str | None) -> Bits:
        key = ("namespace", name)
        if key not in self._peers:
            self._peers[key] = self._where(lambda end: end.pod is not None and end.pod.namespace == name)
        return self._peers[key]

    @cached_property
    def _pods(self) -> Bits:
        """Return the groups of pods that can be peers."""
        return self._where(lambda end: end.pod is not None and not end.pod.host_network)

    def _where(self, is_meant: Callable[[End], bool]) -> Bits:
        return sum(1 << index for index, group in enumerate(self.groups) if is_meant(group.end))

    def _over(self, wanted: Sequence[Port | Unclear] | None, index: int, ports: Ports, direction: Direction) -> Bits:
        """Return the peers with which a connection is over ports that are wanted."""
        if wanted is None:
            return self._all
        found = 0
        for port in wanted:
            match port:
                case AnyPort(protocol):
                    found |= self._all if ports.protocol is protocol else 0
                case PortRange(protocol, first, last):
                    found |= self._all if ports.protocol is protocol and first <= ports.ranges[0][0] <= last else 0
                case NamedPort() if direction is Direction.INGRESS:
                    found |= self._all if 1 << index & self._naming(port, ports) else 0
                case NamedPort():
                    found |= self._naming(port, ports)
        return found

    def _naming(self, name: NamedPort, ports: Ports) -> Bits:
        """Return the groups whose pods call these ports so."""
        key = (name, ports)
        if key not in self._peers:
            wanted = None if ports.protocol is None else (ports.protocol, ports.ranges[0][0])
            self._peers[key] = self._where(lambda end: end.pod is not None and wanted in list(resolve(name, end.pod)))
        return self._peers[key]


def members(bits: Bits) -> Iterable[int]:
    """Yield the numbers of the groups in a set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def told_to(groups: Sequence[Group], index: int) -> Bits:
    """Return the destinations that a matrix tells of a source: one end is a pod, and it is not one that is alone."""
    source = groups[index]
    if source.kind is Kind.PODS:
        everybody = (1 << len(groups)) - 1
        return everybody if len(source.members) > 1 else everybody & ~(1 << index)
    if source.kind is Kind.NODES:
        return 0
    return sum(1 << column for column, group in enumerate(groups) if group.kind is Kind.PODS)


def same_ends(one: Cluster, policies: Cluster) -> Cluster:
    """Return a cluster with the pods, namespaces and nodes of one and the policies of another."""
    return Cluster(one.pods, one.namespaces, one.nodes, policies.policies, policies.cluster_policies)
