"""Manifests: what is right becomes values, what is not fails closed and says so."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings

from tests.unit.npc.worlds import worlds
from weave.npc.manifest import gather, parse
from weave.npc.manifest_fields import MAX_PARTS, ManifestError
from weave.npc.model import (
    Action,
    AnyPort,
    BlockPeer,
    ContainerPort,
    NamedPort,
    NodePeer,
    PodPeer,
    PortRange,
    Protocol,
    Rule,
    Selector,
    Tier,
    Unclear,
)
from weave.npc.selectors import parse_selector

EVERY = Selector()


def pod(spec=None, status=None, **meta):
    return parse({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "x", **meta},
                  "spec": spec or {}, "status": status or {}})


def policy(spec, **meta):
    return parse({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                  "metadata": {"name": "p", "namespace": "x", **meta}, "spec": spec})


def cluster_policy(**changed):
    spec = {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}, **changed}
    return parse({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
                  "metadata": {"name": "p"}, "spec": spec})


def the_peer(peer):
    (rule,) = policy({"ingress": [{"from": [peer]}]}).ingress
    return rule.peers[0]


def the_port(port):
    (rule,) = policy({"ingress": [{"ports": [port]}]}).ingress
    return rule.ports[0]


# Pods, namespaces, nodes

def test_pod_has_addresses_of_both_families_and_ports_of_all_who_stay():
    found = pod({"nodeName": "n1",
                 "containers": [{"ports": [{"name": "web", "containerPort": 80}, {"containerPort": 1}]}],
                 "initContainers": [
                     {"restartPolicy": "Always", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
                     {"ports": [{"name": "gone", "containerPort": 9}]}]},
                {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, labels={"b": "2", "a": "1"})
    assert found.addresses == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert found.ports == (ContainerPort("dns", 53, Protocol.UDP), ContainerPort("web", 80, Protocol.TCP))
    assert (found.node, found.host_network, list(found.labels)) == ("n1", False, ["a", "b"])


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pod_that_ended_has_no_addresses(phase):
    assert pod(status={"phase": phase, "podIP": "10.0.0.1"}).addresses == ()


def test_containers_may_be_called_as_kubernetes_would_not():
    assert pod(name="pid:4711", namespace="My_Shop").name == "pid:4711"


def test_namespace_has_the_label_of_its_name():
    found = parse({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}})
    assert found.labels == {"kubernetes.io/metadata.name": "x"}


def test_label_of_an_object_without_a_value_is_empty_as_kubernetes_reads_it():
    assert pod(labels={"a": None}).labels == {"a": ""}


def test_node_has_its_ip_addresses_alone():
    found = parse({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [
        {"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "192.0.2.1"}]}})
    assert found.addresses == (ip_address("192.0.2.1"),)


@pytest.mark.parametrize("manifest", [
    None, [], "x", {}, {"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": 1, "kind": "Pod"},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": ""}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a\n"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"k": 5}}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {"podIP": "10.0.0"}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "status": {"addresses": [[]]}},
    {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "x"}, "spec": {}},
])
def test_what_is_no_such_object_is_refused(manifest):
    with pytest.raises(ManifestError):
        parse(manifest)


# NetworkPolicy

@pytest.mark.parametrize(("spec", "ingress", "egress"), [
    ({}, (), None),
    ({"egress": []}, (), None),
    ({"egress": [{}]}, (), (Rule(None, None),)),
    ({"ingress": [{}], "policyTypes": []}, (Rule(None, None),), None),
    ({"ingress": [{}], "policyTypes": ["Egress"]}, None, ()),
    ({"policyTypes": ["Ingress", "Egress"], "ingress": None, "egress": None}, (), ()),
])
def test_governed_directions_default_as_in_kubernetes(spec, ingress, egress):
    found = policy(spec)
    assert (found.ingress, found.egress, found.problems) == (ingress, egress, ())


def test_empty_peers_and_ports_are_all():
    assert policy({"ingress": [{"from": [], "ports": []}]}).ingress == (Rule(None, None),)


@pytest.mark.parametrize(("peer", "value"), [
    ({"podSelector": {}}, PodPeer(None, EVERY)),
    ({"namespaceSelector": {}}, PodPeer(EVERY, EVERY)),
    ({"namespaceSelector": None, "podSelector": {}}, PodPeer(None, EVERY)),
    ({"ipBlock": {"cidr": "10.0.0.5/8"}}, BlockPeer(ip_network("10.0.0.0/8"))),
    ({"ipBlock": {"cidr": "fd00::/8", "except": ["fd01::/16"]}},
     BlockPeer(ip_network("fd00::/8"), (ip_network("fd01::/16"),))),
])
def test_peers(peer, value):
    assert the_peer(peer) == value


@pytest.mark.parametrize(("port", "value"), [
    ({}, AnyPort(Protocol.TCP)), ({"protocol": "SCTP"}, AnyPort(Protocol.SCTP)),
    ({"port": 80}, PortRange(Protocol.TCP, 80, 80)), ({"port": 80, "endPort": 90}, PortRange(Protocol.TCP, 80, 90)),
    ({"port": "web", "protocol": "UDP"}, NamedPort(Protocol.UDP, "web")),
])
def test_ports(port, value):
    assert the_port(port) == value


@pytest.mark.parametrize("peer", [
    {}, None, "x", {"podSelector": None}, {"services": {}}, {"podSelector": {}, "services": {}},
    {"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}},
    {"podSelector": {"matchLabels": {"a": 1}}}, {"podSelector": {"matchLabel": {"a": "1"}}},
    {"podSelector": {"matchLabels": {"a": None}}}, {"namespaceSelector": {"matchLabels": {"a": "1", "b": None}}},
    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": None}]}},
    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": [None]}]}},
    {"ipBlock": {"cidr": "10.0.0.0/8", "except": [None]}},
    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
    {"ipBlock": {}}, {"ipBlock": {"cidr": "10.0.0.0"}}, {"ipBlock": {"cidr": "10.0.0.0/33"}},
    {"ipBlock": {"cidr": "fd00::/8", "except": ["10.0.0.0/8"]}}, {"ipBlock": {"cidr": "::ffff:10.0.0.0/104"}},
    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}, {"ipBlock": {"cidr": "10.0.0.0/8", "excepts": []}},
])
def test_unclear_peer_matches_nothing_and_says_so(peer):
    found = policy({"ingress": [{"from": [peer, {"podSelector": {}}]}]})
    unclear, clear = found.ingress[0].peers
    assert isinstance(unclear, Unclear)
    assert clear == PodPeer(None, EVERY)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("spec.ingress[0].from[0]")
    assert found.problems[0].endswith("this peer matches nothing.")


@pytest.mark.parametrize("port", [
    {"protocol": "tcp"}, {"protocol": "ICMP"}, {"endPort": 80}, {"port": "web", "endPort": 80}, {"port": 0},
    {"port": 65536}, {"port": True}, {"port": 80.0}, {"port": 90, "endPort": 80}, {"port": "80"}, {"port": "Web"},
    {"port": "a--b"}, {"port": 80, "ports": []}, "80", {"protocol": ["TCP"]},
    None,
])
def test_unclear_port_matches_nothing(port):
    found = policy({"ingress": [{"ports": [port]}]})
    assert isinstance(found.ingress[0].ports[0], Unclear)
    assert len(found.problems) == 1


@pytest.mark.parametrize("rule", [None, "x", {"from": {}}, {"from": [{}], "unless": []}, {"ports": "80"}])
def test_unclear_rule_opens_nothing(rule):
    found = policy({"ingress": [rule]})
    assert all(isinstance(peer, Unclear) for peer in found.ingress[0].peers)
    assert found.problems


@pytest.mark.parametrize("spec", [[], "x", 5, [[[]] * 600] * 600])
def test_policy_that_is_nonsense_isolates_its_namespace(spec):
    found = policy(spec)
    assert (found.pods, found.ingress, found.egress) == (EVERY, (), ())
    assert len(found.problems) == 1


def test_policy_of_unclear_pods_isolates_its_namespace():
    found = policy({"podSelector": {"matchExpressions": [{"key": "a", "operator": "?"}]}, "ingress": [{}]})
    assert (found.pods, found.ingress, found.egress) == (EVERY, (), None)
    assert len(found.problems) == 1


def test_label_without_a_value_does_not_make_a_policy_select_more_of_whom_it_opens_for():
    found = policy({"podSelector": {"matchLabels": {"a": None}}, "ingress": [{}]})
    assert (found.pods, found.ingress, found.egress) == (EVERY, (), None)
    assert found.problems[0].startswith("spec.podSelector.matchLabels['a'] is nothing")


@pytest.mark.parametrize("egress", [{}, "", 0, False])
def test_rules_that_are_no_list_govern(egress):
    found = policy({"egress": egress})
    assert (found.ingress, found.egress, len(found.problems)) == ((), (), 1)


@pytest.mark.parametrize("field", ["podSelector", "policyTypes", "ingress", "egress"])
def test_null_is_as_absent_as_for_kubernetes(field):
    assert policy({field: None}) == policy({})


@pytest.mark.parametrize("field", ["from", "ports"])
def test_null_peers_and_ports_are_all_as_for_kubernetes(field):
    assert policy({"ingress": [{field: None}]}).ingress == (Rule(None, None),)


def test_unknown_field_of_a_policy_makes_it_open_nothing():
    found = policy({"podSelector": {"matchLabels": {"a": "b"}}, "ingress": [{}], "when": "monday"})
    assert (found.ingress, len(found.problems)) == ((), 1)
    assert found.pods != EVERY


def test_unknown_policy_type_governs_both_directions():
    found = policy({"policyTypes": ["Sideways"], "ingress": [{}]})
    assert (found.ingress, found.egress, len(found.problems)) == ((Rule(None, None),), (), 1)


def test_value_said_once_and_meant_a_million_times_costs_little():
    peers = [{"podSelector": {}}] * 9000
    found = policy({"ingress": [{"from": peers}] * 9000})
    assert (found.ingress, found.egress) == ((), ())
    assert str(MAX_PARTS) in found.problems[0]


@pytest.mark.parametrize(("said", "namespace"), [
    ("Shop", "Shop"), ("my_team", "my_team"), ("", "default"), (None, "default")])
def test_namespace_is_taken_as_it_is_written(said, namespace):
    assert (policy({}, namespace=said).namespace, policy({}, namespace=said).problems) == (namespace, ())
    assert pod(namespace=said).namespace == namespace


@pytest.mark.parametrize("namespace", [2024, False, [], "a/b", "a\n", "x" * 254])
def test_what_is_no_namespace_is_refused(namespace):
    for read in (pod, policy):
        with pytest.raises(ManifestError, match=r"metadata\.namespace"):
            read({}, namespace=namespace)


def test_policies_whose_names_differ_in_capitals_are_two():
    assert len(gather([policy({}, name="deny"), policy({}, name="Deny")]).policies) == 2


def test_policy_with_an_impossible_name_stays_in_force():
    found = policy({}, name='Ev"il\n', namespace="x")
    assert (found.name, found.ingress) == ("ev-il", ())
    assert len(found.problems) == 1


def test_labels_of_a_policy_mean_nothing():
    assert policy({}, labels={"a": 5}).problems == ()


# ClusterNetworkPolicy

def the_rule(rule, direction="egress"):
    (found,) = getattr(cluster_policy(**{direction: [rule]}), direction)
    return found


def test_cluster_policy():
    found = cluster_policy(
        subject={"pods": {"podSelector": {"matchLabels": {"a": "b"}}}},
        ingress=[{"name": "one", "action": "Pass", "from": [{"namespaces": {}}, {"pods": {"podSelector": {}}}]}],
        egress=[{"action": "Deny", "to": [{"networks": ["10.0.0.0/8", "::/0"]}, {"nodes": {}}], "protocols": [
            {"tcp": {"destinationPort": {"number": 80}}},
            {"udp": {"destinationPort": {"range": {"start": 1, "end": 9}}}}]}])
    assert (found.tier, found.priority, found.namespaces) == (Tier.ADMIN, 5, EVERY)
    assert found.pods == parse_selector({"matchLabels": {"a": "b"}}, "")
    assert (found.ingress[0].name, found.ingress[0].action) == ("one", Action.PASS)
    assert found.ingress[0].peers == (PodPeer(EVERY, EVERY), PodPeer(EVERY, EVERY))
    assert found.egress[0].peers == (
        BlockPeer(ip_network("10.0.0.0/8")), BlockPeer(ip_network("::/0")), NodePeer(EVERY))
    assert found.egress[0].ports == (PortRange(Protocol.TCP, 80, 80), PortRange(Protocol.UDP, 1, 9))
    assert found.problems == ()


def test_the_next_version_of_the_api_is_read_alike():
    spec = {"tier": "Baseline", "priority": 1, "subject": {"namespaces": {}}}
    one, other = (parse({"apiVersion": f"policy.networking.k8s.io/{version}", "kind": "ClusterNetworkPolicy",
                         "metadata": {"name": "p"}, "spec": spec}) for version in ("v1alpha2", "v1beta1"))
    assert one == other


def test_named_port_of_a_cluster_policy_has_the_protocol_of_the_pods_port():
    found = the_rule({"action": "Accept", "to": [{"namespaces": {}}], "protocols": [{"destinationNamedPort": "web"}]})
    assert found.ports == (NamedPort(None, "web"),)


UNCLEAR_RULES = [
    {"to": []}, {"to": None}, {"to": [{}]}, {"to": [{"namespaces": {}, "nodes": {}}]}, {"to": [{"services": {}}]},
    {"to": [{"domainNames": ["example.org"]}]}, {"to": [{"networks": ["10.0.0.0"]}]}, {"to": [{"networks": []}]},
    {"to": [{"namespaces": {"matchLabels": {"a": None}}}]}, {"to": [{"namespaces": None}]}, {"to": [None]},
    {"to": [{"pods": {"podSelector": None}}]}, {"protocols": [None]},
    {"protocols": [{"tcp": {"destinationPort": None}}]},
    {"to": [{"pods": {}}]}, {"protocols": []}, {"protocols": [{}]}, {"protocols": [{"tcp": {}}]},
    {"protocols": [{"icmp": {}}]}, {"protocols": [{"tcp": {"destinationPort": {"number": 0}}}]},
    {"protocols": [{"tcp": {"destinationPort": {"range": {"start": 9, "end": 1}}}}]},
    {"to": [{"nodes": {}}], "protocols": [{"destinationNamedPort": "web"}]}, {"unless": []},
]


@pytest.mark.parametrize("part", UNCLEAR_RULES)
@pytest.mark.parametrize(("action", "becomes"), [
    ("Accept", Action.ACCEPT), ("Deny", Action.DENY), ("Pass", Action.DENY), ("Allow", Action.DENY)])
def test_unclear_rule_accepts_nothing_or_denies_everything(part, action, becomes):
    found = cluster_policy(egress=[{"action": action, "to": [{"namespaces": {}}], **part}])
    (rule,) = found.egress
    assert rule.action is becomes
    assert isinstance(rule.peers[0], Unclear)
    assert (len(rule.peers), rule.ports, len(found.problems)) == (1, None, 1)


def test_nodes_are_no_peers_of_ingress():
    assert isinstance(the_rule({"action": "Accept", "from": [{"nodes": {}}]}, "ingress").peers[0], Unclear)


@pytest.mark.parametrize("part", [
    {"tier": "Middle"}, {"tier": None}, {"priority": -1}, {"priority": None}, {"priority": 1001},
    {"subject": {}}, {"subject": {"namespaces": {}, "pods": {}}}, {"subject": None}, {"when": "monday"},
    {"subject": {"namespaces": {"matchLabels": {"a": None}}}},
])
def test_cluster_policy_of_which_nobody_knows_where_it_stands_only_denies(part):
    peers = [{"namespaces": {}}]
    found = cluster_policy(egress=[{"action": action, "to": peers} for action in ("Accept", "Deny", "Pass")], **part)
    assert (found.tier, found.priority, found.namespaces, found.pods) == (Tier.ADMIN, 0, EVERY, EVERY)
    assert [rule.action for rule in found.egress] == [Action.ACCEPT, Action.DENY, Action.DENY]
    assert isinstance(found.egress[0].peers[0], Unclear)
    assert len(found.problems) == 1


@pytest.mark.parametrize("spec", ["x", [], 5])
def test_cluster_policy_that_is_nonsense_denies_everything(spec):
    found = parse({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
                   "metadata": {"name": "p"}, "spec": spec})
    assert [rule.action for rule in (*found.ingress, *found.egress)] == [Action.DENY, Action.DENY]


# Everything

@settings(max_examples=30, deadline=None)
@given(worlds())
def test_valid_manifests_have_no_problems(world):
    cluster = gather([parse(manifest) for manifest in world.values()])
    policies = (*cluster.policies.values(), *cluster.cluster_policies.values())
    assert not [problem for one in policies for problem in one.problems]

