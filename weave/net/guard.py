"""Write our nftables tables as JSON, and plan how to get there. Pure.

    table inet weave        set vteps4, vteps6: underlay addresses of the peers we exchange plain VXLAN with
      chain guard (input)   from the bridge: drop · from a vtep: accept · anybody else: drop
      chain passing         (forward) VXLAN from the bridge to elsewhere: drop
      chain untracked       (prerouting) VXLAN from elsewhere, but not from a vtep: no connection tracking, so no NAT
      chain subnets         (forward) by the host from one subnet of containers into another: drop
    table inet weave_nat    only while a subnet is exposed with masquerading, because a NAT chain
      set local4, local6    switches on connection tracking for the whole host
      chain masquerade      to a local container, where those keep their clients' addresses: accept · else as said

Rules carry a comment with a digest of what they say; what a listing shows is compared by comments and set elements,
because the JSON of a rule as listed differs between versions of nft.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import ip_address, ip_network
from json import dumps

from weave.addresses import IPAddress, IPNetwork
from weave.errors import EnvironmentFailure

GUARD_TABLE = "weave"
NAT_TABLE = "weave_nat"
FAMILY = "inet"
VTEPS = {4: "vteps4", 6: "vteps6"}
LOCAL = {4: "local4", 6: "local6"}
_SET_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
PROTOCOL = {4: "ip", 6: "ip6"}
BEFORE_TRACKING = -300
BEFORE_FILTER = -10
SOURCE_NAT = 100
NAT_MARK = "masquerade "
BORROW = {"masquerade": {"flags": "fully-random"}}
"""Two packets that leave at once would else be given one port, and the second be dropped: a query for A and one for
AAAA, whose resolver then waits 5 s (conntrack's race between choosing a port and confirming it)."""

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `comment` is what we know it by."""

    chain: str
    comment: str
    expression: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """One base chain."""

    name: str
    kind: str
    hook: str
    priority: int


@dataclass(frozen=True, slots=True)
class Table:
    """One table of ours as it should be."""

    name: str
    sets: Mapping[str, frozenset[IPAddress]]
    """Names end with the family of what is in it: 4 or 6."""
    chains: tuple[Chain, ...]
    rules: tuple[Rule, ...]

    @property
    def shape(self) -> "Shape":
        """Return what a listing of this table must show."""
        return Shape({name: self.sets[name] for name in sorted(self.sets)},
                     tuple((item.chain, item.comment) for item in self.rules))


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as a listing shows it."""

    sets: Mapping[str, frozenset[IPAddress]]
    rules: tuple[tuple[str, str], ...]
    """Chain and comment of each rule, in order."""


def guard_table(vteps: Iterable[IPAddress], subnets: Iterable[IPNetwork] | None = None, *, bridge: str, mac: str,
                port: int) -> Table:
    """Return the table that drops VXLAN from anybody who is not a peer that may send it in plain.

    It also keeps the host from passing packets between the subnets that it has addresses of on its bridge, which has
    this MAC; None: it may.
    """
    addresses = frozenset(vteps)
    vxlan = match(payload("udp", "dport"), port)
    return Table(
        GUARD_TABLE,
        {name: frozenset(ip for ip in addresses if ip.version == version) for version, name in VTEPS.items()},
        (Chain("guard", "filter", "input", BEFORE_FILTER),
         Chain("passing", "filter", "forward", BEFORE_FILTER),
         Chain("untracked", "filter", "prerouting", BEFORE_TRACKING),
         *([] if subnets is None else [Chain("subnets", "filter", "forward", BEFORE_FILTER)])),
        (
            rule("guard", "VXLAN of containers", match({"meta": {"key": "iifname"}}, bridge), vxlan,
                  *COUNT_AND_DROP),
            *(rule("guard", f"VXLAN of IPv{version} peers", vxlan,
                    match(payload(PROTOCOL[version], "saddr"), f"@{name}"), {"accept": None})
              for version, name in VTEPS.items()),
            rule("guard", "VXLAN of strangers", vxlan, *COUNT_AND_DROP),
            *_as_it_came(vxlan, bridge),
            *([] if subnets is None else _apart(subnets, bridge, mac)),
        ),
    )


def _as_it_came(vxlan: Json, bridge: str) -> list[Rule]:
    """Return the rules by which VXLAN that the host passes on does not come to look like its own.

    What the host lends its address to is from a vtep in the eyes of other hosts. So for our containers it passes no
    VXLAN on, and for nobody does it change the source: a container of docker's then is the stranger to the others that
    it is, and a host that has its way by here is who it was. Only plain VXLAN is judged by where it comes from: what
    comes by WireGuard, ESP (probes too) or the sleeve, or to the mesh, is authenticated by key, so these ports need no
    such rules.
    """
    arrives, leaves = {"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}
    return [
        rule("passing", "VXLAN of containers to other hosts", match(arrives, bridge), match(leaves, bridge, "!="),
             vxlan, *COUNT_AND_DROP),
        *(rule("untracked", f"VXLAN of IPv{version} strangers keeps its source", match(arrives, bridge, "!="), vxlan,
               match(payload(PROTOCOL[version], "saddr"), f"@{name}", "!="), {"notrack": None})
          for version, name in VTEPS.items()),
    ]


def _apart(subnets: Iterable[IPNetwork], bridge: str, mac: str) -> list[Rule]:
    """Return the rules by which the host passes packets from its bridge to its bridge within a subnet only.

    Frames that the bridge itself passes on come by here too where the host filters bridges; they are for the MAC of a
    container, while what the host is to route is for its own.
    """
    routed = (match({"meta": {"key": "iifname"}}, bridge), match({"meta": {"key": "oifname"}}, bridge),
              match(payload("ether", "daddr"), mac))
    within = [
        rule("subnets", f"within {subnet}", *routed, match(payload(PROTOCOL[subnet.version], "saddr"), _prefix(subnet)),
             match(payload(PROTOCOL[subnet.version], "daddr"), _prefix(subnet)), {"accept": None})
        for subnet in sorted(subnets, key=lambda net: (net.version, net))]
    return [*within, rule("subnets", "between subnets", *routed, {"drop": None})]


def nat_table(subnets: Iterable[IPNetwork], *, bridge: str, local: frozenset[IPAddress] | None = None) -> Table | None:
    """Return the table that lends the host's address to these subnets, or None for no subnet.

    Traffic between a subnet and the rest of the world is masqueraded in both directions: containers need no route
    back to where it came from. What goes in to the `local` containers keeps its source: their answers come by here.
    So does what goes from a container to one on another host, whoever else would masquerade it (kube-proxy, which
    takes containers outside its `--cluster-cidr` for strangers): policy over there judges by the source.
    """
    sets = {} if local is None else {
        name: frozenset(ip for ip in local if ip.version == version) for version, name in LOCAL.items()}
    bridge_out = {"meta": {"key": "oifname"}}
    rules: list[Rule] = [
        rule("masquerade", f"keep sources for local {name}", match(bridge_out, bridge),
              match(payload(PROTOCOL[version], "daddr"), f"@{name}"), {"accept": None})
        for version, name in LOCAL.items() if name in sets]
    unconditional = len(rules)
    for subnet in sorted(subnets, key=lambda net: (net.version, net)):
        protocol = PROTOCOL[subnet.version]
        source, destination = payload(protocol, "saddr"), payload(protocol, "daddr")
        inside = _prefix(subnet)
        mark = f"{NAT_MARK}{subnet}"
        rules += [
            rule("masquerade", f"{mark} in, ports at random", match(bridge_out, bridge), match(destination, inside),
                  match(source, inside, "!="), BORROW),
            rule("masquerade", f"{mark} out, ports at random", match(bridge_out, bridge, "!="), match(source, inside),
                  match(destination, inside, "!="), BORROW),
        ]
    if len(rules) == unconditional:
        return None
    chains = [Chain("masquerade", "nat", "postrouting", SOURCE_NAT)]
    if local is not None:
        rules = [_between(subnet, bridge) for subnet in sorted(subnets, key=lambda net: (net.version, net))] + rules
        chains.insert(0, Chain("between", "nat", "postrouting", SOURCE_NAT - 10))
    return Table(NAT_TABLE, sets, tuple(chains), tuple(rules))


def _between(subnet: IPNetwork, bridge: str) -> Rule:
    """Return the rule that settles the source of a connection before anybody masquerades it: as it is."""
    protocol = PROTOCOL[subnet.version]
    source, destination = payload(protocol, "saddr"), payload(protocol, "daddr")
    inside = _prefix(subnet)
    return rule("between", f"keep sources between hosts {subnet}", match({"meta": {"key": "oifname"}}, bridge),
                match(source, inside), match(destination, inside),
                match(destination, f"@{LOCAL[subnet.version]}", "!="),
                {"snat": {"family": protocol, "addr": source}})


def _prefix(subnet: IPNetwork) -> Json:
    return {"prefix": {"addr": str(subnet.network_address), "len": subnet.prefixlen}}


def masqueraded(shape: Shape | None) -> frozenset[IPNetwork]:
    """Return the subnets that a listed table masquerades."""
    comments = () if shape is None else (comment for _, comment in shape.rules)
    found = []
    for comment in comments:
        words = comment.removeprefix(NAT_MARK).split(" ")
        if comment.startswith(NAT_MARK) and len(words) >= 2:
            try:
                found.append(ip_network(words[0]))
            except ValueError:
                continue
    return frozenset(found)


def elements_of(shape: Shape | None) -> frozenset[IPAddress]:
    """Return the addresses in the sets of a listed table."""
    return frozenset() if shape is None else frozenset[IPAddress]().union(*shape.sets.values())


def plan_table(name: str, wanted: Table | None, actual: Shape | None) -> list[Json]:
    """Return the commands of one transaction from what a listing shows (None: no table) to what is wanted."""
    if wanted is None:
        return [] if actual is None else [{"delete": _table(name)}]
    if actual is None or actual.rules != wanted.shape.rules or actual.sets.keys() != wanted.sets.keys():
        return _replace(wanted)
    commands: list[Json] = []
    for key in sorted(wanted.sets):
        commands += _element_commands("delete", name, key, actual.sets[key] - wanted.sets[key])
        commands += _element_commands("add", name, key, wanted.sets[key] - actual.sets[key])
    return commands


def transaction(commands: Sequence[Json]) -> bytes:
    """Return what `nft -j -f -` reads: all of it happens, or nothing."""
    return dumps({"nftables": commands}).encode()


def read_listing(listing: object) -> tuple[Shape, int]:
    """Return what `nft -j list table` shows, and how many packets its rules dropped."""
    sets: dict[str, frozenset[IPAddress]] = {}
    rules: list[tuple[str, str]] = []
    dropped = 0
    try:
        assert isinstance(listing, dict)
        for item in listing["nftables"]:
            if "set" in item:
                sets[item["set"]["name"]] = frozenset(ip_address(word) for word in item["set"].get("elem", ()))
            elif "rule" in item:
                listed = item["rule"]
                rules.append((listed["chain"], listed.get("comment", "")))
                dropped += sum(part["counter"]["packets"] for part in listed["expr"] if "counter" in part)
    except (KeyError, TypeError, ValueError, AssertionError) as exc:
        raise EnvironmentFailure(f"cannot read what nft lists: {exc!r}; install nftables 1.0 or newer") from exc
    return Shape({name: sets[name] for name in sorted(sets)}, tuple(rules)), dropped


def _replace(table: Table) -> list[Json]:
    """Return the commands that put a table in place of whatever bears its name."""
    at = {"family": FAMILY, "table": table.name}
    commands: list[Json] = [{"add": _table(table.name)}, {"delete": _table(table.name)}, {"add": _table(table.name)}]
    for name in sorted(table.sets):
        commands.append({"add": {"set": {**at, "name": name, "type": _SET_TYPE[int(name[-1])]}}})
        commands += _element_commands("add", table.name, name, table.sets[name])
    for chain in table.chains:
        commands.append({"add": {"chain": {**at, "name": chain.name, "type": chain.kind, "hook": chain.hook,
                                           "prio": chain.priority, "policy": "accept"}}})
    for item in table.rules:
        commands.append({"add": {"rule": {**at, "chain": item.chain, "comment": item.comment,
                                          "expr": list(item.expression)}}})
    return commands


def _element_commands(verb: str, table: str, name: str, addresses: Iterable[IPAddress]) -> list[Json]:
    words = [str(ip) for ip in sorted(addresses, key=lambda ip: (ip.version, ip.packed))]
    if not words:
        return []
    return [{verb: {"element": {"family": FAMILY, "table": table, "name": name, "elem": words}}}]


def _table(name: str) -> Json:
    return {"table": {"family": FAMILY, "name": name}}


def rule(chain: str, words: str, *expression: Json) -> Rule:
    """Return a rule that is known by these words and a digest of what it says."""
    digest = blake2s(dumps(expression).encode(), digest_size=4).hexdigest()
    return Rule(chain, f"{words} {digest}", expression)


def payload(protocol: str, field: str) -> Json:
    """Return the expression of a header field."""
    return {"payload": {"protocol": protocol, "field": field}}


def match(left: Json, right: object, operator: str = "==") -> Json:
    """Return the expression of a comparison."""
    return {"match": {"op": operator, "left": left, "right": right}}


COUNT_AND_DROP: tuple[Json, ...] = ({"counter": None}, {"drop": None})
