"""Small random clusters in which much overlaps: few labels, few addresses, few ports, every kind of rule."""

from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from weave.npc.model import (
    Action,
    AnyPort,
    BlockPeer,
    Cluster,
    ClusterPolicy,
    ContainerPort,
    Key,
    NamedPort,
    Namespace,
    NetworkPolicy,
    Node,
    NodePeer,
    Operator,
    Pod,
    PodPeer,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Tier,
    TierRule,
    Unclear,
)
from weave.npc.selectors import make_selector

NAMESPACES = ("x", "y", "z")
PORTS = (80, 81)
OUTSIDE = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
NODES = {f"n{number}": ip_address(f"198.51.100.{number}") for number in (1, 2)}

labels = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(("a", "b")))
requirements = st.builds(
    lambda key, operator, values: Requirement(
        key, operator, frozenset(values) if operator in (Operator.IN, Operator.NOT_IN) else frozenset()),
    st.sampled_from(("app", "tier", "ns")), st.sampled_from(Operator),
    st.sets(st.sampled_from(("a", "b", "x", "y")), min_size=1, max_size=2))
selectors = st.lists(requirements, max_size=2).map(make_selector)
protocols = st.sampled_from(Protocol)
ports = st.one_of(
    st.builds(lambda protocol, first, more: PortRange(protocol, first, first + more), protocols,
              st.sampled_from((79, 80, 81)), st.integers(0, 1)),
    st.builds(AnyPort, protocols),
    st.builds(NamedPort, st.none() | protocols, st.sampled_from(("web", "dns"))),
    st.just(Unclear("port")),
)
blocks = st.builds(
    BlockPeer,
    st.sampled_from([ip_network(text) for text in ("0.0.0.0/0", "10.32.0.0/30", "10.32.0.4/32", "::/0", "fd00::/126")]),
    st.lists(st.sampled_from([ip_network(text) for text in ("10.32.0.2/31", "10.32.0.0/31", "fd00::2/127")]),
             max_size=2).map(tuple))
pod_peers = st.builds(PodPeer, st.none() | selectors, selectors)
tier_peers = st.one_of(st.builds(PodPeer, selectors, selectors), blocks, st.builds(NodePeer, selectors),
                       st.just(Unclear("peer")))
rules = st.builds(
    Rule, st.none() | st.lists(pod_peers | blocks | st.just(Unclear("peer")), min_size=1, max_size=2).map(tuple),
    st.none() | st.lists(ports, min_size=1, max_size=2).map(tuple))
tier_rules = st.builds(
    TierRule, st.sampled_from(("", "first")), st.sampled_from(Action),
    st.lists(tier_peers, min_size=1, max_size=2).map(tuple),
    st.none() | st.lists(ports, min_size=1, max_size=2).map(tuple))
directions = st.none() | st.lists(rules, max_size=2).map(tuple)


@st.composite
def pods(draw: st.DrawFn, number: int) -> Pod:
    addresses = draw(st.sampled_from(((4,), (6,), (4, 6))))
    known = {4: ip_address(f"10.32.0.{number}"), 6: ip_address(f"fd00::{number}")}
    named = draw(st.dictionaries(st.sampled_from(("web", "dns")), st.tuples(st.sampled_from(PORTS), protocols)))
    return Pod(draw(st.sampled_from(NAMESPACES)), f"p{number}", draw(labels),
               tuple(known[family] for family in addresses),
               tuple(ContainerPort(name, port, protocol) for name, (port, protocol) in sorted(named.items())),
               draw(st.sampled_from(sorted(NODES))))


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    found = [draw(pods(number)) for number in range(1, draw(st.integers(1, 5)) + 1)]
    policies = [NetworkPolicy(draw(st.sampled_from(NAMESPACES)), f"np{number}", draw(selectors), draw(directions),
                              draw(directions)) for number in range(draw(st.integers(0, 3)))]
    tiers = [ClusterPolicy(f"cnp{number}", draw(st.sampled_from(Tier)), draw(st.integers(0, 2)),
                           draw(selectors), draw(selectors),
                           tuple(draw(st.lists(tier_rules, max_size=2))), tuple(draw(st.lists(tier_rules, max_size=2))))
             for number in range(draw(st.integers(0, 2)))]
    return Cluster(
        {Key(pod.namespace, pod.name): pod for pod in found},
        {name: Namespace(name, {"ns": name}) for name in draw(st.sets(st.sampled_from(NAMESPACES)))},
        {name: Node(name, {"ns": name}, (address,)) for name, address in NODES.items()},
        {Key(policy.namespace, policy.name): policy for policy in policies},
        {policy.name: policy for policy in tiers},
    )


