"""A ruleset in the words of nft. Pure.

    table inet weave-npc      hook forward  stage egress   the source's profile  ─┐ each may drop; accept means
                                            stage ingress  the destination's     ─┘ "not here": the next stage looks
                              hook input    as egress: a pod that talks to its own host
    table bridge weave-npc    who may send and receive at all, port by port (`admission`)

Every packet is judged, not only the first of a connection, and always by how its connection began: `ct original`
is who opened it, `ct reply ... saddr` whom it really reached, behind any service address. So replies pass with what
they answer, and a connection that a new policy forbids ends with its next packet, whichever way that goes.

Names here are digests or ours; texts from outside reach nft in comments alone, which `_quoted` strips.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from weave.npc.blocks import range_text
from weave.npc.model import Direction
from weave.npc.ruleset import (
    ADDRESS,
    FAMILIES,
    PAIR,
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
    Verdict,
    admitted_name,
    itself_name,
    map_name,
)
from weave.npc.ruleset_change import ADMISSION_TABLE, POLICY_TABLE, Change, Element, Table, pairs

REPORT_GROUP = 6781
"""Of NFLOG: where the kernel reports refused packets; the number of our metrics port, so that nobody shares it."""
REPORT_BYTES = 128
REPORTS_PER_S = 50
"""For each reason; the counters count the rest."""
BEFORE_FILTER = -10
BEFORE_BRIDGE_NAT = -310
COMMENT_CHARACTERS = 100
"""nft takes 128 octets."""
_PROTOCOL = {4: "ip", 6: "ip6"}
_NEIGHBOURS = "{ 130, 131, 132, 133, 135, 136, 143 }"
"""Listener reports and queries, router and neighbour solicitation, neighbour advertisement (RFC 4861, RFC 3810).

