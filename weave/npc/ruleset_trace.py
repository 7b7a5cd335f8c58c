"""What the kernel does with a packet, worked out from the ruleset it was given: the other half of an explanation.

The evaluator says what policy means; this says what the rules do. It reads the data that is rendered for nft, and knows
nothing of policies, so that tests can hold one against the other.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from weave.addresses import IPAddress
from weave.npc.model import Direction, Protocol
from weave.npc.ruleset import (
    Accept,
    Chain,
    Drop,
    End,
    Goto,
    InSet,
    Itself,
    Jump,
    Match,
    NftSet,
    Return,
    Rule,
    Ruleset,
    Tell,
    ToNamed,
    ToPorts,
    ToPortSet,
    map_name,
)


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection, or one of a protocol without ports."""

    source: IPAddress
    destination: IPAddress
    protocol: Protocol | None = None
    port: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules of one direction do."""

    allowed: bool
    profile: str | None = None
    """The chain that its address leads to; None: nothing here governs it."""
    comment: str = ""
    """Of the rule that decided; empty where none did."""
    tags: tuple[str, ...] = ()
    """Of the refusal."""


def trace(rules: Ruleset, packet: Packet, direction: Direction) -> Outcome:
    """Return what one direction's rules do with a packet."""
    address = packet.source if direction is Direction.EGRESS else packet.destination
    profile = rules.dispatch.get(map_name(direction, address.version), {}).get(str(address))
    if profile is None:
        return Outcome(allowed=True)
    decided = _run(rules, rules.chains[profile], packet, ())
    if decided is None:
        return Outcome(allowed=True, profile=profile)
    rule, tags = decided
    return Outcome(not isinstance(rule.verdict, Drop), profile, rule.comment, tags)


def passes(rules: Ruleset, packet: Packet) -> bool:
    """Tell whether a packet comes through both stages."""
    return all(trace(rules, packet, direction).allowed for direction in Direction)


_Decided = tuple[Rule, tuple[str, ...]]


def _run(rules: Ruleset, chain: Chain, packet: Packet, tags: tuple[str, ...]) -> _Decided | None:
    """Return the rule that accepts or drops, with what was told before; None at the end of the chain."""
    assert chain.family == packet.source.version
    for rule in chain.rules:
        if not all(_holds(rules, match, packet) for match in rule.matches):
            continue
        match rule.verdict:
            case Accept() | Drop():
                return rule, tags
            case Return():
                return None
            case Tell(tag):
                tags = (*tags, tag)
            case Goto(name):
                return _run(rules, rules.chains[name], packet, tags)
            case Jump(name):
                decided = _run(rules, rules.chains[name], packet, tags)
                if decided is not None:
                    return decided
    return None


def _holds(rules: Ruleset, match: Match, packet: Packet) -> bool:
    match match:
        case InSet(end, name):
            return _contains(rules.sets[name], packet.source if end is End.SOURCE else packet.destination)
        case ToPorts(protocol, ports):
            return packet.protocol is protocol and (ports is None or ports[0] <= packet.port <= ports[1])
        case ToPortSet(protocol, name):
            return packet.protocol is protocol and any(
                int(first) <= packet.port <= int(last or first)
                for first, _, last in (element.partition("-") for element in rules.sets[name].elements))
        case ToNamed(protocol, name):
            return packet.protocol is protocol \
                and f"{packet.destination} . {packet.port}" in rules.sets[name].elements
        case Itself():
            return packet.source == packet.destination \
                and str(packet.source) in rules.policed[packet.source.version]


def _contains(found: NftSet, address: IPAddress) -> bool:
    if not found.interval:
        return str(address) in found.elements
    return any(_in_range(element, address) for element in found.elements)


def _in_range(element: str, address: IPAddress) -> bool:
    first, _, last = element.partition("-")
    return int(ip_address(first)) <= int(address) <= int(ip_address(last or first))
