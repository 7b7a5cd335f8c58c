"""Where frames go: what is wanted for a set of remotes and endpoints, and the way there from any state."""

from ipaddress import ip_address, ip_interface

from hypothesis import given
from hypothesis import strategies as st

from weave.names import PeerName
from weave.net.model import Endpoint, Forwarding, Mac, Packed, Remote
from weave.net.plan import ForwardingChange, Local, plan_forwarding, want_forwarding

A, B = PeerName("02:00:00:00:00:0a"), PeerName("02:00:00:00:00:0b")
NOBODY = Local(frozenset(), {}, frozenset())
MAC1, MAC2 = Mac(bytes.fromhex("020000000001")), Mac(bytes.fromhex("020000000002"))
REMOTES = [Remote(A, ip_address("192.0.2.1")), Remote(B, ip_address("2001:db8::2"))]


def packed(text: str) -> Packed:
    return Packed(ip_address(text).packed)


def endpoint(mac: Mac, peer: PeerName | None, *addresses: str) -> Endpoint:
    return Endpoint(mac.hex(":"), tuple(map(ip_interface, addresses)), "c", "eth0", peer)


def test_an_endpoint_is_reached_by_the_address_of_its_peer() -> None:
    wanted = want_forwarding(REMOTES, [endpoint(MAC1, A, "10.32.0.1/12", "fd00::1/64")], NOBODY)
    assert wanted.floods == {packed("192.0.2.1"), packed("2001:db8::2")}
    assert wanted.tunnels == {MAC1: packed("192.0.2.1")}
    assert wanted.neighbours == {packed("10.32.0.1"): MAC1, packed("fd00::1"): MAC1}


def test_an_endpoint_of_a_peer_that_is_no_remote_gets_nothing() -> None:
    stranger = [endpoint(MAC1, PeerName("02:00:00:00:00:0c"), "10.32.0.1/12"), endpoint(MAC2, None, "10.32.0.2/12")]
    assert want_forwarding(REMOTES, stranger, NOBODY) == want_forwarding(REMOTES, [], NOBODY)


def test_no_peer_can_claim_what_is_on_this_host() -> None:
    local = Local(frozenset({MAC1}), {packed("10.32.0.1"): MAC1}, frozenset({packed("10.32.0.9")}))
    claims = [endpoint(MAC1, A, "10.32.0.7/12"), endpoint(MAC2, A, "10.32.0.1/12", "10.32.0.9/12")]
    wanted = want_forwarding(REMOTES, claims, local)
    assert wanted.tunnels == {MAC2: packed("192.0.2.1")}
    assert wanted.neighbours == local.neighbours


def test_of_two_claims_every_host_prefers_the_same() -> None:
    claims = [endpoint(MAC1, B, "10.32.0.1/12"), endpoint(MAC1, A, "10.32.0.1/12"), endpoint(MAC2, B, "10.32.0.1/12")]
    one, other = want_forwarding(REMOTES, claims, NOBODY), want_forwarding(REMOTES, claims[::-1], NOBODY)
    assert one == other
    assert one.tunnels[MAC1] == packed("192.0.2.1")
    assert one.neighbours == {packed("10.32.0.1"): MAC1}


def test_a_mac_that_moves_to_the_other_family_leaves_its_old_device() -> None:
    before = Forwarding(frozenset(), {MAC1: packed("192.0.2.1")}, {})
    after = Forwarding(frozenset(), {MAC1: packed("2001:db8::2")}, {})
    assert plan_forwarding(after, before) == ForwardingChange(
        tunnels=[(MAC1, packed("2001:db8::2"))], gone_tunnels=[(MAC1, packed("192.0.2.1"))],
        floods=[], neighbours=[], gone_neighbours=[], gone_floods=[], copies=[], gone_copies=[])


def test_a_mac_that_moves_within_a_family_is_only_replaced() -> None:
    before = Forwarding(frozenset(), {MAC1: packed("192.0.2.1")}, {})
    after = Forwarding(frozenset(), {MAC1: packed("192.0.2.2")}, {})
    assert plan_forwarding(after, before).gone_tunnels == []


def apply(change: ForwardingChange, state: Forwarding) -> Forwarding:
    """The kernel, in small."""
    floods = (state.floods | set(change.floods)) - set(change.gone_floods)
    tunnels = {**state.tunnels, **dict(change.tunnels)}
    for mac, vtep in change.gone_tunnels:
        if tunnels[mac] == vtep:
            del tunnels[mac]
    neighbours = {**state.neighbours, **dict(change.neighbours)}
    for ip, _ in change.gone_neighbours:
        del neighbours[ip]
    return Forwarding(floods, tunnels, neighbours)


macs = st.integers(0, 5).map(lambda n: Mac(bytes([2, 0, 0, 0, 0, n])))
vteps = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]).map(packed)
overlay = st.sampled_from(["10.32.0.1", "10.32.0.2", "fd00::1", "fd00::2"]).map(packed)
states = st.builds(Forwarding, st.frozensets(vteps), st.dictionaries(macs, vteps), st.dictionaries(overlay, macs))


@given(states, states)
def test_a_plan_leads_from_any_state_to_any_other_and_then_is_empty(wanted: Forwarding, actual: Forwarding) -> None:
    reached = apply(plan_forwarding(wanted, actual), actual)
    assert reached == wanted
    assert not plan_forwarding(wanted, reached)
