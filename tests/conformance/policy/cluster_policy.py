"""The conformance list of ClusterNetworkPolicy (v1alpha2): 24 tests, 92 sub-tests, each a step.

Four namespaces, named after houses, of two pods each, and nodes with pods of their network. What must happen is written
as those tests say it, not computed. The tests of one tier and direction are one shape, told by a `Layout`.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

from tests.conformance.policy.build import NAME, Json, labels, pod, policy, world
from tests.conformance.policy.case import Case, Id, Manifest, Probe, Step, World

HOUSES = {"gryffindor": "harry-potter", "slytherin": "draco-malfoy", "hufflepuff": "cedric-diggory",
          "ravenclaw": "luna-lovegood"}
PORTS = {"TCP": (80, 8080), "UDP": (53, 5353), "SCTP": (9003, 9005)}
NAMES = {("TCP", 80): "web", ("UDP", 53): "dns"}
FOREST = "forbidden-forrest"
HOST_PORTS = [("TCP", 36363), ("TCP", 36364), ("UDP", 34345), ("UDP", 34346), ("SCTP", 9003)]
VERSION = "policy.networking.k8s.io/v1alpha2"
EVERYWHERE: Json = {"networks": ["0.0.0.0/0", "::/0"]}
TIERS = ("Admin", "Baseline")
DIRECTIONS = {"egress": "to", "ingress": "from"}


def house_pod(house: str, index: int) -> str:
    return f"{house}/{HOUSES[house]}-{index}"


def address(house: str, index: int) -> str:
    return f"10.32.1.{10 * list(HOUSES).index(house) + index + 1}"


def start() -> World:
    """Return the houses and the forest before any policy."""
    spaces = [{"apiVersion": "v1", "kind": "Namespace",
               "metadata": {"name": house, "labels": {NAME: house, "conformance-house": house}}}
              for house in (*HOUSES, FOREST)]
    ports = [(protocol, port) for protocol, pair in PORTS.items() for port in pair]
    pods = [pod(house_pod(house, index), address(house, index), {"conformance-house": house}, ports, NAMES)
            for house in HOUSES for index in (0, 1)]
    nodes, forest = [], []
    for index in (0, 1):
        own = f"192.0.2.{index + 1}"
        nodes.append({"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": f"node-{index}", "labels": {"kubernetes.io/os": "linux"}},
            "status": {"addresses": [{"type": "InternalIP", "address": own}]}})
        centaur = deepcopy(dict(pod(f"{FOREST}/centaur-{index}", own, {"conformance-house": FOREST}, HOST_PORTS, {})))
        centaur["spec"].update(hostNetwork=True, nodeName=f"node-{index}")
        forest.append(centaur)
    return world(*spaces, *pods, *nodes, *forest)


def cluster_policy(name: str, tier: str, subject: Json, priority: int = 10, **rules: Sequence[Json]) -> Json:
    return {"apiVersion": VERSION, "kind": "ClusterNetworkPolicy", "metadata": {"name": name},
            "spec": {"tier": tier, "priority": priority, "subject": subject,
                     **{direction: list(listed) for direction, listed in rules.items()}}}


def in_house(house: str) -> Json:
    return {"namespaces": {"matchLabels": {NAME: house}}}


def of_house(house: str) -> Json:
    selector = labels(**{"conformance-house": house})
    return {"pods": {"namespaceSelector": selector, "podSelector": selector}}


def number(protocol: str, port: int) -> Json:
    return {protocol.lower(): {"destinationPort": {"number": port}}}


def poke(client: str, server: str, protocol: str, port: int, allowed: bool) -> dict[Probe, bool]:
    return {Probe(client, server, protocol, port): allowed}


@dataclass(frozen=True, slots=True)
class Layout:
    """Which house a test governs, which one it treats as a whole, and which by port; slytherin is denied some ports."""

    subject: str
    whole: str
    by_port: str
    denied: Mapping[str, int]
    """Per protocol the port that slytherin is denied."""
    accepted: Mapping[str, int]
    """Per protocol the port at which the other house is accepted."""


LAYOUTS = {
    ("egress", "TCP"): Layout("gryffindor", "ravenclaw", "hufflepuff", {"TCP": 80}, {"TCP": 8080}),
    ("egress", "UDP"): Layout("hufflepuff", "ravenclaw", "gryffindor", {"UDP": 5353}, {"UDP": 53}),
    ("egress", "SCTP"): Layout("ravenclaw", "gryffindor", "hufflepuff", {"SCTP": 9003}, {"SCTP": 9003}),
    ("ingress", "TCP"): Layout("gryffindor", "ravenclaw", "hufflepuff", {"TCP": 80}, {"TCP": 80}),
    ("ingress", "UDP"): Layout("hufflepuff", "ravenclaw", "gryffindor", {"UDP": 5353}, {"UDP": 53}),
    ("ingress", "SCTP"): Layout("ravenclaw", "gryffindor", "hufflepuff", {"SCTP": 9003}, {"SCTP": 9003}),
    ("egress", "gress"): Layout("gryffindor", "ravenclaw", "hufflepuff", {"TCP": 80, "UDP": 53, "SCTP": 9003},
                                {"TCP": 8080, "UDP": 5353, "SCTP": 9003}),
    ("ingress", "gress"): Layout("gryffindor", "ravenclaw", "hufflepuff", {"TCP": 80, "UDP": 53, "SCTP": 9003},
                                 {"TCP": 80, "UDP": 5353, "SCTP": 9003}),
}


def rules_of(layout: Layout, tier: str, direction: str) -> list[Json]:
    """Return the rules of a layout in the order of the first sub-test; the Baseline tier does not pass."""
    def rule(action: str, house: str, ports: Mapping[str, int] | None = None) -> Json:
        limits = {"protocols": [number(protocol, port) for protocol, port in ports.items()]} if ports else {}
        return {"name": f"{action.lower()} {house}", "action": action, DIRECTIONS[direction]: [in_house(house)],
                **limits}

    rules = [rule("Accept", layout.whole), rule("Deny", layout.whole), rule("Pass", layout.whole),
             rule("Deny", "slytherin", layout.denied), rule("Pass", "slytherin", layout.denied),
             rule("Accept", layout.by_port, layout.accepted), rule("Deny", layout.by_port)]
    return [one for one in rules if tier == "Admin" or one["action"] != "Pass"]


def pokes(layout: Layout, direction: str, house: str, ports: Mapping[str, int], at_port: bool,
          elsewhere: bool) -> dict[Probe, bool]:
    """Expect one outcome at these ports, from pods 0, and one at each protocol's other port, from pods 1."""
    client, server = (layout.subject, house) if direction == "egress" else (house, layout.subject)
    found: dict[Probe, bool] = {}
    for protocol, port in ports.items():
        other = next(one for one in PORTS[protocol] if one != port)
        found |= poke(house_pod(client, 0), house_pod(server, 1), protocol, port, at_port)
        found |= poke(house_pod(client, 1), house_pod(server, 1), protocol, other, elsewhere)
    return found


