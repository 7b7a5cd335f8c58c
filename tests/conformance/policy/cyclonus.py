"""The matrix of cyclonus: 230 cases on a grid of nine pods, 486 probes after each step.

Categories, counts and contents follow its generator; which six ranges a direction tries with `endPort` is our choice.
A base policy of pod x/a is varied in one point at a time: whom it selects, its peers, its ports.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from tests.conformance.policy.build import (
    NAME,
    NAMESPACES,
    TRANSPORTS,
    Json,
    Selector,
    block,
    expression,
    grid,
    labels,
    namespace,
    peer,
    pod,
    policy,
    port,
)
from tests.conformance.policy.case import Addresses, Case, Id, Manifest, Step

DIRECTIONS = (("ingress", "from"), ("egress", "to"))
ANY: Selector = {}
A, B, C = labels(pod="a"), labels(pod="b"), labels(pod="c")
DNS: Json = {"ports": [port(53, "UDP"), port(53, "TCP")]}
ALL_PODS: Json = {"namespaceSelector": {}}


def base(space: str = "x", pods: Selector = A, **changed: list[Json]) -> Manifest:
    """Return the base policy, with the rules of a direction, or of its first rule the peers or ports, replaced."""
    ingress = {"from": [peer(expression("pod", "In", "b", "c"), expression("ns", "In", "x", "y"))],
               "ports": [port(80, "TCP")]}
    egress = {"to": [peer(expression("pod", "In", "a", "b"), expression("ns", "In", "y", "z"))],
              "ports": [port(80, "TCP")]}
    for rule, direction in ((ingress, "ingress"), (egress, "egress")):
        rule.update({part.removeprefix(f"{direction}_"): value for part, value in changed.items()
                     if part.startswith(f"{direction}_")})
    return policy(space, "base", pods, changed.get("ingress", [ingress]), changed.get("egress", [egress, DNS]))


def cases(addresses: Addresses) -> Iterator[Case]:
    """Yield all cases; addresses are those of x, y, z times a, b, c, and of x/d, y-2/a, y-2/b, w/a."""
    start = grid(addresses)

    def case(category: str, name: str, *steps: Step | Sequence[Manifest], tags: Sequence[str] = ()) -> Case:
        played = [step if isinstance(step, Step) else Step(apply=step) for step in steps]
        return Case("cyclonus", category, name, start, played, frozenset(tags))

    for name, manifest in _targets():
        yield case("target", name, [manifest])
    for direction, _ in DIRECTIONS:
        yield case("rules", f"{direction}: deny all", [base(**{direction: []})], tags=[direction])
        yield case("rules", f"{direction}: allow all", [base(**{direction: [{}]})], tags=[direction])
    for name, manifest, tags in _peers(addresses("z/c")):
        yield case("peers", name, [manifest], tags=tags)
    for name, manifest, tags in _ports():
        yield case("port/protocol", name, [manifest], tags=tags)
    for number, manifests in enumerate(_conflicts(), start=1):
        yield case("conflict", f"policies {number}", manifests, tags=["policy-stack"])
    for name, steps in _actions(addresses):
        yield case("action", name, *steps)
    for name, steps in _upstream(addresses):
        yield case("upstream e2e", name, *steps)
    yield case("example", "a named port, and a namespace that comes and goes", *_example(addresses))
    for direction, peers in DIRECTIONS:
        yield case("namespace default label", f"{direction}: namespace z by its name",
                   [base(**{f"{direction}_{peers}": [peer(spaces={"matchLabels": {NAME: "z"}})]})], tags=[direction])


def _targets() -> Iterator[tuple[str, Manifest]]:
    for space in NAMESPACES:
        yield f"namespace {space}", base(space=space)
    yield "every pod", base(pods=ANY)
    yield "pod a by label", base(pods=A)
    yield "pods a and b by expression", base(pods=expression("pod", "In", "a", "b"))


def _peers(address: str) -> Iterator[tuple[str, Manifest, list[str]]]:
    outer, inner = (str(ip_network(f"{address}/{length}", strict=False)) for length in (24, 28))
    one = {f"{pods} in {spaces}": peer(wanted_pods, wanted_spaces)
           for spaces, wanted_spaces in (("own ns", None), ("all ns", ANY), ("ns x", labels(ns="x")))
           for pods, wanted_pods in (("pods unsaid", None), ("all pods", ANY), ("pod c", C))
           if wanted_pods is not None or wanted_spaces is not None}
    one |= {"a block": block(outer), "a block with except": block(outer, inner)}
    names = list(one)
    for direction, peers in DIRECTIONS:
        def vary(wanted: list[Json], part: str = f"{direction}_{peers}") -> Manifest:
            return base(**{part: wanted})

        yield f"{direction}: no peers", vary([]), [direction]
        for name in names:
            yield f"{direction}: {name}", vary([one[name]]), [direction]
        for index, name in enumerate(names):
            for other in names[index + 1:]:
                yield f"{direction}: {name}, {other}", vary([one[name], one[other]]), [direction, "multi-peer"]


def _ports() -> Iterator[tuple[str, Manifest, list[str]]]:
    single = [port(number, protocol) for protocol in (None, *TRANSPORTS) for number in (None, 80, 81)]
    single += [port(f"serve-{number}-{protocol.lower()}", protocol) for protocol in TRANSPORTS for number in (80, 81)]
    ranges = [port(first, protocol, 81) for protocol in TRANSPORTS for first in (79, 81)]
    odd = [port("serve-81-udp", "TCP"), port("serve-7981-udp", "TCP"), port(7981, "TCP")]
    pairs = [[port(), port(80)], [port(), port("serve-80-tcp")], [port(), port(None, "UDP")], [port(80), port(81)],
             [port(80), port("serve-81-tcp")], [port(80), port("serve-81-udp", "UDP")],
             [port(80, "UDP"), port("serve-81-udp", "UDP")]]
    sets = [([], []), *(([one], []) for one in single), *(([one], ["end-port"]) for one in ranges),
            *(([one], ["pathological"]) for one in odd), *((pair, ["multi-port"]) for pair in pairs)]
    for direction, _ in DIRECTIONS:
        for ports, tags in sets:
            words = ", ".join(f"{one.get('protocol', '-')}/{one.get('port', '-')}-{one.get('endPort', '')}".rstrip("-")
                              for one in ports)
            yield f"{direction}: {words or 'no ports'}", base(**{f"{direction}_ports": ports}), [direction, *tags]


def _conflicts() -> Iterator[list[Manifest]]:
    """Yield sets of policies that disagree: of x/b (the first letter s) or y/c (d)."""
    rules: dict[str, list[Json]] = {
        "all": [{}], "none": [], "all-pods": [{"peers": [ALL_PODS]}], "all-ips": [{"peers": [block("0.0.0.0/0")]}],
        "no-ips": [{"peers": [block("0.0.0.0/31")]}],
        "no-pods": [{"peers": [peer(spaces=labels(**{"this-will-never-happen": "qrs123"}))]}]}
    stacks = [("s egress none", "d ingress all"), ("s egress all", "d ingress none"),
              ("s egress none", "s egress all"), ("d ingress none", "d ingress all"),
              *(tuple(f"s {direction} {what}" for what in pair) for direction in ("egress", "ingress") for pair in
                (("none", "all-pods"), ("none", "all-ips"), ("no-ips", "all-pods"), ("no-pods", "all-ips"))),
              ("s egress no-ips",), ("s egress no-pods",), ("d ingress no-ips",), ("d ingress no-pods",)]
    for stack in stacks:
        made = []
        for words in stack:
            end, direction, what = words.split()
            space, pods = ("x", B) if end == "s" else ("y", C)
            key = dict(DIRECTIONS)[direction]
            wanted = [{key: rule["peers"]} if rule else {} for rule in rules[what]]
            made.append(policy(space, f"{what}-{direction}", pods, **{direction: wanted}))
        if any("egress" in words for words in stack):
            made.append(policy("x", "allow-dns", B, egress=[DNS]))
        yield made


def _actions(addresses: Addresses) -> Iterator[tuple[str, list[Step | list[Manifest]]]]:
    yield "create and delete a policy", [[base()], Step(delete=[Id("NetworkPolicy", "x", "base")])]
    yield "create and update a policy", [[base()], [base(ingress_ports=[port("serve-81-udp", "UDP")])]]
    yield "create and delete a namespace", [
        [base()],
        [namespace("y-2", {"ns": "y"}), *(pod(f"y-2/{name}", addresses(f"y-2/{name}")) for name in "ab")],
        Step(delete=[Id("Namespace", "", "y-2")])]
    yield "label a namespace, and take it back", [
        [base(ingress_from=[peer(spaces=labels(**{"new-ns": "qrs"}))])],
        [namespace("y", {"ns": "y", "new-ns": "qrs"})], [namespace("y")]]
    yield "create and delete a pod", [
        [base()], [pod("x/d", addresses("x/d"))], Step(delete=[Id("Pod", "x", "d")])]
    yield "label a pod, and take it back", [
        [base(ingress_from=[peer(labels(**{"new-label": "abc"}), expression("ns", "In", "y", "z"))])],
        [pod("y/b", addresses("y/b"), {"pod": "b", "new-label": "abc"})], [pod("y/b", addresses("y/b"))]]


def _upstream(addresses: Addresses) -> Iterator[tuple[str, list[Step | list[Manifest]]]]:
    """Yield the stories that cyclonus took from Kubernetes, probed on its own grid and by its own matcher."""
    def from_y(number: int) -> Manifest:
        return policy("x", f"allow-client-a-via-ns-selector-{number}", A,
                      ingress=[{"from": [peer(spaces=labels(ns="y"))], "ports": [port(number, "TCP")]}])

    x_a = peer(A, labels(ns="x"))
    yield "deny all ingress", [[policy("x", "deny-ingress", ANY, ingress=[])]]
    yield "deny everything but DNS", [[policy("x", "deny-all-allow-dns", ANY, ingress=[], egress=[DNS])]]
    yield "several pods in several namespaces", [[policy("x", "allow-ns-y-z-pod-b-c", A, ingress=[
        {"from": [peer(expression("pod", "In", "b", "c"), expression("ns", "NotIn", "x"))]}])]]
    yield "stacked policies", [[from_y(81)], [], [from_y(80)]]
    yield "allow all", [[policy("x", "allow-all", ANY, ingress=[{}])], []]
    yield "one named port", [Step([policy("x", "allow-all", ANY, ingress=[{"ports": [port("serve-81-tcp")]}])],
                                  only=("TCP", 81)), []]
    yield "an updated policy", [[policy("x", "mutates", ANY, ingress=[{}])], [policy("x", "mutates", ANY, ingress=[])]]
    yield "an updated namespace", [
        [policy("x", "allow-client-a", A, ingress=[{"from": [peer(spaces=labels(ns2="updated"))]}])],
        [namespace("y", {"ns": "y", "ns2": "updated"})]]
    yield "ingress from an updated pod", [
        [policy("x", "allow-client-a", A, ingress=[{"from": [peer(labels(pod="b", pod2="updated"))]}])],
        [pod("x/b", addresses("x/b"), {"pod": "b", "pod2": "updated"})]]
    yield "ingress to an updated pod", [
        [policy("x", "deny-ingress", labels(target="isolated"), ingress=[])],
        [pod("x/a", addresses("x/a"), {"target": "isolated"})]]
    yield "ingress and egress together", [[policy("x", "allow-client-a", A, ingress=[{"from": [peer(B)]}],
                                                  egress=[{"ports": [port(80), port(53, "UDP")]}])], []]
    yield "egress denied although the server allows", [[
        policy("x", "allow-to-ns-y-pod-a", A, egress=[{"to": [peer(A, labels(ns="y"))]}, {"ports": [port(53, "UDP")]}]),
        *(policy("y", f"allow-from-xa-on-y{name}", labels(pod=name), ingress=[{"from": [x_a]}]) for name in "ab")]]
    yield "a deleted policy", [[policy("x", "deny-all", ANY, ingress=[], egress=[])],
                               Step(delete=[Id("NetworkPolicy", "x", "deny-all")])]


def _example(addresses: Addresses) -> list[Step | list[Manifest]]:
    return [[policy("x", "allow-all", ANY, ingress=[{"ports": [port("serve-81-tcp")]}])],
            [namespace("w"), pod("w/a", addresses("w/a"))],
            Step(delete=[Id("Pod", "w", "a")]), Step(delete=[Id("Namespace", "", "w")]), [],
            Step(only=("TCP", 81)), Step(only=("TCP", 81), name="by the name serve-81-tcp")]
