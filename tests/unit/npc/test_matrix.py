"""The matrix says of all what the evaluator says of each; tables and differences tell it."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.policy.runner import cluster as read
from tests.unit.npc.worlds import cluster_policies, network_policies, worlds
from weave.npc.evaluator import Connection, Policies, end_of, judge
from weave.npc.explain_matrix import (
    diff,
    diff_json,
    diff_text,
    families_of,
    grid_text,
    holds,
    table,
    table_json,
    table_text,
)
from weave.npc.manifest import gather, parse
from weave.npc.matrix_groups import Kind, Ports, group_ends, group_ports, mentions_of
from weave.npc.model import (
    BlockPeer,
    Cluster,
    ContainerPort,
    Direction,
    Key,
    NamedPort,
    Namespace,
    NetworkPolicy,
    Operator,
    Pod,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)

EVERY = Selector()
ICMP = (None, 0)
PORTS = [ICMP, *((one, port) for one in Protocol for port in (1, 9, 53, 80, 81, 443, 65535))]


def end(cluster, group, index, family):
    """One member of a group as an end."""
    return end_of(cluster.pods[Key(*group.members[index].split("/"))], family) if group.kind is Kind.PODS else group.end


@settings(max_examples=50, deadline=None)
@given(worlds(may_be_host=False))
def test_matrix_is_the_evaluator(world):
    cluster = read(world)
    policies, (family,) = Policies(cluster), families_of(cluster)
    own_nodes = {address for node in cluster.nodes.values() for address in node.addresses}
    for reach, whom in [(row, whom) for row in table(cluster, family) for whom in row.destinations]:
        source, destination = end(cluster, reach.source, 0, family), end(cluster, whom, -1, family)
        if source.address in own_nodes:
            continue
        for protocol, port in PORTS:
            told = any(holds(one, protocol, port) for one in reach.ports)
            assert told is judge(policies, Connection(source, destination, protocol, port)).allowed


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_every_pod_is_in_one_group_of_pods_that_policy_treats_alike(world):
    cluster = read(world)
    (family,) = families_of(cluster)
    groups = [group for group in group_ends(cluster, mentions_of([cluster]), family) if group.kind is Kind.PODS]
    assert sorted(name for group in groups for name in group.members) == sorted(map(str, cluster.pods))
    policies = Policies(cluster)
    for group in groups:
        first, *others = (cluster.pods[Key(*name.split("/"))] for name in group.members)
        for other in others:
            for direction in Direction:
                assert policies.governing(first, direction) == policies.governing(other, direction)


@settings(max_examples=30, deadline=None)
@given(worlds(), st.lists(network_policies(7) | cluster_policies(7), min_size=1, max_size=2))
def test_difference_is_what_the_tables_differ_in(world, more):
    before = read(world)
    after = gather([*(parse(one) for one in world.values()), *(parse(one) for one in more)])
    (family,) = families_of(before)
    assert diff(before, before, family) == []
    assert diff_text(diff(after, after, family)) == "nothing changes"
    for change, back in zip(diff(before, after, family), diff(after, before, family), strict=True):
        assert (change.opens, change.closes) == (back.closes, back.opens)
        assert change.opens or change.closes


def pods(*names, **labels):
    return [Pod("x", name, labels, (ip_address(f"10.0.0.{index + 1}"),)) for index, name in enumerate(names)]


def small(*policies, names=("a", "b")) -> Cluster:
    return gather([Namespace("x", {}), *pods(*names), *policies])


WEB = NetworkPolicy("x", "web", EVERY, (Rule(None, (PortRange(Protocol.TCP, 80, 90),)),), None)
SHUT = NetworkPolicy("x", "shut", EVERY, (), None)


def test_pods_alike_are_one_group_that_is_told_about_itself():
    (outside, itself, _) = table(small(SHUT), 4)
    assert str(itself.source) == "x/a and 1 more"
    assert (itself.destinations, itself.ports) == ((itself.source,), ())
    assert outside.is_all


def test_table_text():
    assert table_text(table(small(WEB, names=["a", "b"]), 4)) == (
        "from x/a and 1 more\n"
        "    everything               to other addresses\n"
        "    tcp/80-90                to x/a and 1 more\n"
        "from other addresses\n"
        "    tcp/80-90                to x/a and 1 more")


def test_grid_text():
    assert grid_text(table(small(SHUT, names=["a"]), 4), Protocol.TCP, 80).splitlines() == [
        "from / to             1  2", "  1  x/a              ·  +", "  2  other addresses  -  ·"]


def test_rows_and_columns_of_a_grid_are_in_one_order():
    only_b = Selector((Requirement("app", Operator.IN, frozenset({"b"})),))
    b = Pod("x", "b", {"app": "b"}, (ip_address("10.0.0.2"),))
    cluster = gather([Namespace("x", {}), *pods("a"), b, NetworkPolicy("x", "shut", only_b, (), None)])
    assert grid_text(table(cluster, 4), Protocol.TCP, 80).splitlines() == [
        "from / to             1  2  3", "  1  x/a              ·  -  +", "  2  x/b              +  ·  +",
        "  3  other addresses  +  -  ·"]


def test_table_json_names_all_members():
    found = table_json(table(small(WEB), 4), 4)
    assert found["ends"][0] == {"name": "x/a and 1 more", "kind": "pods", "members": ["x/a", "x/b"]}
    assert {"from": "x/a and 1 more", "to": ["other addresses"], "ports": ["all"]} in found["reach"]


def test_difference_tells_what_opens_and_what_closes():
    changes = diff(small(SHUT), small(WEB), 4)
    assert diff_text(changes).splitlines() == [
        "opens   x/a and 1 more → x/a and 1 more   tcp/80-90",
        "opens   other addresses → x/a and 1 more  tcp/80-90"]
    assert [one["opens"] for one in diff_json(changes, 4)["changes"]] == [["tcp/80-90"], ["tcp/80-90"]]
    (closing, _) = diff(small(), small(WEB), 4)
    assert diff_text([closing]).startswith("closes ")
    assert "tcp/1-79,91-65535 udp sctp icmp" in diff_text([closing])


def test_blocks_cut_the_address_space():
    rule = Rule((BlockPeer(ip_network("10.1.0.0/16"), (ip_network("10.1.0.0/17"), ip_network("10.1.128.0/17"))),
                 BlockPeer(ip_network("192.0.2.0/24"))), None)
    groups = group_ends(small(NetworkPolicy("x", "p", EVERY, (rule,), None)), mentions_of(
        [small(NetworkPolicy("x", "p", EVERY, (rule,), None))]), 4)
    assert [str(group) for group in groups if group.kind is Kind.ADDRESSES] == [
        "other addresses", "10.1.0.0/17", "10.1.128.0/17", "192.0.2.0/24"]


def test_ports_that_no_policy_tells_apart_are_one():
    assert [str(ports) for ports in group_ports(small(WEB), mentions_of([small(WEB)]))] == [
        "tcp/1-79,91-65535", "tcp/80-90", "udp", "sctp", "icmp"]
    assert str(Ports(Protocol.TCP, ((5, 5),))) == "tcp/5"


def test_a_port_that_two_pods_name_alike_but_number_differently_is_told_of_each():
    a, b = (replace(pod, ports=(ContainerPort("web", number, Protocol.TCP),))
            for pod, number in zip(pods("a", "b"), (80, 443), strict=True))
    to_web = NetworkPolicy("x", "to-web", EVERY, None, (Rule(None, (NamedPort(Protocol.TCP, "web"),)),))
    told = {(str(row.source), str(whom)): [str(ports) for ports in row.ports]
            for row in table(gather([Namespace("x", {}), a, b, to_web]), 4) for whom in row.destinations}
    assert told["x/a", "x/b"] == ["tcp/443"]
    assert told["x/b", "x/a"] == ["tcp/80"]