def gress(tier: str, what: str, directions: Sequence[str]) -> list[Step]:
    """Return the sub-tests of one test: accept, deny, pass, each as a whole and by port, the rules swapped between."""
    layouts = {direction: LAYOUTS[direction, what] for direction in directions}
    manifest = cluster_policy(what.lower(), tier, in_house(next(iter(layouts.values())).subject), **{
        direction: rules_of(layout, tier, direction) for direction, layout in layouts.items()})
    swaps = [(None, "whole", True, True), (None, "by_port", True, False), ((0, 1), "whole", False, False),
             (None, "slytherin", False, True), ((0, 2), "whole", True, True), ((3, 4), "slytherin", True, True)]
    steps, changed = [Step([manifest], expected={}, name="set up")], manifest
    for swap, house, at_port, elsewhere in swaps if tier == "Admin" else swaps[:4]:
        if swap:
            changed = deepcopy(changed)
            for direction in directions:
                rules = changed["spec"][direction]
                rules[swap[0]], rules[swap[1]] = rules[swap[1]], rules[swap[0]]
        expected: dict[Probe, bool] = {}
        for direction, layout in layouts.items():
            ports = layout.accepted if house == "by_port" else layout.denied
            expected |= pokes(layout, direction, getattr(layout, house, house), ports, at_port, elsewhere)
        steps.append(Step([changed], expected=expected))
    return _without_set_up(steps)


def _without_set_up(steps: Sequence[Step]) -> list[Step]:
    """Let the first sub-test set up what it needs."""
    return [Step([*steps[0].apply, *steps[1].apply], expected=steps[1].expected), *steps[2:]]


def named_port(tier: str, direction: str) -> list[Step]:
    """Return the one sub-test in which the accepted port is named instead of numbered."""
    protocol = "TCP" if (tier, direction) in (("Admin", "egress"), ("Baseline", "ingress")) else "UDP"
    layout = LAYOUTS[direction, protocol]
    rules = rules_of(layout, tier, direction)
    port, name = {"TCP": (80, "web"), "UDP": (53, "dns")}[protocol]
    rules[-2]["protocols"] = [{"destinationNamedPort": name}]
    return [Step([cluster_policy("named", tier, in_house(layout.subject), **{direction: rules})],
                 expected=pokes(layout, direction, layout.by_port, {protocol: port}, True, False))]


def blocks(tier: str) -> list[Step]:
    """Return the sub-tests of blocks: everything denied but slytherin; then two pods accepted by address."""
    def all_of(house: str, index: int, allowed: bool) -> dict[Probe, bool]:
        return {Probe(house_pod("gryffindor", 1), house_pod(house, index), protocol, pair[0]): allowed
                for protocol, pair in PORTS.items()}

    rules: list[Json] = [{"action": "Accept", "to": [of_house("slytherin")]}, {"action": "Deny", "to": [EVERYWHERE]}]
    two = [f"{address('ravenclaw', 0)}/32", f"{address('hufflepuff', 0)}/32"]
    first: Json = {"action": "Accept", "to": [{"networks": two}]}
    denied = all_of("ravenclaw", 0, False) | all_of("hufflepuff", 0, False)
    return [
        Step([cluster_policy("blocks", tier, of_house("gryffindor"), egress=rules)],
             expected=denied | all_of("slytherin", 0, True)),
        Step([cluster_policy("blocks", tier, of_house("gryffindor"), egress=[first, *rules])],
             expected=dict.fromkeys(denied, True) | all_of("ravenclaw", 1, False) | all_of("hufflepuff", 1, False)),
    ]


