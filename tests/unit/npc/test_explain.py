"""Explanations say what decides, in words and as JSON."""

from ipaddress import ip_address

import pytest

from weave.errors import LocalError
from weave.npc.evaluator import Connection, Policies
from weave.npc.explain import find_ends, parse_port, trace_json, trace_text
from weave.npc.manifest import gather, parse
from weave.npc.model import Namespace, Pod, Protocol

A = Pod("x", "a", {"app": "a"}, (ip_address("10.0.0.1"), ip_address("fd00::1")))
B = Pod("default", "b", {"app": "b"}, (ip_address("10.0.0.2"),))
SIX = Pod("x", "six", {}, (ip_address("fd00::6"),))
SPACES = (Namespace("x", {"team": "red"}), Namespace("default", {}))


def policy(name, namespace="default", **spec):
    return parse({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                  "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def tier(name, tier="Admin", **rules):
    return parse({"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
                  "metadata": {"name": name},
                  "spec": {"tier": tier, "priority": 1, "subject": {"namespaces": {}}, **rules}})


def ask(*policies, source="x/a", destination="b", port="tcp/80"):
    known = Policies(gather([A, B, SIX, *SPACES, *policies]))
    return known, Connection(*find_ends(known, source, destination), *parse_port(port))


def text(*policies, **asked):
    return trace_text(*ask(*policies, **asked))


def test_nothing_decides():
    assert text() == (
        "x/a (10.0.0.1) → default/b (10.0.0.2), tcp/80: allowed\n\n"
        "egress of x/a (10.0.0.1): allowed\n"
        "  tier Admin: no rule matches\n"
        "  NetworkPolicy: none selects this pod\n"
        "  tier Baseline: no rule matches\n"
        "  no policy decides: everything is allowed\n\n"
        "ingress of default/b (10.0.0.2): allowed\n"
        "  tier Admin: no rule matches\n"
        "  NetworkPolicy: none selects this pod\n"
        "  tier Baseline: no rule matches\n"
        "  no policy decides: everything is allowed")


def test_rule_that_opens_is_told_in_words():
    opens = policy("web", ingress=[{"ports": [{"port": 9}]}, {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}, "podSelector": {}},
                 {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
        "ports": [{"port": 80, "endPort": 90}, {"port": "dns", "protocol": "UDP"}]}])
    assert ("  NetworkPolicy default/web opens it, ingress[1]\n"
            "    from all pods of namespaces team=red, or 10.0.0.0/8 except 10.1.0.0/16; tcp/80-90, "
            "the port named dns (UDP)") in text(opens)


def test_policies_that_isolate_are_named():
    words = text(policy("shut"), policy("also"))
    assert "isolated by NetworkPolicy default/also, default/shut; no rule of them opens it" in words
    assert "tcp/80: denied" in words


def test_tiers_are_told_in_their_order():
    passes = tier("first", ingress=[{"name": "leave it", "action": "Pass", "from": [{"namespaces": {}}]}])
    denies = tier("last", "Baseline", ingress=[{"action": "Deny", "from": [{"pods": {"podSelector": {}}}]}])
    assert ("  tier Admin: ClusterNetworkPolicy first passes it, ingress[0] 'leave it'\n"
            "    from all pods of all namespaces; every port\n"
            "  NetworkPolicy: none selects this pod\n"
            "  tier Baseline: ClusterNetworkPolicy last denies it, ingress[0]\n") in text(passes, denies)


def test_what_was_not_understood_is_told_where_it_matters():
    words = text(policy("odd", ingress=[{"from": [{"services": {}}]}]))
    assert "! default/odd: spec.ingress[0].from[0] has the field 'services'" in words


def test_exempt_is_told_why():
    assert "a pod may always talk to itself" in text(policy("shut"), source="b")
    assert "it is no pod" in text(source="192.0.2.1")


def test_json_says_the_same():
    found = trace_json(*ask(policy("shut"), port="icmp"))
    assert found["source"] == {"pod": "x/a", "address": "10.0.0.1"}
    assert (found["protocol"], found["allowed"], found["egress"]["allowed"]) == (None, False, True)
    assert found["ingress"]["findings"][-1] == {
        "stage": "NetworkPolicy", "verdict": "deny", "policies": ["default/shut"], "rule": None, "rule_name": "",
        "reason": ""}


@pytest.mark.parametrize(("words", "meant"), [
    ("tcp/80", (Protocol.TCP, 80)), ("53/udp", (Protocol.UDP, 53)), ("80", (Protocol.TCP, 80)), ("ICMP", (None, 0)),
    ("SCTP/9", (Protocol.SCTP, 9))])
def test_ports_as_people_write_them(words, meant):
    assert parse_port(words) == meant


@pytest.mark.parametrize("words", ["", "tcp", "tcp/0", "tcp/65536", "http/80", "tcp/http", "icmp/1", "tcp/-1"])
def test_what_is_no_port_is_refused_with_an_example(words):
    with pytest.raises(LocalError, match="tcp/80"):
        parse_port(words)


def test_ends_as_people_write_them():
    known, _ = ask()
    assert [end.address for end in find_ends(known, "x/a", "fd00::9")] == [ip_address("fd00::1"), ip_address("fd00::9")]
    assert find_ends(known, "10.0.0.2", "x/a")[0].pod is B


def test_a_name_that_several_hosts_have_is_asked_back():
    blue, other = Pod("default", "blue@h1", {}, A.addresses), Pod("default", "blue@h2", {}, B.addresses)
    known = Policies(gather([blue, other]))
    for word in ("blue", "default/blue"):
        with pytest.raises(LocalError, match=f"no pod {word}, but on several hosts default/blue@h1, default/blue@h2"):
            find_ends(known, word, "10.0.0.9")
    assert find_ends(known, "blue@h2", "10.0.0.9")[0].pod is other


@pytest.mark.parametrize(("source", "destination", "why"), [
    ("x/nobody", "b", "no pod x/nobody"), ("nobody", "b", "NAMESPACE/POD"), ("x/six", "b", "family in common")])
def test_ends_that_cannot_be(source, destination, why):
    with pytest.raises(LocalError, match=why):
        ask(source=source, destination=destination)
