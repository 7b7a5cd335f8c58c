"""The rule that keeps secrets: who gets plain container traffic, who gets it sealed, and what is said of it."""

from ipaddress import ip_address, ip_network

import pytest

from weave.names import PeerName
from weave.router.underlay import (
    MODE_NONE,
    MODE_SLEEVE,
    MODE_VXLAN,
    Ability,
    PeerUnderlay,
    decide_link,
    host_of,
    is_translated,
)

HERE = ip_address("192.0.2.1")
THERE = ip_address("192.0.2.2")
LAN = ip_network("192.0.2.0/24")
ELSEWHERE = ip_network("203.0.113.0/24")


def peer(**changes):
    given = {"name": PeerName("02:00:00:00:00:02"), "nickname": "h2", "connected_from": THERE, "advertised": (THERE,),
             "encrypts": True, "trusts_us": True, "trusted_subnets": (LAN,), "sleeve": True}
    return PeerUnderlay(**{**given, **changes})


ABLE = Ability(sleeve=True)


def decide(peer_, *, encrypts=True, trusted=(LAN,), own=(HERE,), ability=ABLE):
    return decide_link(peer_, encrypts=encrypts, trusted_subnets=trusted, own_addresses=own, ability=ability)


@pytest.mark.parametrize(("case", "mode", "says"), [
    (decide(peer()), MODE_VXLAN, "both ends trust"),
    (decide(peer(), trusted=()), MODE_SLEEVE, "not in --trusted-subnets of this host"),
    (decide(peer(), trusted=(ELSEWHERE,)), MODE_SLEEVE, "not in --trusted-subnets of this host"),
    (decide(peer(trusts_us=False)), MODE_SLEEVE, "of that peer"),
    (decide(peer(encrypts=False), encrypts=False, trusted=()), MODE_VXLAN, "no password"),
    (decide(peer(encrypts=True, trusts_us=False), encrypts=False), MODE_SLEEVE, "of that peer"),
    (decide(peer(encrypts=False), encrypts=True, trusted=()), MODE_SLEEVE, "of this host"),
    (decide(peer(connected_from=None, trusts_us=None)), MODE_VXLAN, "both ends trust"),
    (decide(peer(connected_from=None, trusts_us=None, trusted_subnets=(ELSEWHERE,))), MODE_SLEEVE, "of that peer"),
    (decide(peer(connected_from=None, trusts_us=None, trusted_subnets=())), MODE_SLEEVE, "of that peer"),
    (decide(peer(connected_from=None, advertised=())), MODE_SLEEVE, "no underlay address"),
    (decide(peer(connected_from=None, advertised=(ip_address("2001:db8::2"),))), MODE_SLEEVE, "no underlay address"),
])
def test_plain_traffic_needs_trust_on_both_ends_once_a_password_is_set(case, mode, says):
    assert case.mode == mode
    assert says in case.reason


@pytest.mark.parametrize(("case", "says"), [
    (decide(peer(sleeve=False), trusted=()), "that peer cannot"),
    (decide(peer(), trusted=(), ability=Ability(sleeve=False)), "this host has no TAP devices"),
    (decide(peer(connected_from=None, advertised=(), sleeve=False)), "no underlay address"),
])
def test_where_an_end_has_no_sleeve_nothing_is_sent(case, says):
    assert case.mode == MODE_NONE
    assert says in case.reason


@pytest.mark.parametrize(("case", "says"), [
    (decide(peer(vxlan=False)), "that peer was told"),
    (decide(peer(), ability=Ability(sleeve=True, vxlan=False)), "this host was told"),
    (decide(peer(encrypts=False), encrypts=False, ability=Ability(sleeve=True, vxlan=False)), "this host was told"),
])
def test_either_operator_can_insist_on_the_sleeve(case, says):
    assert case.mode == MODE_SLEEVE
    assert says in case.reason


def test_the_address_of_a_live_connection_goes_before_what_is_advertised():
    assert decide(peer(advertised=(ip_address("192.0.2.99"),))).address == THERE


@pytest.mark.parametrize(("text", "host"), [
    ("192.0.2.1:6783", "192.0.2.1"), ("[2001:db8::1]:6783", "2001:db8::1"), ("[fe80::1%eth0]:6783", "fe80::1"),
    ("[::ffff:192.0.2.7]:1", "192.0.2.7"), ("unknown", None), ("host:6783", None),
])
def test_the_host_of_an_address(text, host):
    assert host_of(text) == (None if host is None else ip_address(host))


GATEWAY = ip_address("203.0.113.1")


@pytest.mark.parametrize(("case", "translated"), [
    (peer(), False),
    (peer(sees_us=HERE), False),
    (peer(connected_from=GATEWAY), True),
    (peer(sees_us=GATEWAY), True),
    (peer(connected_from=None, advertised=()), False),
    (peer(connected_from=GATEWAY, advertised=()), False),
])
def test_translation_is_noticed_by_both_ends(case, translated):
    assert is_translated(case, (HERE,)) == translated


def test_a_host_that_knows_no_address_of_its_own_calls_none_translated():
    assert not is_translated(peer(sees_us=HERE), ())