def nodes(tier: str) -> list[Step]:
    """Return the sub-tests of nodes as peers."""
    linux: Json = {"nodes": {"matchLabels": {"kubernetes.io/os": "linux"}}}
    if tier == "Admin":
        rules: list[Json] = [{"action": "Accept", "to": [linux], "protocols": [number("TCP", 36363)]},
                             {"action": "Pass", "to": [linux], "protocols": [number("UDP", 34345)]},
                             {"action": "Deny", "to": [of_house("slytherin"), linux, EVERYWHERE]}]
        outcomes = [[("TCP", 36363, True)], [("UDP", 34345, True)],
                    [("TCP", 36364, False), ("UDP", 34346, False), ("SCTP", 9003, False)]]
    else:
        both = {"tcp": {"destinationPort": {"range": {"start": 36363, "end": 36364}}}}
        rules = [{"action": "Accept", "to": [linux], "protocols": [both]},
                 {"action": "Deny", "to": [linux, EVERYWHERE]}]
        outcomes = [[("TCP", 36363, True), ("TCP", 36364, True)], [("UDP", 34346, False), ("SCTP", 9003, False)]]
    manifest = cluster_policy("nodes", tier, of_house("gryffindor"), egress=rules)
    return [Step([manifest], expected={
        Probe(house_pod("gryffindor", 1), f"{FOREST}/centaur-1", protocol, port): allowed
        for protocol, port, allowed in outcome}) for outcome in outcomes]


def both_ways(into: bool | None, out: bool | None) -> dict[Probe, bool]:
    """Expect an outcome from slytherin into gryffindor, and out of it."""
    found: dict[Probe, bool] = {}
    for index, port in enumerate(PORTS["TCP"]):
        if into is not None:
            found |= poke(house_pod("slytherin", index), house_pod("gryffindor", 0), "TCP", port, into)
        if out is not None:
            found |= poke(house_pod("gryffindor", index), house_pod("slytherin", 0), "TCP", port, out)
    return found


def about_slytherin(name: str, tier: str, into: str, out: str, priority: int = 10) -> Json:
    return cluster_policy(name, tier, of_house("gryffindor"), priority,
                          ingress=[{"action": into, "from": [of_house("slytherin")]}],
                          egress=[{"action": out, "to": [of_house("slytherin")]}])


def integration() -> list[Step]:
    """Return the sub-tests of all tiers together."""
    slytherin = {"namespaceSelector": labels(**{"conformance-house": "slytherin"})}
    own: Manifest = policy("gryffindor", "allow-slytherin", {}, ingress=[{"from": [slytherin]}],
                           egress=[{"to": [slytherin]}])
    start_with = [about_slytherin("pass-example", "Admin", "Deny", "Deny"), own,
                  about_slytherin("default", "Baseline", "Deny", "Deny")]
    return [
        Step(start_with, expected=both_ways(False, None)),
        Step(expected=both_ways(None, False)),
        Step([about_slytherin("pass-example", "Admin", "Pass", "Deny")], expected=both_ways(True, None)),
        Step([about_slytherin("pass-example", "Admin", "Pass", "Pass")], expected=both_ways(None, True)),
        Step(delete=[Id("NetworkPolicy", "gryffindor", "allow-slytherin")], expected=both_ways(False, None)),
        Step(expected=both_ways(None, False)),
    ]


def priority() -> list[Step]:
    """Return the sub-tests of priorities: who passes at 60 is heard at 40 before who denies at 50."""
    start_with = [about_slytherin("denies", "Admin", "Deny", "Deny", 50),
                  about_slytherin("passes", "Admin", "Pass", "Pass", 60),
                  about_slytherin("default", "Baseline", "Accept", "Accept")]
    return [Step(start_with, expected=both_ways(False, None)), Step(expected=both_ways(None, False)),
            Step([about_slytherin("passes", "Admin", "Pass", "Pass", 40)], expected=both_ways(True, True))]


def cases() -> Iterator[Case]:
    """Yield all cases."""
    begin = start()
    for tier in TIERS:
        tests = {f"{direction} {protocol}": gress(tier, protocol, [direction])
                 for direction in DIRECTIONS for protocol in PORTS}
        tests["gress"] = gress(tier, "gress", ["egress", "ingress"])
        tests |= {f"{direction} named port": named_port(tier, direction) for direction in DIRECTIONS}
        tests |= {"egress blocks": blocks(tier), "egress nodes": nodes(tier)}
        if tier == "Admin":
            tests |= {"integration": integration(), "priority": priority()}
        for name, steps in tests.items():
            yield Case("cluster policy", tier, name, begin, steps)