What an advertisement may say is judged by the router, at the port of who sends it (weave/net/port_guard.py).
"""
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:, ")


def full_text(ruleset: Ruleset, *, bridge: str, ports: str, multicast: bool) -> str:
    """Return what replaces both tables, whatever they hold, in one transaction.

    `bridge` is the name of the bridge, `ports` the beginning of the names of the containers' ports.
    """
    lines = [line for table in (POLICY_TABLE, ADMISSION_TABLE) for line in _afresh(table)]
    lines += _policy_base(ruleset, bridge, multicast=multicast)
    lines += _sets(ruleset.sets)
    lines += _chains(ruleset.chains)
    for direction in Direction:
        for family in FAMILIES:
            name = map_name(direction, family)
            lines += _elements("add", POLICY_TABLE, name,
                               (f"{key} : goto {chain}" for key, chain in ruleset.dispatch.get(name, {}).items()))
    lines += _admission(ruleset, ports, multicast=multicast)
    return "\n".join(lines) + "\n"


def report_text() -> str:
    """Return what only a kernel that can report packets takes."""
    return f"add table inet weave-npc-try\nadd chain inet weave-npc-try tell\n" \
           f"add rule inet weave-npc-try tell {_verdict(Tell('try'))}\n"


def without_reports(ruleset: Ruleset) -> Ruleset:
    """Return the same rules for a kernel that cannot report packets: it counts them alone."""
    chains = {name: replace(chain, rules=tuple(rule for rule in chain.rules if not isinstance(rule.verdict, Tell)))
              for name, chain in ruleset.chains.items()}
    return replace(ruleset, chains=chains)


def empty_text() -> str:
    """Return what removes both tables."""
    return "\n".join(f"{verb} table {_at(table)}" for table in (POLICY_TABLE, ADMISSION_TABLE)
                     for verb in ("add", "delete")) + "\n"


def change_text(change: Change) -> str:
    """Return a change as one transaction."""
    lines = [*_sets(change.sets), *_chains(change.chains)]
    lines += [line for verb, elements in (("delete", change.removed), ("add", change.added))
              for line in _grouped(verb, elements)]
    lines += [f"delete chain {_at(POLICY_TABLE)} {name}" for name in change.dead_chains]
    lines += [f"delete set {_at(POLICY_TABLE)} {name}" for name in change.dead_sets]
    return "\n".join(lines) + "\n"


def _afresh(table: Table) -> list[str]:
    return [f"add table {_at(table)}", f"delete table {_at(table)}", f"add table {_at(table)}"]


def _policy_base(ruleset: Ruleset, bridge: str, *, multicast: bool) -> Iterator[str]:
    at = _at(POLICY_TABLE)
    for name in ("refused-egress", "refused-ingress", "strays"):
        yield f"add counter {at} {name}"
    for family in FAMILIES:
        yield f"add set {at} {itself_name(family)} {{ type {PAIR[family].value}; }}"
        yield from _elements("add", POLICY_TABLE, itself_name(family),
                             pairs(ruleset.policed.get(family, frozenset())))
        for direction in Direction:
            yield f"add map {at} {map_name(direction, family)} {{ type {ADDRESS[family].value} : verdict; }}"
    yield f"add chain {at} strays"
    for protocol in ("ip", "ip6"):
        family = 4 if protocol == "ip" else 6
        for end in ("saddr", "daddr"):
            yield f"add rule {at} strays {protocol} {end} . {protocol} {end} @{itself_name(family)} " \
                  "counter name strays drop"
    for name, hook, order, direction in (
            ("egress", "forward", 0, Direction.EGRESS), ("ingress", "forward", 1, Direction.INGRESS),
            ("host", "input", 0, Direction.EGRESS)):
        yield f"add chain {at} stage-{name} {{ type filter hook {hook} priority {BEFORE_FILTER + order}; }}"
        yield f"add rule {at} stage-{name} icmpv6 type {_NEIGHBOURS} accept"
        if direction is Direction.EGRESS:
            yield from _multicast(f"{at} stage-{name}", bridge, multicast=multicast)
            yield f"add rule {at} stage-{name} ct state invalid,untracked jump strays"
        yield f"add rule {at} stage-{name} ct state related meta l4proto {{ icmp, icmpv6 }} accept"
        side = _side(End.SOURCE if direction is Direction.EGRESS else End.DESTINATION)
        for family in FAMILIES:
            yield f"add rule {at} stage-{name} {side.format(_PROTOCOL[family])} vmap @{map_name(direction, family)}"


def _multicast(chain: str, bridge: str, *, multicast: bool) -> Iterator[str]:
    """Multicast has no pod as destination: it is open or closed as a whole."""
    for family in FAMILIES:
        yield f"add rule {chain} iifname {_quoted(bridge)} {_PROTOCOL[family]} daddr {_MULTICAST[family]} " + (
            "accept" if multicast else "counter name strays drop")


def _admission(ruleset: Ruleset, ports: str, *, multicast: bool) -> Iterator[str]:
    """Only IP and ARP pass, only from and to addresses that were admitted; other protocols know no policy."""
    at = _at(ADMISSION_TABLE)
    port = f"{_quoted(ports)[:-1]}*\""
    yield f"add counter {at} strays"
    for family in FAMILIES:
        yield f"add set {at} {admitted_name(family)} {{ type {ADDRESS[family].value}; }}"
        yield from _elements("add", ADMISSION_TABLE, admitted_name(family),
                             ruleset.admitted.get(family, frozenset()))
    for name, hook, device, end in (("sending", "prerouting", "iifname", "saddr"),
                                    ("receiving", "forward", "oifname", "daddr")):
        yield f"add chain {at} {name}-port"
        rule = f"add rule {at} {name}-port"
        yield f"{rule} ether type arp accept"
        for family in FAMILIES:
            yield f"{rule} ether type {_PROTOCOL[family]} {_PROTOCOL[family]} {end} @{admitted_name(family)} accept"
        yield f"{rule} ether type ip6 icmpv6 type {_NEIGHBOURS} accept"
        if multicast:
            source = "ip6 saddr fe80::/10 " if end == "saddr" else ""
            yield f"{rule} ether type ip6 {source}ip6 daddr {_MULTICAST[6]} accept"
        if multicast and end == "daddr":
            yield f"{rule} ether type ip ip daddr {{ {_MULTICAST[4]}, 255.255.255.255 }} accept"
        yield f"{rule} counter name strays drop"
        yield f"add chain {at} {name} {{ type filter hook {hook} priority {BEFORE_BRIDGE_NAT}; }}"
        yield f"add rule {at} {name} {device} {port} goto {name}-port"


def _sets(sets: Mapping[str, NftSet]) -> Iterator[str]:
    for name, wanted in sets.items():
        flags = "flags interval; " if wanted.interval else ""
        yield f"add set {_at(POLICY_TABLE)} {name} {{ type {wanted.kind.value}; {flags}}}"
        yield from _elements("add", POLICY_TABLE, name, wanted.elements)


def _chains(chains: Mapping[str, Chain]) -> Iterator[str]:
    for name, chain in chains.items():
        yield f"add chain {_at(POLICY_TABLE)} {name}"
        for rule in chain.rules:
            yield f"add rule {_at(POLICY_TABLE)} {name} {rule_text(rule, chain.family)}"


def rule_text(rule: Rule, family: int) -> str:
    """Return one rule as nft reads it."""
    words = [_match(match, family) for match in rule.matches]
    words.append(_verdict(rule.verdict))
    if rule.comment:
        words.append(f"comment {_quoted(rule.comment)}")
    return " ".join(words)


def _match(match: Match, family: int) -> str:
    reached = _side(End.DESTINATION).format(_PROTOCOL[family])
    match match:
        case InSet(end, name):
            return f"{_side(end).format(_PROTOCOL[family])} @{name}"
        case ToPorts(protocol, None):
            return f"meta l4proto {protocol.value.lower()}"
        case ToPorts(protocol, ports):
            assert ports is not None
            return f"meta l4proto {protocol.value.lower()} ct reply proto-src {range_text(*map(str, ports))}"
        case ToPortSet(protocol, name):
            return f"meta l4proto {protocol.value.lower()} ct reply proto-src @{name}"
        case ToNamed(protocol, name):
            return f"meta l4proto {protocol.value.lower()} {reached} . ct reply proto-src @{name}"
        case Itself():
            return f"{_side(End.SOURCE).format(_PROTOCOL[family])} . {reached} @{itself_name(family)}"
        case never:
            assert_never(never)


def _verdict(verdict: Verdict) -> str:
    match verdict:
        case Accept():
            return "accept"
        case Return():
            return "return"
        case Jump(chain):
            return f"jump {chain}"
        case Goto(chain):
            return f"goto {chain}"
        case Tell(tag):
            return f"limit rate {REPORTS_PER_S}/second burst {REPORTS_PER_S} packets " \
                   f"log prefix {_quoted(tag)} group {REPORT_GROUP} snaplen {REPORT_BYTES}"
        case Drop(direction):
            return f"counter name refused-{direction.value} drop"
        case never:
            assert_never(never)


def _side(end: End) -> str:
    """Return how nft names an end of the connection that a packet belongs to, but for the family."""
    return "ct original {} saddr" if end is End.SOURCE else "ct reply {} saddr"


def _grouped(verb: str, elements: Iterable[Element]) -> Iterator[str]:
    groups: dict[tuple[Table, str], list[str]] = {}
    for element in elements:
        suffix = "" if element.chain is None else f" : goto {element.chain}"
        groups.setdefault((element.table, element.name), []).append(element.key + suffix)
    for (table, name), keys in groups.items():
        yield from _elements(verb, table, name, keys)


def _elements(verb: str, table: Table, name: str, elements: Iterable[str]) -> Iterator[str]:
    words = ", ".join(sorted(elements))
    if words:
        yield f"{verb} element {_at(table)} {name} {{ {words} }}"


def _at(table: Table) -> str:
    return " ".join(table)


def _quoted(words: str) -> str:
    kept = "".join(letter if letter in SAFE else "?" for letter in words[:COMMENT_CHARACTERS])
    return f'"{kept}"'
