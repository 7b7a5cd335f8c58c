"""One policy, or one tier of them, as a chain: the rules that a packet meets once its pod is known. Pure.

A policy opens (accept) or says nothing (the chain ends). A tier decides by its first rule that matches: accept, refuse,
or return, which passes on to what comes after the tier. What a source could not understand opens nothing: an unclear
peer or port is left out of what a policy opens; a rule of a tier that has one accepts nothing, or else denies all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from weave.npc.blocks import range_text, ranges_of
from weave.npc.membership import Wanted, WantedNodes, WantedPods, WantedPort
from weave.npc.model import (
    Action,
    AnyPort,
    BlockPeer,
    ClusterPolicy,
    Direction,
    NamedPort,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Port,
    PortRange,
    Protocol,
    Selector,
    Unclear,
)
from weave.npc.ruleset import (
    ADDRESS,
    ADDRESS_PORT,
    Accept,
    Chain,
    Drop,
    Goto,
    InSet,
    Itself,
    Kind,
    Match,
    NftSet,
    Refusal,
    Return,
    Rule,
    Tell,
    ToNamed,
    ToPorts,
    ToPortSet,
    Verdict,
    digest,
    peer_of,
)

LAST_PORT = 65535
EVERYBODY: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A chain, and what must be there for it."""

    name: str
    chain: Chain
    wanted: dict[str, tuple[Kind, int, Wanted]] = field(default_factory=dict)
    """Sets whose elements follow the cluster: kind and family."""
    constant: dict[str, NftSet] = field(default_factory=dict)
    """Sets that follow from their name."""
    refusing: dict[str, tuple[Chain, Refusal]] = field(default_factory=dict)
    """Chains that this one goes to, by their tags."""


def compile_policy(policy: NetworkPolicy, direction: Direction, family: int) -> Compiled:
    """Return the chain of what a policy opens."""
    writer = _Writer(direction, family)
    for rule in (policy.egress if direction is Direction.EGRESS else policy.ingress) or ():
        writer.write(rule.peers, rule.ports, policy.namespace, Accept(), f"{policy.namespace}/{policy.name}")
    return writer.compiled("np")


def compile_tier(policies: Sequence[ClusterPolicy], direction: Direction, family: int) -> Compiled:
    """Return the chain of policies of one tier, which come in their order."""
    writer = _Writer(direction, family)
    for policy in policies:
        for rule in policy.egress if direction is Direction.EGRESS else policy.ingress:
            words = f"{policy.tier.value} {policy.name}" + (f" rule {rule.name}" if rule.name else "")
            action: Action = rule.action
            peers: Sequence[Peer] | None = rule.peers
            ports = rule.ports
            if any(isinstance(part, Unclear) for part in (*rule.peers, *(rule.ports or ()))):
                if action is Action.ACCEPT:
                    continue
                action, peers, ports = Action.DENY, None, None
            writer.write(peers, ports, None, writer.verdict(action, words), words)
    return writer.compiled("tier")


def refusing_name(tag: str) -> str:
    """Return the name of the chain that refuses with a reason."""
    return f"refuse-{tag}"


def refuse(direction: Direction, family: int, words: str) -> tuple[str, tuple[Rule, ...], Refusal]:
    """Return the rules that refuse with a reason: the reason's tag, the rules, the reason."""
    tag = digest((direction.value, family, words))
    rules = (
        Rule((Itself(),), Accept(), "a pod always reaches itself"),
        Rule((), Tell(tag)),
        Rule((), Drop(direction)),
    )
    return tag, rules, Refusal(direction, words)


