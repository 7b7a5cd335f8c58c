"""Groups as MACs: what may be pruned, and which entries a VXLAN device gets for whom."""

from ipaddress import ip_address

import pytest

from weave.names import PeerName
from weave.net.groups import NOWHERE, copies, is_pruned, mac_of
from weave.net.model import SLEEVE, Forwarding, Mac, Packed
from weave.net.plan import plan_forwarding

A, B, C = (PeerName(f"02:00:00:00:00:0{letter}") for letter in "abc")
VTEPS = {A: Packed(bytes([192, 0, 2, 1])), B: Packed(bytes([192, 0, 2, 2])), C: SLEEVE}
SIX = Packed(ip_address("2001:db8::1").packed)
GROUP = mac_of(ip_address("239.1.2.3"))


@pytest.mark.parametrize(("group", "mac", "pruned"), [
    ("239.1.2.3", "01:00:5e:01:02:03", True), ("224.0.1.1", "01:00:5e:00:01:01", True),
    ("224.0.0.251", "01:00:5e:00:00:fb", False), ("239.128.0.5", "01:00:5e:00:00:05", False),
    ("239.255.2.3", "01:00:5e:7f:02:03", True),
    ("ff15::8000:1", "33:33:80:00:00:01", True), ("ff02::fb", "33:33:00:00:00:fb", False),
    ("ff05::fb", "33:33:00:00:00:fb", False), ("ff02::1:3", "33:33:00:01:00:03", False),
    ("ff02::1:ff12:3456", "33:33:ff:12:34:56", False),
])
def test_groups_that_may_be_of_the_link_alone_are_not_pruned(group: str, mac: str, pruned: bool) -> None:
    assert mac_of(ip_address(group)).hex(":") == mac
    assert is_pruned(mac_of(ip_address(group))) is pruned


@pytest.mark.parametrize("mac", ["ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "02:00:00:00:00:01", "01:00:5e:81:02:03"])
def test_what_is_no_group_of_ip_is_not_pruned(mac: str) -> None:
    assert not is_pruned(Mac(bytes.fromhex(mac.replace(":", ""))))


def test_members_alone_get_copies() -> None:
    assert copies({GROUP: frozenset({B})}, VTEPS, [VTEPS[A], VTEPS[B]]) == {(GROUP, VTEPS[B])}


def test_each_device_without_members_behind_it_sends_nowhere() -> None:
    found = copies({GROUP: frozenset({B})}, VTEPS, [VTEPS[A], VTEPS[B], SIX])
    assert found == {(GROUP, VTEPS[B]), (GROUP, NOWHERE[6])}
    assert copies({GROUP: frozenset()}, VTEPS, [VTEPS[A]]) == {(GROUP, NOWHERE[4])}


def test_peers_behind_the_sleeve_and_unknown_ones_need_no_entry() -> None:
    stranger = PeerName("02:00:00:00:00:0d")
    assert copies({GROUP: frozenset({A, C, stranger})}, VTEPS, [VTEPS[A], VTEPS[B]]) == {(GROUP, VTEPS[A])}
    assert copies({GROUP: frozenset({C})}, VTEPS, []) == set()


def test_the_difference_is_added_and_removed() -> None:
    before = Forwarding(frozenset(), {}, {}, frozenset({(GROUP, NOWHERE[4])}))
    after = Forwarding(frozenset(), {}, {}, frozenset({(GROUP, VTEPS[B])}))
    change = plan_forwarding(after, before)
    assert (change.copies, change.gone_copies) == ([(GROUP, VTEPS[B])], [(GROUP, NOWHERE[4])])
    assert not plan_forwarding(after, after)
