"""What to change in WireGuard and in XFRM: nothing where all is as wanted, and the endpoint of a live peer never."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from weave.net.crypt.limits import HANDSHAKE_STALE_S
from weave.net.crypt.pact_messages import Way
from weave.net.ipsec import plan as ipsec
from weave.net.ipsec.plan import orphans, plan_policies, want_policies
from weave.net.wireguard.plan import DeviceWish, PeerWish, plan_device
from weave.netlink.wireguard import Device, Peer
from weave.netlink.xfrm import REQID, AssociationState, PolicyKey, PolicyState

NOW_S = 1_000_000.0
PRIVATE, KEY, OTHER = b"a" * 32, b"k" * 32, b"o" * 32
INNER = ip_address("fd77:6561:7665::7")
ENDPOINT, MOVED = (ip_address("192.0.2.7"), 6785), (ip_address("198.51.100.7"), 40000)
WISH = PeerWish(KEY, b"p" * 32, INNER, ENDPOINT)
PEER = Peer(KEY, b"p" * 32, ENDPOINT, frozenset({ip_network(INNER)}), 0, int(NOW_S) - 10)
DEVICE = Device("weave-wg", PRIVATE, 6785, (PEER,))
WANTED = DeviceWish(PRIVATE, 6785, (WISH,))

ONE, TWO, THREE = (ip_address(f"192.0.2.{number}") for number in (1, 2, 3))
WAY = Way(ONE, TWO)


def test_a_device_that_is_as_wanted_needs_nothing() -> None:
    assert not plan_device(WANTED, DEVICE, NOW_S)


def test_a_new_device_gets_everything() -> None:
    change = plan_device(WANTED, Device("weave-wg", b"", 0, ()), NOW_S)
    assert change.identity == (PRIVATE, 6785)
    assert [(peer.public_key, peer.endpoint) for peer in change.peers] == [(KEY, ENDPOINT)]


def test_a_live_peer_that_moved_is_left_where_it_is() -> None:
    assert not plan_device(WANTED, replace(DEVICE, peers=(replace(PEER, endpoint=MOVED),)), NOW_S)


def test_a_dead_peer_is_looked_for_where_it_says_to_be() -> None:
    dead = replace(PEER, endpoint=MOVED, last_handshake_s=int(NOW_S - HANDSHAKE_STALE_S - 1))
    assert [peer.endpoint for peer in plan_device(WANTED, replace(DEVICE, peers=(dead,)), NOW_S).peers] == [ENDPOINT]


@pytest.mark.parametrize("wish", [
    replace(WISH, preshared_key=b"q" * 32), replace(WISH, keepalive_s=25), replace(WISH, inner=ip_address("fd77::8")),
])
def test_a_change_keeps_the_endpoint_of_a_live_peer(wish: PeerWish) -> None:
    [peer] = plan_device(replace(WANTED, peers=(wish,)), DEVICE, NOW_S).peers
    assert peer.endpoint is None
    assert (peer.preshared_key, peer.keepalive_s) == (wish.preshared_key, wish.keepalive_s)


def test_who_is_not_wanted_goes_unless_kept() -> None:
    crowd = replace(DEVICE, peers=(PEER, Peer(OTHER)))
    assert plan_device(WANTED, crowd, NOW_S).gone == (OTHER,)
    assert plan_device(replace(WANTED, kept=frozenset({OTHER})), crowd, NOW_S).gone == ()


def test_a_device_with_another_key_gets_ours() -> None:
    assert plan_device(WANTED, replace(DEVICE, private_key=OTHER), NOW_S).identity == (PRIVATE, 6785)


def states(wanted: dict[PolicyKey, int], reqid: int = REQID) -> list[PolicyState]:
    return [PolicyState(key, reqid, spi) for key, spi in wanted.items()]


def test_a_way_has_policies_for_both_ports_in_both_directions() -> None:
    wanted = want_policies({WAY: 77}, (6784, 6786))
    assert {(key.outbound, key.source, key.port, spi) for key, spi in wanted.items()} == {
        (True, ONE, 6784, 77), (True, ONE, 6786, 77), (False, TWO, 6784, 0), (False, TWO, 6786, 0)}


def test_policies_that_are_as_wanted_need_nothing() -> None:
    wanted = want_policies({WAY: 77}, (6784,))
    assert not plan_policies(wanted, states(wanted))


def test_new_keys_change_what_is_out_and_nothing_else() -> None:
    before, after = want_policies({WAY: 77}, (6784,)), want_policies({WAY: 78}, (6784,))
    change = plan_policies(after, states(before))
    assert (change.wanted, change.gone) == (((PolicyKey(True, ONE, TWO, 6784), 78),), ())


def test_an_end_is_ready_to_receive_before_it_sends() -> None:
    change = plan_policies(want_policies({WAY: 77}, (6784,)), [])
    assert [key.outbound for key, _ in change.wanted] == [False, True]


def test_policies_of_others_and_of_kept_ways_stay() -> None:
    there = want_policies({WAY: 77}, (6784,))
    assert len(plan_policies({}, states(there)).gone) == 2
    assert not plan_policies({}, states(there, reqid=1))
    assert not plan_policies({}, states(there), kept={WAY})


def test_associations_nobody_speaks_for_are_orphans() -> None:
    state = AssociationState(ONE, TWO, 77, REQID, 0, 0)
    back, foreign = replace(state, source=TWO, destination=ONE, spi=78), replace(state, reqid=1, spi=79)
    there = [state, back, foreign]
    assert orphans(there, {(TWO, 77)}, ()) == [(ONE, 78)]
    assert orphans(there, (), {WAY}) == []
    assert orphans(there, (), {Way(ONE, THREE)}) == [(ONE, 78), (TWO, 77)]
    assert ipsec.missing(there, {(TWO, 77), (TWO, 80)}) == {(TWO, 80)}
