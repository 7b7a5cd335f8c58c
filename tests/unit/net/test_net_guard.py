"""The nftables tables: what is wanted, how a listing is read, and the shortest way between the two."""

import json
from ipaddress import ip_address, ip_network

import pytest

from weave.errors import EnvironmentFailure
from weave.net.guard import (
    GUARD_TABLE,
    NAT_TABLE,
    Shape,
    elements_of,
    guard_table,
    masqueraded,
    nat_table,
    plan_table,
    read_listing,
    transaction,
)

ONE, TWO, SIX = ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("2001:db8::1")
SUBNET = ip_network("10.32.0.0/12")
MAC = "02:00:00:00:00:01"


def guard(*vteps: object):
    return guard_table(vteps, bridge="weave", mac=MAC, port=6784)  # type: ignore[arg-type]


def test_a_table_that_is_as_wanted_needs_nothing() -> None:
    assert plan_table(GUARD_TABLE, guard(ONE, SIX), guard(ONE, SIX).shape) == []


def test_a_change_of_peers_changes_elements_only() -> None:
    commands = plan_table(GUARD_TABLE, guard(TWO, SIX), guard(ONE).shape)
    assert [(verb, body["element"]["name"], body["element"]["elem"])  # type: ignore[index]
            for command in commands for verb, body in command.items()] == [
        ("delete", "vteps4", ["192.0.2.1"]), ("add", "vteps4", ["192.0.2.2"]), ("add", "vteps6", ["2001:db8::1"])]


@pytest.mark.parametrize("actual", [
    None, Shape({}, ()), Shape(guard(ONE).shape.sets, guard(ONE).shape.rules[1:]),
    Shape(guard(ONE).shape.sets, guard_table((), bridge="other", mac=MAC, port=1).shape.rules),
])
def test_a_table_that_lacks_something_is_replaced_as_a_whole(actual: Shape | None) -> None:
    commands = plan_table(GUARD_TABLE, guard(ONE), actual)
    assert [next(iter(command)) for command in commands[:3]] == ["add", "delete", "add"]
    assert sum("rule" in command.get("add", {}) for command in commands) == 7  # type: ignore[operator]


def test_the_host_passes_packets_on_within_each_subnet_and_not_between() -> None:
    blue, red = ip_network("10.33.1.0/24"), ip_network("fd00::/64")
    table = guard_table([ONE], [red, blue], bridge="weave", mac=MAC, port=6784)
    assert "subnets" in [chain.name for chain in table.chains]
    rules = [item for item in table.rules if item.chain == "subnets"]
    assert [item.comment.rpartition(" ")[0] for item in rules] == [
        "within 10.33.1.0/24", "within fd00::/64", "between subnets"]
    assert [item.expression[-1] for item in rules] == [{"accept": None}, {"accept": None}, {"drop": None}]
    assert "subnets" not in [chain.name for chain in guard(ONE).chains], "unless it is told to pass on everything"


def test_vxlan_that_the_host_passes_on_does_not_come_to_look_like_its_own() -> None:
    chains = {chain.name: (chain.hook, chain.priority) for chain in guard(ONE).chains}
    assert chains["passing"] == ("forward", -10)
    assert chains["untracked"] == ("prerouting", -300), "before connection tracking, which is at -200"
    verdicts = [(item.chain, item.expression[-1]) for item in guard(ONE).rules if item.chain != "guard"]
    assert verdicts == [("passing", {"drop": None}), *[("untracked", {"notrack": None})] * 2]


def test_no_exposed_subnet_means_no_nat_table() -> None:
    assert nat_table((), bridge="weave") is None
    assert plan_table(NAT_TABLE, None, None) == []
    assert plan_table(NAT_TABLE, None, Shape({}, ())) == [{"delete": {"table": {"family": "inet", "name": NAT_TABLE}}}]


def test_masqueraded_subnets_are_found_again_in_a_listing() -> None:
    table = nat_table([SUBNET, ip_network("fd00::/64")], bridge="weave")
    assert table is not None
    assert masqueraded(table.shape) == {SUBNET, ip_network("fd00::/64")}
    assert all(rule.expression[-1] == {"masquerade": {"flags": "fully-random"}} for rule in table.rules)
    former = Shape({}, (("masquerade", f"masquerade {SUBNET} in"), ("masquerade", f"masquerade {SUBNET} out")))
    assert masqueraded(former) == {SUBNET}
    assert plan_table(NAT_TABLE, table, former), "rules of an earlier version are replaced"
    assert masqueraded(Shape({}, (("masquerade", "masquerade nonsense in 1"), ("x", "y")))) == frozenset()


def test_a_listing_is_read_with_its_drops() -> None:
    listing = {"nftables": [
        {"metainfo": {"version": "1.0.6"}}, {"table": {"name": "weave"}},
        {"set": {"name": "vteps4", "elem": ["192.0.2.1"]}}, {"set": {"name": "vteps6"}},
        {"rule": {"chain": "guard", "comment": "a", "expr": [{"counter": {"packets": 3, "bytes": 9}}, {"drop": None}]}},
    ]}
    shape, dropped = read_listing(listing)
    assert shape == Shape({"vteps4": frozenset({ONE}), "vteps6": frozenset()}, (("guard", "a"),))
    assert (dropped, elements_of(shape)) == (3, {ONE})


@pytest.mark.parametrize("listing", [None, [], {}, {"nftables": [{"set": {}}]}, {"nftables": [{"rule": {"expr": [1]}}]},
                                     {"nftables": [{"set": {"name": "x", "elem": ["nonsense"]}}]}])
def test_a_listing_of_another_shape_is_a_failure_in_words(listing: object) -> None:
    with pytest.raises(EnvironmentFailure, match="install nftables"):
        read_listing(listing)


def test_a_transaction_is_json_of_all_commands() -> None:
    assert json.loads(transaction(plan_table(GUARD_TABLE, guard(ONE), None)))["nftables"][0] == {
        "add": {"table": {"family": "inet", "name": "weave"}}}


def test_local_containers_that_keep_sources_come_first_and_are_found_again() -> None:
    table = nat_table([SUBNET], bridge="weave", local=frozenset({ONE}))
    assert table is not None
    assert [rule.comment.split(" ")[0] for rule in table.rules] == [
        "keep", "keep", "keep", "masquerade", "masquerade"]
    assert [chain.name for chain in table.chains] == ["between", "masquerade"]
    assert table.chains[0].priority < table.chains[1].priority, "what is settled first stays"
    assert elements_of(table.shape) == {ONE}
    assert masqueraded(table.shape) == {SUBNET}
    assert nat_table((), bridge="weave", local=frozenset({ONE})) is None
    more = nat_table([SUBNET], bridge="weave", local=frozenset({ONE, TWO}))
    assert [list(command) for command in plan_table(NAT_TABLE, more, table.shape)] == [["add"]]
