"""Two hosts find the best tunnel that both can and that carries, leave it when it does not, and come back."""

import pytest

from tests.unit.net_crypt.hosts import (
    ABLE,
    ADDRESS,
    NO_ESP,
    NO_WIREGUARD,
    SETTLED_S,
    UNABLE,
    A,
    B,
    Hosts,
)
from weave.net.crypt.candidates import Mode
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.keys import inner_address


def settled(**abilities: KernelAbility) -> Hosts:
    hosts = Hosts(**abilities)
    hosts.want()
    hosts.run(SETTLED_S)
    return hosts


@pytest.mark.parametrize(("a", "b", "mode"), [
    (ABLE, ABLE, Mode.WIREGUARD), (ABLE, NO_ESP, Mode.WIREGUARD), (ABLE, NO_WIREGUARD, Mode.IPSEC),
    (NO_WIREGUARD, NO_WIREGUARD, Mode.IPSEC), (NO_WIREGUARD, NO_ESP, None), (UNABLE, ABLE, None),
])
def test_the_best_tunnel_of_both_is_used(a: KernelAbility, b: KernelAbility, mode: Mode | None) -> None:
    assert settled(a=a, b=b).modes() == {mode}


def test_it_is_in_use_within_two_seconds() -> None:
    hosts = Hosts()
    hosts.want()
    hosts.run(2.0)
    assert hosts.modes() == {Mode.WIREGUARD}


def test_vxlan_goes_to_the_inner_address_of_wireguard_and_to_the_outer_one_of_ipsec() -> None:
    link = settled().nodes[A].core.links()[B]
    assert link.vtep == inner_address(B)
    link = settled(a=NO_WIREGUARD).nodes[A].core.links()[B]
    assert link.vtep == ADDRESS[B]


def test_a_missing_module_is_told_on_both_ends() -> None:
    hosts = settled(a=UNABLE)
    assert "no vxlan+wireguard: this kernel has no WireGuard; no vxlan+ipsec: this kernel has no ESP" in hosts.reason(A)
    assert "that host has no WireGuard" in hosts.reason(B)


def test_nothing_is_used_before_a_probe_came_back() -> None:
    hosts = Hosts()
    hosts.cut = {Mode.WIREGUARD, Mode.IPSEC}
    hosts.want()
    hosts.run(60.0)
    assert {mode for node in hosts.nodes.values() for mode in node.seen} == {None}
    assert "a firewall or NAT may drop the packets" in hosts.reason(A)


def test_a_blocked_wireguard_port_leads_to_ipsec() -> None:
    hosts = Hosts()
    hosts.cut = {Mode.WIREGUARD}
    hosts.want()
    hosts.run(SETTLED_S)
    assert hosts.modes() == {Mode.IPSEC}
    assert "no vxlan+wireguard" in hosts.reason(A)


def test_a_tunnel_that_dies_is_left_within_seconds_and_by_both() -> None:
    hosts = settled(a=NO_ESP)
    hosts.cut = {Mode.WIREGUARD}
    hosts.run(7.0)
    assert hosts.modes() == {None}


@pytest.mark.parametrize("ability", [NO_ESP, NO_WIREGUARD, ABLE])
def test_a_tunnel_that_carries_again_is_used_again(ability: KernelAbility) -> None:
    hosts = settled(a=ability)
    before = hosts.modes()
    hosts.cut = {Mode.WIREGUARD, Mode.IPSEC}
    hosts.run(60.0)
    assert hosts.modes() == {None}
    hosts.cut = set()
    hosts.run(180.0)
    assert hosts.modes() == before


def test_ipsec_is_given_up_some_time_after_wireguard_carries() -> None:
    hosts = Hosts()
    hosts.cut = {Mode.WIREGUARD}
    hosts.want()
    hosts.run(SETTLED_S)
    hosts.cut = set()
    hosts.run(180.0)
    assert hosts.modes() == {Mode.WIREGUARD}
    assert [node.associations for node in hosts.nodes.values()] == [{}, {}]
    assert [node.steered for node in hosts.nodes.values()] == [{}, {}]


def test_large_packets_that_vanish_are_noticed_and_named() -> None:
    hosts = settled(a=NO_ESP)
    hosts.large_cut = {Mode.WIREGUARD}
    hosts.run(30.0)
    assert hosts.modes() == {None}
    assert "large packets vanish" in hosts.reason(A)


