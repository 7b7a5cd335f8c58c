"""A kernel that judges by a ruleset: what nft would do with it, in the fewest words. Reads data only."""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

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
    map_name,
)


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection, or of a protocol without ports."""

    source: IPAddress
    destination: IPAddress
    protocol: Protocol | None = None
    port: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether both stages let it through; else who refused it."""

    allowed: bool
    tags: tuple[str, ...] = ()


def judge(rules: Ruleset, packet: Packet) -> Outcome:
    """Return what the kernel does."""
    for direction, address in ((Direction.EGRESS, packet.source), (Direction.INGRESS, packet.destination)):
        chain = rules.dispatch[map_name(direction, address.version)].get(str(address))
        told: list[str] = []
        if chain is not None and _run(rules, rules.chains[chain], packet, told) is False:
            return Outcome(allowed=False, tags=tuple(told))
    return Outcome(allowed=True)


def _run(rules: Ruleset, chain: Chain, packet: Packet, told: list[str]) -> bool | None:
    """Return accept, drop, or None for the end of the chain."""
    assert chain.family == packet.source.version
    for rule in chain.rules:
        if not _matches(rules, rule, packet):
            continue
        match rule.verdict:
            case Accept():
                return True
            case Drop():
                return False
            case Return():
                return None
            case Jump(name):
                decided = _run(rules, rules.chains[name], packet, told)
                if decided is not None:
                    return decided
            case Goto(name):
                return _run(rules, rules.chains[name], packet, told)
            case Tell(tag):
                told.append(tag)
    return None


def _matches(rules: Ruleset, rule: Rule, packet: Packet) -> bool:
    return all(_match(rules, match, packet) for match in rule.matches)


def _match(rules: Ruleset, match: Match, packet: Packet) -> bool:
    match match:
        case InSet(end, name):
            return _holds(rules.sets[name], packet.source if end is End.SOURCE else packet.destination)
        case ToPorts(protocol, None):
            return packet.protocol is protocol
        case ToPorts(protocol, ranges):
            assert ranges is not None
            return packet.protocol is protocol and any(first <= packet.port <= last for first, last in ranges)
        case ToNamed(protocol, name):
            return packet.protocol is protocol \
                and f"{packet.destination} . {packet.port}" in rules.sets[name].elements
        case Itself():
            return packet.source == packet.destination \
                and str(packet.source) in rules.policed[packet.source.version]


def _holds(found: NftSet, address: IPAddress) -> bool:
    if not found.interval:
        return str(address) in found.elements
    return any(_in_range(element, address) for element in found.elements)


def _in_range(element: str, address: IPAddress) -> bool:
    if "/" in element:
        return address in ip_network(element)
    first, _, last = element.partition("-")
    return int(ip_address(first)) <= int(address) <= int(ip_address(last or first))
