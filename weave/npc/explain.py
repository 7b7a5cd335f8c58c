"""Why one connection is allowed or denied, in words a user of the cluster understands, and as JSON. Pure.

JSON: `{"source", "destination", "protocol", "port", "allowed", "egress": D, "ingress": D}`; an end is `{"pod",
"address"}`; D is `{"allowed", "findings": [{"stage", "verdict", "policies", "rule", "rule_name", "reason"}],
"problems": [{"policy", "problem"}]}`. `verdict` is accept, deny or next, `rule` counts from 0 as in the manifest.
"""

from collections.abc import Iterator

from weave.addresses import parse_address
from weave.errors import LocalError
from weave.npc.evaluator import (
    Connection,
    Decision,
    End,
    Finding,
    Judgement,
    Policies,
    Stage,
    end_of,
    judge,
    rules_of,
    tier_rules_of,
)
from weave.npc.manifest import DEFAULT_NAMESPACE
from weave.npc.model import (
    AnyPort,
    BlockPeer,
    Direction,
    Key,
    NamedPort,
    NodePeer,
    Peer,
    PodPeer,
    Port,
    PortRange,
    Protocol,
    Rule,
    TierRule,
    Unclear,
)
from weave.npc.selectors import describe

LAST_PORT = 65535
CLUSTER_STAGES = (Stage.ADMIN, Stage.BASELINE)
PREPOSITIONS = {Direction.EGRESS: "to", Direction.INGRESS: "from"}


# What a person means

def find_ends(policies: Policies, source: str, destination: str) -> tuple[End, End]:
    """Return the ends that two words mean (`namespace/pod`, a pod of the default namespace, an address).

    Where hosts without Kubernetes have containers of one name, it means the one of this host (see `placement`).
    Two pods meet over a family that both have, IPv4 first; a pod meets an address over the address's family.
    """
    found = [_find(policies, word) for word in (source, destination)]
    families = [_families(end) for end in found]
    shared = families[0] & families[1]
    if not shared and all(families):
        raise LocalError(f"{source} and {destination} have no address family in common, so they cannot talk")
    family = min(shared or families[0] | families[1], default=4)
    one, other = (end if end.pod is None or end.address is not None else end_of(end.pod, family) for end in found)
    return one, other


def _find(policies: Policies, word: str) -> End:
    namespace, slash, name = word.rpartition("/")
    key = Key(namespace if slash else DEFAULT_NAMESPACE, name)
    pod = policies.cluster.pods.get(key)
    if pod is not None:
        return End(None, pod)
    alike = sorted(str(other) for other in policies.cluster.pods
                   if other.namespace == key.namespace and other.name.startswith(f"{name}@"))
    if alike:
        raise LocalError(f"there is no pod {word}, but on several hosts {', '.join(alike)}; say which")
    if slash:
        raise LocalError(f"there is no pod {word}; `weave policy table` lists those that are known")
    try:
        return policies.end(parse_address(word))
    except LocalError as exc:
        raise LocalError(f"{word} is neither a pod of namespace {DEFAULT_NAMESPACE} nor an IP address; write a pod as "
                         "NAMESPACE/POD") from exc


def _families(end: End) -> set[int]:
    if end.address is not None:
        return {end.address.version}
    return set() if end.pod is None else {address.version for address in end.pod.addresses}


def parse_port(words: str) -> tuple[Protocol | None, int]:
    """Return the transport and port that a person typed: `tcp/80`, `53/udp`, `80` (TCP), `icmp`."""
    first, _, second = words.lower().partition("/")
    if first == "icmp" and not second:
        return None, 0
    number, name = (first, second or "tcp") if first.isdecimal() else (second, first)
    if name.upper() not in Protocol.__members__ or not number.isdecimal() or not 0 < int(number) <= LAST_PORT:
        raise LocalError(f"{words!r} is no port; write it like tcp/80, udp/53, sctp/9000 or icmp")
    return Protocol(name.upper()), int(number)


# Words

def trace_text(policies: Policies, connection: Connection) -> str:
    """Return what decides about a connection, direction by direction."""
    verdict = judge(policies, connection)
    head = (f"{_end(connection.source)} → {_end(connection.destination)}, {_port_words(connection)}: "
            f"{_allowed(verdict.allowed)}")
    lines = [head]
    for decision, end in ((verdict.egress, connection.source), (verdict.ingress, connection.destination)):
        lines += ["", f"{decision.direction.value} of {_end(end)}: {_allowed(decision.allowed)}"]
        lines += [f"  {words}" for words in _decision_words(policies, decision)]
    return "\n".join(lines)


def denial(policies: Policies, connection: Connection) -> str:
    """Return in one line what denies a connection; empty where it is allowed."""
    verdict = judge(policies, connection)
    for decision, end in ((verdict.egress, connection.source), (verdict.ingress, connection.destination)):
        if not decision.allowed:
            words = "; ".join(line.strip() for line in _decision_words(policies, decision))
            return f"{decision.direction.value} of {_end(end)} is denied: {words}"
    return ""


def _end(end: End) -> str:
    if end.pod is None:
        return str(end.address)
    name = f"{end.pod.namespace}/{end.pod.name}"
    return f"{name} ({end.address})" if end.address is not None else f"{name} (no address yet)"