def test_ipsec_is_not_tried_through_nat() -> None:
    hosts = Hosts(a=NO_WIREGUARD)
    hosts.translated = True
    hosts.want()
    hosts.run(SETTLED_S)
    assert hosts.modes() == {None}
    assert "NAT" in hosts.reason(B)


@pytest.mark.parametrize("name", [A, B])
@pytest.mark.parametrize("ability", [ABLE, NO_WIREGUARD])
def test_a_restarted_router_cuts_nothing(name: str, ability: KernelAbility) -> None:
    host = A if name == A else B
    hosts = settled(a=ability)
    mode = hosts.mode(A)
    for node in hosts.nodes.values():
        node.seen.clear()
    hosts.start(host, reboot=False)
    hosts.want(host)
    hosts.run(60.0)
    assert {seen for node in hosts.nodes.values() for seen in node.seen} == {mode}


@pytest.mark.parametrize("ability", [ABLE, NO_WIREGUARD])
def test_while_a_router_is_away_its_host_is_still_sent_to(ability: KernelAbility) -> None:
    hosts = settled(a=ability)
    mode = hosts.mode(A)
    hosts.away.add(B)
    hosts.want(A)
    hosts.nodes[A].seen.clear()
    hosts.run(600.0)
    hosts.away.clear()
    hosts.start(B, reboot=False)
    hosts.want(A, B)
    hosts.run(60.0)
    assert set(hosts.nodes[A].seen) == {mode}
    assert hosts.modes() == {mode}


@pytest.mark.parametrize("name", [A, B])
@pytest.mark.parametrize("ability", [ABLE, NO_WIREGUARD])
def test_a_rebooted_host_is_back_soon(name: str, ability: KernelAbility) -> None:
    host = A if name == A else B
    hosts = settled(a=ability)
    mode = hosts.mode(A)
    hosts.start(host)
    hosts.want(host)
    hosts.run(SETTLED_S)
    assert hosts.modes() == {mode}


def test_associations_flushed_by_somebody_are_replaced() -> None:
    hosts = settled(a=NO_WIREGUARD)
    node = hosts.nodes[B]
    places = set(node.associations)
    node.associations.clear()
    hosts.perform(B, node.core.worn(places, hosts.now))  # type: ignore[arg-type]
    hosts.run(2.0)
    assert hosts.modes() == {Mode.IPSEC}
    assert hosts.passes(A, Mode.IPSEC)
    assert hosts.passes(B, Mode.IPSEC)


def test_a_packet_without_an_association_brings_new_keys() -> None:
    hosts = settled(a=NO_WIREGUARD)
    before = set(hosts.nodes[A].associations)
    hosts.perform(A, hosts.nodes[A].core.lacking(ADDRESS[B], hosts.now))
    hosts.run(30.0)
    assert before.isdisjoint(hosts.nodes[A].associations)


def test_a_kernel_that_refuses_is_done_without() -> None:
    hosts = settled()
    hosts.perform(A, hosts.nodes[A].core.refuse(B, Mode.WIREGUARD, "the kernel said no", hosts.now))
    hosts.run(SETTLED_S)
    assert hosts.modes() == {Mode.IPSEC}
    assert "the kernel said no" in hosts.reason(A)


def test_a_peer_that_is_not_wanted_any_more_leaves_nothing() -> None:
    hosts = settled(a=NO_WIREGUARD)
    hosts.perform(A, hosts.nodes[A].core.want([], hosts.now))
    node = hosts.nodes[A]
    assert (node.associations, node.steered, node.wireguard, dict(node.core.links())) == ({}, {}, {}, {})


def test_probes_without_genuine_keys_change_nothing() -> None:
    hosts = settled()
    core = hosts.nodes[A].core
    before = core.refused
    for datagram in (b"", bytes(36), b"\1\1\1\0" + bytes(100)):
        assert core.probe(datagram, inner_address(B), hosts.now) == []
    assert core.refused == before + 3


def test_the_links_outlive_a_mesh_that_is_cut() -> None:
    hosts = settled(a=NO_WIREGUARD)
    hosts.mesh_cut = True
    hosts.run(600.0)
    assert hosts.modes() == {Mode.IPSEC}
