"""The two kinds of policy, read so that what is not understood fails closed.

NetworkPolicy only ever opens: a peer or port that is unclear matches nothing; a rule with an unknown field opens
nothing; where the pods it governs are unclear it governs all of its namespace and opens nothing.

ClusterNetworkPolicy also denies, and its API says what failing closed is: a rule of which anything is unclear matches
nothing if it accepts, and is a rule that denies everything if it denies or passes. So a `TierRule` with anything
unclear has exactly one peer, the `Unclear`, no ports, and an action that is not `PASS`.
Where the whole policy is unclear (subject, tier, priority) it governs every pod, accepts nothing, and denies what it
denies or passes.

Sentences in `problems` begin with the path of the field and end with what became of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Network, ip_network
from typing import TypeVar

from weave.addresses import IPNetwork
from weave.npc.manifest_fields import (
    Fields,
    ManifestError,
    fields,
    items,
    number,
    only_one,
    quoted,
    require_bounded,
    text,
)
from weave.npc.model import (
    Action,
    AnyPort,
    BlockPeer,
    ClusterPolicy,
    NamedPort,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Port,
    PortRange,
    Protocol,
    Rule,
    Tier,
    TierRule,
    Unclear,
)
from weave.npc.selectors import EVERYTHING, parse_selector

LOWEST_PRIORITY = 1000
MAX_RULE_NAME_CHARACTERS = 100
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
T = TypeVar("T")
_DIRECTIONS = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


# NetworkPolicy

def parse_network_policy(namespace: str, name: str, spec: object) -> NetworkPolicy:
    """Read the spec of a NetworkPolicy; never raises: what is not understood is among the `problems`."""
    problems: list[str] = []
    try:
        require_bounded(spec, "spec")
        read = fields(spec, "spec")
    except ManifestError as exc:
        return NetworkPolicy(namespace, name, EVERYTHING, (), (), (f"{exc}; it isolates all of its namespace.",))
    opens = True
    unknown = sorted(set(read) - {"podSelector", "policyTypes", "ingress", "egress"})
    if unknown:
        opens = False
        problems.append(f"spec has the field {quoted(unknown[0])}, which this version does not know; the policy opens "
                        "nothing.")
    try:
        pods = parse_selector(read.get("podSelector"), "spec.podSelector")
    except ManifestError as exc:
        pods, opens = EVERYTHING, False
        problems.append(f"{exc}; the policy isolates all of its namespace and opens nothing.")
    governed = _governed(read, problems)
    rules = {kind: _rules(read, field, peers, problems) for kind, (field, peers) in _DIRECTIONS.items()
             if kind in governed}
    if not opens:
        rules = dict.fromkeys(rules, ())
    return NetworkPolicy(namespace, name, pods, rules.get("Ingress"), rules.get("Egress"), tuple(problems))


def _governed(read: Fields, problems: list[str]) -> Sequence[str]:
    """Return the directions a policy governs: as it says, else ingress, and egress where it has rules for it."""
    try:
        types = [text(entry, "spec.policyTypes") for entry in items(read.get("policyTypes"), "spec.policyTypes")]
        for kind in types:
            if kind not in _DIRECTIONS:
                raise ManifestError(f"spec.policyTypes has {quoted(kind)}")  # noqa: TRY301 - told like the others
    except ManifestError as exc:
        problems.append(f"{exc}; the policy governs both directions.")
        return tuple(_DIRECTIONS)
    if types:
        return types
    return ("Ingress",) if read.get("egress", []) == [] else ("Ingress", "Egress")


def _rules(read: Fields, field: str, peers: str, problems: list[str]) -> tuple[Rule, ...]:
    where = f"spec.{field}"
    try:
        listed = items(read.get(field), where)
    except ManifestError as exc:
        problems.append(f"{exc}; the policy opens nothing there.")
        return ()
    return tuple(_rule(entry, f"{where}[{index}]", peers, problems) for index, entry in enumerate(listed))


def _rule(value: object, where: str, peers: str, problems: list[str]) -> Rule:
    try:
        read = fields(_something(value, where), where, (peers, "ports"))
        listed_peers = items(read.get(peers), f"{where}.{peers}")
        listed_ports = items(read.get("ports"), f"{where}.ports")
    except ManifestError as exc:
        problems.append(f"{exc}; this rule opens nothing.")
        return Rule((Unclear(str(exc)),), None)
    return Rule(
        peers=_each(listed_peers, f"{where}.{peers}", _peer, "this peer matches nothing", problems),
        ports=_each(listed_ports, f"{where}.ports", _port, "this port matches nothing", problems),
    )


def _each(
    listed: Sequence[object], where: str, parse: Callable[[object, str], T], effect: str, problems: list[str],
) -> tuple[T | Unclear, ...] | None:
    """Read a list of which every item may be unclear; None where it is empty, which means all."""
    found: list[T | Unclear] = []
    for index, entry in enumerate(listed):
        try:
            found.append(parse(_something(entry, f"{where}[{index}]"), f"{where}[{index}]"))
        except ManifestError as exc:
            problems.append(f"{exc}; {effect}.")
            found.append(Unclear(str(exc)))
    return tuple(found) or None


def _something(value: object, where: str) -> object:
    """Refuse an entry of a list that is null: as an object without fields it would mean everything."""
    if value is None:
        raise ManifestError(f"{where} is nothing")
    return value


def _peer(value: object, where: str) -> Peer:
    read = fields(value, where, ("podSelector", "namespaceSelector", "ipBlock"))
    if "ipBlock" in read:
        if len(read) > 1:
            raise ManifestError(f"{where} has ipBlock and a selector; a peer is one of them")
        return _block_peer(read["ipBlock"], f"{where}.ipBlock")
    if not read:
        raise ManifestError(f"{where} has no field that this version knows")
    namespaces = read.get("namespaceSelector")
    return PodPeer(
        namespaces=None if namespaces is None else parse_selector(namespaces, f"{where}.namespaceSelector"),
        pods=parse_selector(read.get("podSelector"), f"{where}.podSelector"),
    )


def _block_peer(value: object, where: str) -> BlockPeer:
    read = fields(value, where, ("cidr", "except"))
    block = _block(read.get("cidr"), f"{where}.cidr")
    excepts = [_block(entry, f"{where}.except[{index}]")
               for index, entry in enumerate(items(read.get("except"), f"{where}.except"))]
    for inner in excepts:
        if inner.version != block.version or not inner.subnet_of(block):  # type: ignore[arg-type]
            raise ManifestError(f"{where}.except has {inner}, which is not within {block}")
    return BlockPeer(block, tuple(sorted(set(excepts), key=lambda one: (int(one.network_address), one.prefixlen))))


def _block(value: object, where: str) -> IPNetwork:
    """Read a block; bits behind the prefix are ignored, as Kubernetes does."""
    written = text(value, where)
    try:
        if "/" not in written:
            raise ValueError("it has no prefix length")  # noqa: TRY301 - told like the others
        block = ip_network(written, strict=False)
    except ValueError as exc:
        raise ManifestError(f"{where} should be a block like 10.0.0.0/8 or fd00::/8, not {quoted(written)}") from exc
    if isinstance(block, IPv6Network) and block.network_address.ipv4_mapped is not None:
        raise ManifestError(f"{where} is an IPv4 block written as IPv6; write it as IPv4")
    return block


def _port(value: object, where: str) -> Port:
    read = fields(value, where, ("protocol", "port", "endPort"))
    protocol = _protocol(read.get("protocol", "TCP"), f"{where}.protocol")
    port = read.get("port")
    if "endPort" in read and (port is None or isinstance(port, str)):
        raise ManifestError(f"{where} has endPort without a port that is a number")
    if port is None:
        return AnyPort(protocol)
    if isinstance(port, str):
        return NamedPort(protocol, _port_name(port, f"{where}.port"))
    first = number(port, f"{where}.port", 1, 65535)
    return PortRange(protocol, first, number(read.get("endPort", first), f"{where}.endPort", first, 65535))


def _protocol(value: object, where: str) -> Protocol:
    try:
        return Protocol(value)
    except ValueError as exc:
        raise ManifestError(f"{where} should be TCP, UDP or SCTP, not {quoted(value)}") from exc


def _port_name(value: object, where: str) -> str:
    name = text(value, where)
    if not _PORT_NAME.fullmatch(name):
        raise ManifestError(f"{where} should be a number or the name of a port, not {quoted(name)}")
    return name


# ClusterNetworkPolicy

def parse_cluster_policy(name: str, spec: object) -> ClusterPolicy:
    """Read the spec of a ClusterNetworkPolicy; never raises: what is not understood is among the `problems`."""
    problems: list[str] = []
    try:
        require_bounded(spec, "spec")
        read = fields(spec, "spec")
    except ManifestError as exc:
        everything = (_deny_all(str(exc)),)
        return ClusterPolicy(name, Tier.ADMIN, 0, EVERYTHING, EVERYTHING, everything, everything,
                             (f"{exc}; it denies everything.",))
    ingress = _tier_rules(read, "ingress", "from", _INGRESS_PEERS, problems)
    egress = _tier_rules(read, "egress", "to", _EGRESS_PEERS, problems)
    try:
        fields(read, "spec", ("tier", "priority", "subject", "ingress", "egress"))
        tier = _tier(read.get("tier"))
        priority = number(read.get("priority"), "spec.priority", 0, LOWEST_PRIORITY)
        subject = _namespaced(read.get("subject"), "spec.subject")
    except ManifestError as exc:
        problems.append(f"{exc}; the policy governs every pod, accepts nothing, and denies what it denies or passes.")
        return ClusterPolicy(name, Tier.ADMIN, 0, EVERYTHING, EVERYTHING, _denying(ingress, str(exc)),
                             _denying(egress, str(exc)), tuple(problems))
    assert subject.namespaces is not None
    return ClusterPolicy(name, tier, priority, subject.namespaces, subject.pods, ingress, egress, tuple(problems))


def _deny_all(reason: str, name: str = "") -> TierRule:
    return TierRule(name, Action.DENY, (Unclear(reason),), None)


def _denying(rules: Sequence[TierRule], reason: str) -> tuple[TierRule, ...]:
    """Return the rules of a policy of which nobody knows where it stands."""
    return tuple(replace(rule, peers=(Unclear(reason),), ports=None) if rule.action is Action.ACCEPT
                 else replace(rule, action=Action.DENY) for rule in rules)


def _tier(value: object) -> Tier:
    try:
        return Tier(value)
    except ValueError as exc:
        raise ManifestError(f"spec.tier should be Admin or Baseline, not {quoted(value)}") from exc


def _tier_rules(
    read: Fields, field: str, peers: str, kinds: Sequence[str], problems: list[str],
) -> tuple[TierRule, ...]:
    where = f"spec.{field}"
    try:
        listed = items(read.get(field), where)
    except ManifestError as exc:
        problems.append(f"{exc}; the policy denies everything there.")
        return (_deny_all(str(exc)),)
    return tuple(_tier_rule(entry, f"{where}[{index}]", peers, kinds, problems) for index, entry in enumerate(listed))


def _tier_rule(value: object, where: str, peers: str, kinds: Sequence[str], problems: list[str]) -> TierRule:
    name, action = "", None
    try:
        read = fields(value, where)
        name = _rule_name(read.get("name"))
        action = _action(read.get("action"), f"{where}.action")
        fields(value, where, ("name", "action", peers, "protocols"))
        return TierRule(name, action, _tier_peers(read.get(peers), f"{where}.{peers}", kinds),
                        _tier_ports(read, peers, where))
    except ManifestError as exc:
        if action is Action.ACCEPT:
            problems.append(f"{exc}; this rule accepts nothing.")
            return TierRule(name, Action.ACCEPT, (Unclear(str(exc)),), None)
        problems.append(f"{exc}; this rule denies everything.")
        return _deny_all(str(exc), name)


def _rule_name(value: object) -> str:
    """Return the name of a rule, which is for people alone, as far as it can be printed."""
    words = value if isinstance(value, str) else ""
    return "".join(letter for letter in words[:MAX_RULE_NAME_CHARACTERS] if letter.isprintable())


def _action(value: object, where: str) -> Action:
    try:
        return Action(value)
    except ValueError as exc:
        raise ManifestError(f"{where} should be Accept, Deny or Pass, not {quoted(value)}") from exc


_INGRESS_PEERS = ("namespaces", "pods")
_EGRESS_PEERS = ("namespaces", "pods", "nodes", "networks", "domainNames")


def _tier_peers(value: object, where: str, kinds: Sequence[str]) -> tuple[Peer, ...]:
    listed = items(value, where)
    if not listed:
        raise ManifestError(f"{where} should name at least one peer")
    return tuple(peer for index, entry in enumerate(listed) for peer in _tier_peer(entry, f"{where}[{index}]", kinds))


def _tier_peer(value: object, where: str, kinds: Sequence[str]) -> Sequence[Peer]:
    kind, inner = only_one(value, where, kinds)
    match kind:
        case "nodes":
            return [NodePeer(parse_selector(inner, f"{where}.nodes"))]
        case "networks":
            blocks = items(inner, f"{where}.networks")
            if not blocks:
                raise ManifestError(f"{where}.networks should name at least one block")
            return [BlockPeer(_block(entry, f"{where}.networks")) for entry in blocks]
        case "domainNames":
            raise ManifestError(f"{where} has domainNames, which this version does not support")
        case _:
            return [_namespaced(value, where)]


def _namespaced(value: object, where: str) -> PodPeer:
    """Read pods by namespace, or by namespace and pod: of peers, and of the subject."""
    kind, inner = only_one(value, where, ("namespaces", "pods"))
    if kind == "namespaces":
        return PodPeer(parse_selector(inner, f"{where}.namespaces"), EVERYTHING)
    pods = fields(inner, f"{where}.pods", ("namespaceSelector", "podSelector"))
    if "podSelector" not in pods:
        raise ManifestError(f"{where}.pods has no podSelector")
    return PodPeer(parse_selector(pods.get("namespaceSelector"), f"{where}.pods.namespaceSelector"),
                   parse_selector(pods["podSelector"], f"{where}.pods.podSelector"))


def _tier_ports(read: Mapping[str, object], peers: str, where: str) -> tuple[Port, ...] | None:
    if "protocols" not in read:
        return None
    listed = items(read["protocols"], f"{where}.protocols")
    if not listed:
        raise ManifestError(f"{where}.protocols should name at least one protocol, or be absent")
    ports = tuple(_tier_port(entry, f"{where}.protocols[{index}]") for index, entry in enumerate(listed))
    if any(isinstance(port, NamedPort) for port in ports) and not _are_pods(read[peers]):
        raise ManifestError(f"{where} names a port of peers that are no pods")
    return ports


def _are_pods(peers: object) -> bool:
    assert isinstance(peers, Sequence)
    return all(peer.keys() <= {"namespaces", "pods"} for peer in peers)


def _tier_port(value: object, where: str) -> Port:
    kind, inner = only_one(value, where, ("tcp", "udp", "sctp", "destinationNamedPort"))
    if kind == "destinationNamedPort":
        return NamedPort(None, _port_name(inner, f"{where}.destinationNamedPort"))
    _, port = only_one(inner, f"{where}.{kind}", ("destinationPort",))
    which, limits = only_one(port, f"{where}.{kind}.destinationPort", ("number", "range"))
    where = f"{where}.{kind}.destinationPort.{which}"
    protocol = Protocol(kind.upper())
    if which == "number":
        only = number(limits, where, 1, 65535)
        return PortRange(protocol, only, only)
    ends = fields(limits, where, ("start", "end"))
    first = number(ends.get("start"), f"{where}.start", 1, 65535)
    return PortRange(protocol, first, number(ends.get("end"), f"{where}.end", first, 65535))