class _Writer:
    """Write the rules of one chain."""

    def __init__(self, direction: Direction, family: int) -> None:
        self._direction = direction
        self._family = family
        self._rules: list[Rule] = []
        self._wanted: dict[str, tuple[Kind, int, Wanted]] = {}
        self._constant: dict[str, NftSet] = {}
        self._refusing: dict[str, tuple[Chain, Refusal]] = {}

    def compiled(self, prefix: str) -> Compiled:
        chain = Chain(self._family, tuple(dict.fromkeys(self._rules)))
        name = f"{prefix}-{digest((self._direction.value, chain))}"
        return Compiled(name, chain, self._wanted, self._constant, self._refusing)

    def verdict(self, action: Action, words: str) -> Verdict:
        if action is Action.ACCEPT:
            return Accept()
        if action is Action.PASS:
            return Return()
        tag, rules, refusal = refuse(self._direction, self._family, words)
        self._refusing[tag] = (Chain(self._family, rules), refusal)
        return Goto(refusing_name(tag))

    def write(self, peers: Sequence[Peer] | None, ports: Sequence[Port | Unclear] | None, namespace: str | None,
              verdict: Verdict, comment: str) -> None:
        ends = [EVERYBODY] if peers is None else [
            match for peer in peers for match in self._peer(peer, namespace)]
        targets = [EVERYBODY] if ports is None else list(self._ports(ports))
        self._rules += [Rule(end + target, verdict, comment) for end in ends for target in targets]

    def _peer(self, peer: Peer, namespace: str | None) -> Iterator[tuple[Match, ...]]:
        """Give the one match of a peer, or none where nobody of this family can match."""
        if isinstance(peer, BlockPeer):
            if peer.block.version != self._family:
                return
            ranges = ranges_of(peer)
            if not ranges:
                return
            name = f"block{self._family}-{digest(ranges)}"
            self._constant[name] = NftSet(ADDRESS[self._family], frozenset(ranges), interval=True)
        elif isinstance(peer, PodPeer):
            home = namespace if peer.namespaces is None else None
            name = self._want("pods", ADDRESS[self._family], WantedPods(home, peer.namespaces, peer.pods))
        elif isinstance(peer, NodePeer):
            name = self._want("nodes", ADDRESS[self._family], WantedNodes(peer.nodes))
        else:
            return
        yield (InSet(peer_of(self._direction), name),)

    def _ports(self, ports: Sequence[Port | Unclear]) -> Iterator[tuple[Match, ...]]:
        for protocol in Protocol:
            ranges = [(0, LAST_PORT) if isinstance(port, AnyPort) else (port.first, port.last)
                      for port in ports if isinstance(port, AnyPort | PortRange) and port.protocol is protocol]
            if any(isinstance(port, AnyPort) and port.protocol is protocol for port in ports):
                yield (ToPorts(protocol, None),)
            elif ranges:
                yield (self._port_ranges(protocol, _merged(ranges)),)
        for port in ports:
            if not isinstance(port, NamedPort):
                continue
            for protocol in Protocol if port.protocol is None else (port.protocol,):
                name = self._want("ports", ADDRESS_PORT[self._family], WantedPort(protocol, port.name))
                yield (ToNamed(protocol, name),)

    def _port_ranges(self, protocol: Protocol, ranges: tuple[tuple[int, int], ...]) -> Match:
        if len(ranges) == 1:
            return ToPorts(protocol, ranges[0])
        texts = [range_text(str(first), str(last)) for first, last in ranges]
        name = f"port-{digest(texts)}"
        self._constant[name] = NftSet(Kind.PORT, frozenset(texts), interval=True)
        return ToPortSet(protocol, name)

    def _want(self, prefix: str, kind: Kind, wanted: Wanted) -> str:
        name = f"{prefix}{self._family}-{digest(_canonical(wanted))}"
        self._wanted[name] = (kind, self._family, wanted)
        return name


def _merged(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return ranges that cover the same ports, in order, apart from each other."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _canonical(wanted: Wanted) -> object:
    """Return what a want says in an order that does not depend on hashes."""
    if isinstance(wanted, WantedPort):
        return (wanted.protocol.value, wanted.name)
    if isinstance(wanted, WantedNodes):
        return _terms(wanted.nodes)
    return (wanted.namespace, None if wanted.namespaces is None else _terms(wanted.namespaces), _terms(wanted.pods))


def _terms(selector: Selector) -> list[tuple[str, str, list[str]]]:
    return sorted((term.key, term.operator.value, sorted(term.values)) for term in selector.requirements)
