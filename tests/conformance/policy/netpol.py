"""Kubernetes' own list of connectivity tests for NetworkPolicy (`Netpol`): 48, of them 42 over TCP, 3 UDP, 3 SCTP.

What must happen is written as those tests say it, not computed: everything is allowed but for the exceptions listed,
and of several exceptions the later one counts. `*` stands for all. Like upstream, a pod's way to itself is not probed.
They run on the grid of nine pods that they were first written for (upstream leaves out those that cannot matter).
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from ipaddress import ip_network

from tests.conformance.policy.build import (
    NAME,
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
from tests.conformance.policy.case import Addresses, Case, Id, Manifest, Probe, Step, World, probes

Exception_ = tuple[str, str, bool]
ANY: Selector = {}
A, B, C = labels(pod="a"), labels(pod="b"), labels(pod="c")
X, Y = "x/*", "y/*"
INTO_X_A: Exception_ = ("*", "x/a", False)
ONLY_Y_TO_X_A: Sequence[Exception_] = [("x/*", "x/a", False), ("z/*", "x/a", False)]
FROM_Y = peer(spaces={"matchLabels": {NAME: "y"}})
NOT_X, IN_Y = expression(NAME, "NotIn", "x"), expression(NAME, "In", "y")


class Story:
    """Steps of one test, written down one after the other."""

    def __init__(self, start: World) -> None:
        self.start, self.world, self.steps = start, start, list[Step]()

    def then(self, *manifests: Manifest, delete: Sequence[Id] = (), ports: Sequence[int] = (80,),
             protocol: str = "TCP", but: Sequence[Exception_] = ()) -> "Story":
        """Apply, delete, and expect every connection over these ports to be allowed, but for the exceptions."""
        self.world = {**self.world, **{Id(one["kind"], one["metadata"].get("namespace", ""),
                                          one["metadata"]["name"]): one for one in manifests}}
        expected = {probe: _expect(probe, but) for probe in probes(self.world)
                    if probe.protocol == protocol and probe.port in ports and probe.source != probe.destination}
        self.steps.append(Step(manifests, delete, expected))
        return self


def _expect(probe: Probe, exceptions: Sequence[Exception_]) -> bool:
    verdicts = [allowed for source, destination, allowed in exceptions
                if fnmatch(probe.source, source) and fnmatch(probe.destination, destination)]
    return verdicts[-1] if verdicts else True


def cases(addresses: Addresses) -> Iterator[Case]:
    """Yield all cases; addresses are those of x, y, z times a, b, c."""
    start = grid(addresses)
    for source in (_selecting, _porting, _changing, _sending, _blocking, _telling_apart):
        for name, story in source(start, addresses):
            yield Case("netpol", "TCP", name, start, story.steps)
    for protocol in ("UDP", "SCTP"):
        for name, story in _other_protocol(start, protocol):
            yield Case("netpol", protocol, name, start, story.steps)


Stories = Iterator[tuple[str, Story]]


def into_a(*peers: Json, name: str = "into-a", ports: Sequence[Json] = ()) -> Manifest:
    """Return a policy that lets these peers into x/a."""
    return policy("x", name, A, ingress=[{**({"from": list(peers)} if peers else {}),
                                          **({"ports": list(ports)} if ports else {})}])


def _selecting(start: World, addresses: Addresses) -> Stories:
    def one(*manifests: Manifest, but: Sequence[Exception_]) -> Story:
        return Story(start).then(*manifests, but=but)

    yield "default-deny-ingress", one(policy("x", "deny-ingress", ANY, ingress=[]), but=[("*", X, False)])
    yield "default-deny-all", one(policy("x", "deny-all", ANY, ingress=[], egress=[]),
                                  but=[("*", X, False), (X, "*", False)])
    yield "pods of the server's namespace by PodSelector", one(into_a(peer(B)), but=[INTO_X_A, ("x/b", "x/a", True)])
    yield "ingress for a target", one(policy("x", "deny-all", ANY, ingress=[]), into_a(peer(ANY, ANY)),
                                      but=[("*", "x/b", False), ("*", "x/c", False)])
    yield "pods of all namespaces", one(into_a(peer(spaces={"matchLabels": {}})), but=[])
    yield "another namespace by NamespaceSelector", one(into_a(FROM_Y), but=ONLY_Y_TO_X_A)
    yield "PodSelector with MatchExpressions", one(into_a(peer(expression("pod", "In", "b"))),
                                                   but=[INTO_X_A, ("x/b", "x/a", True)])
    yield "NamespaceSelector with MatchExpressions", one(into_a(peer(spaces=IN_Y)), but=ONLY_Y_TO_X_A)
    yield "PodSelector or NamespaceSelector", one(into_a(peer(spaces=NOT_X), peer(B)), but=[("x/c", "x/a", False)])
    yield "PodSelector and NamespaceSelector", one(into_a(peer(B, NOT_X)), but=[
        INTO_X_A, ("y/b", "x/a", True), ("z/b", "x/a", True)])
    yield "several PodSelectors and NamespaceSelectors", one(
        into_a(peer(expression("pod", "In", "b", "c"), NOT_X)),
        but=[(X, "x/a", False), ("y/a", "x/a", False), ("z/a", "x/a", False)])
    yield "any of several PodSelectors", one(into_a(peer(B), peer(C)), but=[
        INTO_X_A, ("x/b", "x/a", True), ("x/c", "x/a", True)])
    yield "a pod of a different namespace by both selectors", one(
        into_a(peer(A, {"matchLabels": {NAME: "y"}})), but=[INTO_X_A, ("y/a", "x/a", True)])
    yield "NamespaceSelector on the default label, MatchLabels", one(into_a(FROM_Y), but=ONLY_Y_TO_X_A)
    yield "NamespaceSelector on the default label, MatchExpressions", one(
        policy("x", "not-to-y", A, egress=[{"to": [peer(spaces=expression(NAME, "NotIn", "y"))]}]),
        but=[("x/a", Y, False)])
    yield "deny from other namespaces", one(policy("x", "own", ANY, ingress=[{"from": [peer({"matchLabels": {}})]}]),
                                            but=[(Y, X, False), ("z/*", X, False)])


def _porting(start: World, addresses: Addresses) -> Stories:
    y_81 = into_a(FROM_Y, name="y-81", ports=[port(81, "TCP")])
    yield "by Ports", Story(start).then(y_81, ports=[81], but=ONLY_Y_TO_X_A)
    yield "several stacked policies", (
        Story(start).then(y_81, ports=[81], but=ONLY_Y_TO_X_A).then(but=[INTO_X_A])
        .then(into_a(FROM_Y, name="y-80", ports=[port(80, "TCP")]), but=ONLY_Y_TO_X_A))
    yield "allow-all", Story(start).then(policy("x", "allow-all", ANY, ingress=[{}]), ports=[80, 81])
    yield "ingress on one named port", (
        Story(start).then(policy("x", "named", ANY, ingress=[{"ports": [port("serve-81-tcp")]}]), ports=[81])
        .then(but=[("*", X, False)]))
    yield "ingress from a namespace on one named port", (
        Story(start).then(into_a(FROM_Y, ports=[port("serve-80-tcp", "TCP")]), but=ONLY_Y_TO_X_A)
        .then(ports=[81], but=[INTO_X_A]))
    yield "egress on one named port", (
        Story(start).then(policy("x", "named", ANY, egress=[{"ports": [port("serve-80-tcp")]}]))
        .then(ports=[81], but=[(X, "*", False)]))
    yield "any port of one protocol", (
        Story(start).then(into_a(ports=[port(None, "TCP")])).then(protocol="UDP", but=[INTO_X_A]))


def _changing(start: World, addresses: Addresses) -> Stories:
    yield "an updated policy", (
        Story(start).then(policy("x", "mutates", ANY, ingress=[{}]), ports=[81])
        .then(policy("x", "mutates", ANY, ingress=[]), ports=[81], but=[("*", X, False)]))
    yield "ingress from an updated namespace", (
        Story(start).then(into_a(peer(spaces=labels(ns2="updated"))), but=[INTO_X_A])
        .then(namespace("y", {"ns": "y", "ns2": "updated"}), but=[INTO_X_A, (Y, "*", True)]))
    yield "ingress from an updated pod", (
        Story(start).then(into_a(peer(labels(pod="b", pod2="updated"))), but=[INTO_X_A])
        .then(pod("x/b", addresses("x/b"), {"pod": "b", "pod2": "updated"}), but=[INTO_X_A, ("x/b", "x/a", True)]))
    yield "deny ingress to an updated pod", (
        Story(start).then(policy("x", "isolate", labels(target="isolated"), ingress=[]))
        .then(pod("x/a", addresses("x/a"), {"target": "isolated"}), but=[INTO_X_A]))
    yield "a deleted policy", (
        Story(start).then(policy("x", "deny-all", ANY, ingress=[], egress=[]), but=[(X, "*", False), ("*", X, False)])
        .then(delete=[Id("NetworkPolicy", "x", "deny-all")]))


def _sending(start: World, addresses: Addresses) -> Stories:
    to_y_a = policy("x", "to-y-a", A, egress=[{"to": [peer(A, {"matchLabels": {NAME: "y"}})]}])
    from_x_a = [policy("y", f"from-x-a-to-{name}", labels(pod=name), ingress=[
        {"from": [peer(A, {"matchLabels": {NAME: "x"}})]}]) for name in "ab"]
    yield "deny egress by PodSelector", Story(start).then(policy("x", "deny", A, egress=[]), but=[("x/a", "*", False)])
    yield "deny egress of a namespace", Story(start).then(policy("x", "deny", ANY, egress=[]), but=[(X, "*", False)])
    yield "ingress and egress together", (
        Story(start).then(policy("x", "both", A, ingress=[{"from": [peer(B)]}], egress=[{"ports": [port(80)]}]),
                          but=[INTO_X_A, ("x/b", "x/a", True)])
        .then(ports=[81], but=[INTO_X_A, ("x/a", "*", False), ("x/b", "x/a", True)]))
    yield "egress denied although the server allows", Story(start).then(to_y_a, *from_x_a, but=[
        ("x/a", "*", False), ("*", "y/a", False), ("x/a", "y/a", True), ("*", "y/b", False)])
    yield "egress to a server of another namespace by both selectors", Story(start).then(to_y_a, but=[
        ("x/a", "*", False), ("x/a", "y/a", True)])
    yield "several ingress policies, allow-all wins", (
        Story(start).then(policy("x", "80", ANY, ingress=[{"ports": [port(80)]}]), ports=[81], but=[("*", X, False)])
        .then(policy("x", "all", ANY, ingress=[{}]), ports=[81]))
    yield "several egress policies, allow-all wins", (
        Story(start).then(policy("x", "80", ANY, egress=[{"ports": [port(80)]}]), ports=[81], but=[(X, "*", False)])
        .then(policy("x", "all", ANY, egress=[{}]), ports=[81]))
    yield "ingress and egress are independent", (
        Story(start).then(policy("x", "out", A, egress=[{}])).then(policy("x", "in", A, ingress=[]), but=[INTO_X_A]))


def _blocking(start: World, addresses: Addresses) -> Stories:
    def to(*blocks: Json) -> Manifest:
        return policy("x", "cidr", A, egress=[{"to": list(blocks)}])

    server, x_b = addresses("y/b"), addresses("x/b")
    large = str(ip_network(f"{x_b}/4", strict=False))
    yield "egress to a block", Story(start).then(to(block(f"{server}/32")), but=[
        ("x/a", "*", False), ("x/a", "y/b", True)])
    yield "egress to a block with except", Story(start).then(to(block(large, f"{x_b}/32")), but=[("x/a", "x/b", False)])
    yield "in a block and its except, then allowed by an update", (
        Story(start).then(to(block(large, f"{x_b}/32")), but=[("x/a", "x/b", False)])
        .then(to(block(f"{x_b}/32")), but=[("x/a", "*", False), ("x/a", "x/b", True)]))


def _telling_apart(start: World, addresses: Addresses) -> Stories:
    yield "SCTP is not TCP", Story(start).then(
        policy("x", "deny", ANY, ingress=[]), into_a(ports=[port(81, "SCTP")]), ports=[81], but=[("*", X, False)])
    yield "a pod is isolated by a policy of SCTP alone", Story(start).then(
        into_a(ports=[port(80, "SCTP")]), ports=[81], but=[INTO_X_A])
    yield "UDP is not TCP", Story(start).then(into_a(ports=[port(81, "UDP")]), ports=[81], but=[INTO_X_A])


def _other_protocol(start: World, protocol: str) -> Stories:
    yield "default-deny-ingress", Story(start).then(policy("x", "deny-all", ANY, ingress=[]), protocol=protocol,
                                                    but=[("*", X, False)])
    yield "by Ports", Story(start).then(into_a(FROM_Y, ports=[port(81, protocol)]), ports=[81], protocol=protocol,
                                        but=ONLY_Y_TO_X_A)
    yield "a pod of a different namespace by both selectors", Story(start).then(
        into_a(peer(A, {"matchLabels": {NAME: "y"}})), protocol=protocol, but=[INTO_X_A, ("y/a", "x/a", True)])
