"""The evaluator: agrees with the naive matcher everywhere, and what no suite asks."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings

from tests.conformance.policy.runner import by_evaluator, by_naive_matcher
from tests.unit.npc.worlds import all_probes, worlds
from weave.npc.evaluator import Connection, End, Judgement, Policies, Stage, connect, end_of, judge
from weave.npc.manifest import gather
from weave.npc.model import (
    Action,
    AnyPort,
    BlockPeer,
    ClusterPolicy,
    ContainerPort,
    Direction,
    NamedPort,
    Namespace,
    NetworkPolicy,
    Node,
    Pod,
    PodPeer,
    PortRange,
    Protocol,
    Rule,
    Selector,
    Tier,
    TierRule,
    Unclear,
)

EVERY = Selector()
SPACE = Namespace("x", {})
A = Pod("x", "a", {}, (ip_address("10.0.0.1"), ip_address("fd00::1")), node="n1")
B = Pod("x", "b", {}, (ip_address("10.0.0.2"), ip_address("fd00::2")), (ContainerPort("web", 80, Protocol.TCP),), "n2")
HOST = Pod("x", "host", {}, (ip_address("192.0.2.1"),), node="n1", host_network=True)
NODES = (Node("n1", {}, (ip_address("192.0.2.1"),)), Node("n2", {}, (ip_address("192.0.2.2"),)))
CLOSED = NetworkPolicy("x", "closed", EVERY, (), ())
OUTSIDE = End(ip_address("198.51.100.1"))


def verdict(*policies, source=A, destination=B, protocol=Protocol.TCP, port=80):
    known = Policies(gather([A, B, HOST, SPACE, *NODES, *policies]))
    ends = [end if isinstance(end, End) else end_of(end, 4) for end in (source, destination)]
    return judge(known, Connection(*ends, protocol, port))


def opens(*rules):
    return NetworkPolicy("x", "opens", EVERY, rules, None)


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_evaluator_is_the_naive_matcher(world):
    probes = all_probes(world)
    assert by_evaluator(world, probes) == by_naive_matcher(world, probes)


def test_nothing_is_closed_without_a_policy():
    found = verdict()
    assert found.allowed
    assert [finding.stage for finding in found.ingress.findings][-1] is Stage.DEFAULT


@pytest.mark.parametrize(("source", "destination", "reason"), [
    (A, A, "itself"), (End(ip_address("192.0.2.2")), B, "node"), (OUTSIDE, HOST, "host's network"),
])
def test_what_policy_never_concerns(source, destination, reason):
    found = verdict(CLOSED, source=source, destination=destination)
    assert found.allowed
    assert reason in found.ingress.findings[0].reason


def test_node_of_another_pod_is_judged():
    assert not verdict(CLOSED, source=End(ip_address("192.0.2.1"))).allowed


def test_pod_of_the_hosts_network_is_no_peer():
    found = verdict(opens(Rule((PodPeer(None, EVERY),), None)), source=HOST)
    assert not found.ingress.allowed


def test_addresses_outside_are_judged_by_blocks():
    block = Rule((BlockPeer(ip_network("198.51.100.0/24"), (ip_network("198.51.100.1/32"),)),), None)
    assert not verdict(opens(block), source=OUTSIDE).allowed
    assert verdict(opens(block), source=End(ip_address("198.51.100.2"))).allowed


def test_pod_without_an_address_is_in_no_block():
    nowhere = Pod("x", "new", {}, ())
    everywhere = Rule((BlockPeer(ip_network("0.0.0.0/0")),), None)
    assert not verdict(opens(everywhere), source=nowhere).allowed


@pytest.mark.parametrize("port", [AnyPort(Protocol.TCP), PortRange(Protocol.TCP, 1, 65535)])
def test_icmp_is_opened_by_rules_without_ports_alone(port):
    assert not verdict(opens(Rule(None, (port,))), protocol=None, port=0).allowed
    assert verdict(opens(Rule(None, None)), protocol=None, port=0).allowed


def test_named_port_is_the_destinations_own():
    rule = Rule(None, (NamedPort(Protocol.TCP, "web"),))
    assert verdict(opens(rule)).allowed
    assert not verdict(opens(rule), source=B, destination=A).allowed


def test_unclear_opens_nothing():
    assert not verdict(opens(Rule((Unclear("?"),), None))).allowed
    assert not verdict(opens(Rule(None, (Unclear("?"),)))).allowed


@pytest.mark.parametrize(("action", "allowed"), [(Action.ACCEPT, True), (Action.DENY, False), (Action.PASS, False)])
def test_unclear_in_a_tier_accepts_nothing_and_denies_everything(action, allowed):
    rule = TierRule("", action, (PodPeer(EVERY, EVERY), Unclear("?")), None)
    policy = ClusterPolicy("tier", Tier.ADMIN, 0, EVERY, EVERY, (rule,), ())
    found = verdict(policy)
    assert found.allowed is allowed
    assert found.ingress.findings[1].judgement is (Judgement.NEXT if allowed else Judgement.DENY)


def test_deciding_rule_is_named():
    rules = (Rule((Unclear("?"),), None), Rule(None, None))
    decided = verdict(opens(*rules)).ingress.findings[-1]
    assert (decided.stage, decided.policies, decided.rule) == (Stage.POLICY, ("x/opens",), 1)


def test_policies_that_isolate_are_all_named():
    decided = verdict(CLOSED, NetworkPolicy("x", "also", EVERY, (), None)).ingress.findings[-1]
    assert decided.policies == ("x/also", "x/closed")


def test_pod_may_be_in_a_namespace_that_is_not_known():
    lost = Pod("lost", "a", {}, (ip_address("10.0.0.9"),))
    assert verdict(opens(Rule((PodPeer(EVERY, EVERY),), None)), source=lost).allowed


def test_pods_meet_over_a_family_that_both_have():
    both, six = A, Pod("x", "six", {}, (ip_address("fd00::6"),))
    assert connect(both, six).source.address == ip_address("fd00::1")
    assert connect(both, B).source.address == ip_address("10.0.0.1")
    assert connect(six, Pod("x", "none", {}, ())).source.address is None


def test_direction_of_each_decision():
    found = verdict(NetworkPolicy("x", "out", EVERY, None, ()))
    assert found.egress.direction is Direction.EGRESS
    assert not found.egress.allowed
    assert found.ingress.allowed