def _allowed(allowed: bool) -> str:
    return "allowed" if allowed else "denied"


def _port_words(connection: Connection) -> str:
    return "icmp" if connection.protocol is None else f"{connection.protocol.value.lower()}/{connection.port}"


def _decision_words(policies: Policies, decision: Decision) -> Iterator[str]:
    for finding in decision.findings:
        yield from _finding_words(policies, decision.direction, finding)
    for name, problem in _problems(policies, decision):
        yield f"! {name}: {problem}"


def _finding_words(policies: Policies, direction: Direction, finding: Finding) -> Iterator[str]:
    match finding:
        case Finding(stage=Stage.EXEMPT, judgement=Judgement.ACCEPT, reason=reason):
            yield f"{reason}"
        case Finding(stage=Stage.DEFAULT):
            yield "no policy decides: everything is allowed"
        case Finding(stage=stage, policies=(name,), rule=int(number)) if stage in CLUSTER_STAGES:
            verb = {Judgement.ACCEPT: "accepts", Judgement.DENY: "denies", Judgement.NEXT: "passes"}[finding.judgement]
            title = f" {finding.rule_name!r}" if finding.rule_name else ""
            rule = tier_rules_of(policies.cluster.cluster_policies[name], direction)[number]
            yield f"{stage.value}: ClusterNetworkPolicy {name} {verb} it, {direction.value}[{number}]{title}"
            yield f"  {_rule_words(rule, direction)}"
        case Finding(stage=stage) if stage in CLUSTER_STAGES:
            yield f"{stage.value}: no rule matches"
        case Finding(judgement=Judgement.ACCEPT, policies=(name,), rule=int(number)):
            rules = rules_of(policies.cluster.policies[_key(name)], direction)
            assert rules is not None
            yield f"NetworkPolicy {name} opens it, {direction.value}[{number}]"
            yield f"  {_rule_words(rules[number], direction)}"
        case Finding(judgement=Judgement.DENY, policies=names):
            whose = "it" if len(names) == 1 else "them"
            yield f"isolated by NetworkPolicy {', '.join(names)}; no rule of {whose} opens it"
        case Finding(stage=Stage.POLICY):
            yield "NetworkPolicy: none selects this pod"


def _key(name: str) -> Key:
    namespace, _, own = name.partition("/")
    return Key(namespace, own)


def _rule_words(rule: Rule | TierRule, direction: Direction) -> str:
    peers = "everybody" if rule.peers is None else ", or ".join(map(_peer_words, rule.peers))
    ports = "every port" if rule.ports is None else ", ".join(map(_wanted_port, rule.ports))
    return f"{PREPOSITIONS[direction]} {peers}; {ports}"


def _peer_words(peer: Peer) -> str:
    match peer:
        case PodPeer(namespaces, pods):
            which = f"pods {describe(pods)}" if pods.requirements else "all pods"
            if namespaces is None:
                return f"{which} of its namespace"
            return f"{which} of namespaces {describe(namespaces)}" if namespaces.requirements else (
                f"{which} of all namespaces")
        case BlockPeer(block, excepts):
            return f"{block}" + (f" except {', '.join(map(str, excepts))}" if excepts else "")
        case NodePeer(nodes):
            return f"nodes {describe(nodes)}" if nodes.requirements else "all nodes"
        case Unclear(reason):
            return f"something unclear ({reason})"


def _wanted_port(port: Port | Unclear) -> str:
    match port:
        case AnyPort(protocol):
            return f"every {protocol.value} port"
        case PortRange(protocol, first, last):
            return f"{protocol.value.lower()}/{first}" + ("" if first == last else f"-{last}")
        case NamedPort(protocol, name):
            return f"the port named {name}" + ("" if protocol is None else f" ({protocol.value})")
        case Unclear(reason):
            return f"something unclear ({reason})"


def _problems(policies: Policies, decision: Decision) -> Iterator[tuple[str, str]]:
    """Yield what is unclear in the policies that had a say."""
    for finding in decision.findings:
        for name in finding.policies:
            found = (policies.cluster.cluster_policies[name] if finding.stage in CLUSTER_STAGES
                     else policies.cluster.policies[_key(name)])
            for problem in found.problems:
                yield name, problem


# JSON

def trace_json(policies: Policies, connection: Connection) -> dict[str, object]:
    """Return what decides about a connection, for programs."""
    verdict = judge(policies, connection)
    return {
        "source": _end_json(connection.source), "destination": _end_json(connection.destination),
        "protocol": connection.protocol.value if connection.protocol else None, "port": connection.port,
        "allowed": verdict.allowed, "egress": _decision_json(policies, verdict.egress),
        "ingress": _decision_json(policies, verdict.ingress),
    }


def _end_json(end: End) -> object:
    return {"pod": None if end.pod is None else f"{end.pod.namespace}/{end.pod.name}",
            "address": None if end.address is None else str(end.address)}


def _decision_json(policies: Policies, decision: Decision) -> object:
    return {"allowed": decision.allowed,
            "findings": [{"stage": finding.stage.value, "verdict": finding.judgement.value,
                          "policies": list(finding.policies), "rule": finding.rule, "rule_name": finding.rule_name,
                          "reason": finding.reason} for finding in decision.findings],
            "problems": [{"policy": name, "problem": problem} for name, problem in _problems(policies, decision)]}
