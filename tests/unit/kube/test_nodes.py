import pytest

from weave.kube import limits
from weave.kube.nodes import choose_targets, network_condition, read_node


def node(name, *addresses, conditions=()):
    return {"metadata": {"name": name}, "status": {
        "addresses": [{"type": kind, "address": address} for kind, address in addresses],
        "conditions": list(conditions)}}


def views(*values):
    return {view.name: view for view in map(read_node, values)}


@pytest.mark.parametrize(("addresses", "expected"), [
    ([("InternalIP", "192.0.2.1"), ("ExternalIP", "198.51.100.1")], ("192.0.2.1",)),
    ([("ExternalIP", "198.51.100.1"), ("Hostname", "n1")], ("198.51.100.1",)),
    ([("InternalIP", "192.0.2.1"), ("InternalIP", "2001:db8::1")], ("192.0.2.1", "2001:db8::1")),
    ([("InternalIP", "not one")], ()),
    ([], ()),
])
def test_internal_addresses_go_before_external_ones(addresses, expected):
    assert read_node(node("n1", *addresses)).addresses == expected


@pytest.mark.parametrize("value", [None, [], {}, {"metadata": 7}, {"metadata": {"name": ""}}])
def test_what_is_no_node_is_none(value):
    assert read_node(value) is None


def test_conditions_tell_who_runs_our_network():
    ours = network_condition("2026-01-01T00:00:00Z", is_up=True)["status"]["conditions"]
    assert read_node(node("n1", conditions=ours)).has_our_network
    assert not read_node(node("n1", conditions=[{**ours[0], "reason": "Other"}])).has_our_network
    starting = network_condition("2026-01-01T00:00:00Z", is_up=False)["status"]["conditions"]
    assert not read_node(node("n1", conditions=starting)).has_our_network


def test_targets_are_the_others_in_our_own_family():
    nodes = views(node("n1", ("InternalIP", "2001:db8::1"), ("InternalIP", "192.0.2.1")),
                  node("n2", ("InternalIP", "192.0.2.2"), ("InternalIP", "2001:db8::2")),
                  node("n3", ("InternalIP", "192.0.2.3")), node("n4"))
    assert choose_targets(nodes, "n1") == ("2001:db8::2", "192.0.2.3")
    assert choose_targets(nodes, "n3") == ("2001:db8::1", "192.0.2.2") or choose_targets(nodes, "n3") == (
        "192.0.2.1", "192.0.2.2")


@pytest.mark.parametrize("count", [2, limits.MAX_TARGETS + 1, limits.MAX_TARGETS + 2, 100, 1000])
def test_of_many_nodes_few_are_dialled_and_all_are_connected(count):
    nodes = views(*(node(f"n{number:04}", ("InternalIP", f"10.0.{number >> 8}.{number & 255}"))
                    for number in range(count)))
    names = {view.addresses[0]: name for name, view in nodes.items()}
    dialled = {name: [names[address] for address in choose_targets(nodes, name)] for name in sorted(nodes)}
    assert all(len(others) <= limits.MAX_TARGETS and name not in others for name, others in dialled.items())
    reached, edge = {"n0000"}, ["n0000"]
    while edge:
        new = [other for name in edge for other in dialled[name] if other not in reached]
        reached |= set(new)
        edge = list(dict.fromkeys(new))
    assert len(reached) == count
