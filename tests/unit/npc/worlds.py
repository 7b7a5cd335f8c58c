"""Random worlds of a few pods and policies, as raw and valid manifests: small alphabets, so that things meet."""

from typing import Any

from hypothesis import strategies as st

from tests.conformance.policy.build import namespace, pod, port, world
from tests.conformance.policy.case import Probe, World, probes

KEYS, VALUES = ("app", "tier"), ("a", "b")
SPACES = ("x", "y")
PORTS = (("TCP", 80), ("TCP", 443), ("UDP", 53), ("SCTP", 9))
PORT_NAMES = ("web", "dns")
BLOCKS = ("0.0.0.0/0", "10.0.0.0/29", "10.0.0.4/30", "192.0.2.0/24", "::/0", "fd00::/125", "fd00::4/126")
Json = dict[str, Any]

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)


@st.composite
def selectors(draw: st.DrawFn) -> Json:
    found: Json = {}
    if draw(st.booleans()):
        found["matchLabels"] = draw(labels)
    if draw(st.integers(0, 3)) == 0:
        operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]))
        values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True))
        found["matchExpressions"] = [{"key": draw(st.sampled_from(KEYS)), "operator": operator,
                                      **({"values": values} if operator in ("In", "NotIn") else {})}]
    return found


@st.composite
def blocks(draw: st.DrawFn) -> Json:
    outer, inner = draw(st.sampled_from([("0.0.0.0/0", "10.0.0.4/30"), ("10.0.0.0/29", "10.0.0.2/32"),
                                         ("192.0.2.0/24", "192.0.2.1/32"), ("::/0", "fd00::4/126"),
                                         ("fd00::/125", "fd00::2/128")]))
    return {"cidr": outer, **({"except": [inner]} if draw(st.booleans()) else {})}


@st.composite
def peers(draw: st.DrawFn) -> Json:
    match draw(st.integers(0, 3)):
        case 0:
            return {"ipBlock": draw(blocks())}
        case 1:
            return {"podSelector": draw(selectors())}
        case 2:
            return {"namespaceSelector": draw(selectors())}
        case _:
            return {"podSelector": draw(selectors()), "namespaceSelector": draw(selectors())}


@st.composite
def policy_ports(draw: st.DrawFn) -> Json:
    protocol = draw(st.sampled_from([None, "TCP", "UDP", "SCTP"]))
    match draw(st.integers(0, 3)):
        case 0:
            return port(None, protocol)
        case 1:
            return port(draw(st.sampled_from(PORT_NAMES)), protocol)
        case 2:
            return port(draw(st.sampled_from([9, 53, 80, 443])), protocol)
        case _:
            first = draw(st.sampled_from([1, 53, 80, 81]))
            return port(first, protocol, draw(st.sampled_from([first, 100, 65535])))


def some(what: st.SearchStrategy[Json], most: int = 2) -> st.SearchStrategy[list[Json]]:
    return st.lists(what, max_size=most)


@st.composite
def rules(draw: st.DrawFn, key: str) -> Json:
    return {key: draw(some(peers())), "ports": draw(some(policy_ports()))}


@st.composite
def network_policies(draw: st.DrawFn, index: int) -> Json:
    spec: Json = {"podSelector": draw(selectors())}
    for direction, key in (("ingress", "from"), ("egress", "to")):
        if draw(st.booleans()):
            spec[direction] = draw(some(rules(key)))
    if draw(st.booleans()):
        spec["policyTypes"] = draw(st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": draw(st.sampled_from(SPACES)), "name": f"policy-{index}"}, "spec": spec}


@st.composite
def subjects(draw: st.DrawFn) -> Json:
    if draw(st.booleans()):
        return {"namespaces": draw(selectors())}
    return {"pods": {"namespaceSelector": draw(selectors()), "podSelector": draw(selectors())}}


@st.composite
def protocols(draw: st.DrawFn) -> Json:
    kind = draw(st.sampled_from(["tcp", "udp", "sctp"]))
    if draw(st.booleans()):
        return {kind: {"destinationPort": {"number": draw(st.sampled_from([9, 53, 80, 443]))}}}
    return {kind: {"destinationPort": {"range": {"start": draw(st.sampled_from([1, 80])), "end": 443}}}}


@st.composite
def tier_rules(draw: st.DrawFn, key: str) -> Json:
    found: Json = {"action": draw(st.sampled_from(["Accept", "Deny", "Pass"]))}
    only_pods = key == "from" or draw(st.booleans())
    others = [st.fixed_dictionaries({"nodes": selectors()}),
              st.fixed_dictionaries({"networks": st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=2)})]
    found[key] = draw(st.lists(st.one_of(subjects(), *([] if only_pods else others)), min_size=1, max_size=2))
    names = [st.fixed_dictionaries({"destinationNamedPort": st.sampled_from(PORT_NAMES)})] if only_pods else []
    if draw(st.booleans()):
        found["protocols"] = draw(st.lists(st.one_of(protocols(), *names), min_size=1, max_size=2))
    return found


@st.composite
def cluster_policies(draw: st.DrawFn, index: int) -> Json:
    spec = {"tier": draw(st.sampled_from(["Admin", "Baseline"])), "priority": draw(st.integers(0, 3)),
            "subject": draw(subjects()), "ingress": draw(some(tier_rules("from"))),
            "egress": draw(some(tier_rules("to")))}
    return {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": f"cluster-{index}"}, "spec": spec}


@st.composite
def pods(draw: st.DrawFn, index: int, family: int, may_be_host: bool) -> Json:
    is_host = may_be_host and draw(st.integers(0, 5)) == 0
    node = draw(st.sampled_from(["n1", "n2"]))
    own = f"10.0.0.{index + 1}" if family == 4 else f"fd00::{index + 1}"
    address = {4: f"192.0.2.{node[1]}", 6: f"fd00:1::{node[1]}"}[family] if is_host else own
    ports = draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=3, unique=True))
    names = {one: draw(st.sampled_from(PORT_NAMES)) for one in ports if draw(st.booleans())}
    made: Json = dict(pod(f"{draw(st.sampled_from(SPACES))}/p{index}", address, draw(labels), ports, names))
    made["spec"].update(nodeName=node, hostNetwork=is_host)
    return made


@st.composite
def worlds(draw: st.DrawFn, may_be_host: bool = True) -> World:
    """Draw a world of one family: up to four pods, two policies of each kind, two nodes."""
    family = draw(st.sampled_from([4, 6]))
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": draw(labels)},
              "status": {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{name[1]}"},
                                       {"type": "InternalIP", "address": f"fd00:1::{name[1]}"}]}}
             for name in ("n1", "n2")]
    return world(*(namespace(name, draw(labels)) for name in SPACES), *nodes,
                 *(draw(pods(index, family, may_be_host)) for index in range(draw(st.integers(2, 4)))),
                 *(draw(network_policies(index)) for index in range(draw(st.integers(0, 2)))),
                 *(draw(cluster_policies(index)) for index in range(draw(st.integers(0, 2)))))


def all_probes(drawn: World) -> list[Probe]:
    """Return every pair of pods over every port that any rule could mean."""
    pairs = sorted({(probe.source, probe.destination) for probe in probes(drawn)})
    return [Probe(source, destination, protocol, number) for source, destination in pairs
            for protocol, number in (*PORTS, ("TCP", 81), ("UDP", 80))]
