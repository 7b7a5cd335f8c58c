"""Devices of a router that was told otherwise; those of others are none."""

from dataclasses import replace

import pytest

from weave.names import PeerName
from weave.net.leftovers import former_bridges, former_tunnels
from weave.net.model import DatapathConfig
from weave.net.naming import bridge_mac, tunnel_mac
from weave.netlink.readings import Link

ME, OTHER = PeerName("02:00:00:00:00:01"), PeerName("02:00:00:00:00:02")
CONFIG = DatapathConfig(ME, port=7000)
BRIDGE = Link(2, "weave", "bridge", True, False, 1450, bridge_mac(ME), 0, 0, None, "", None, {}, {})


def vxlan(name: str, *, peer: PeerName = ME, master: int = 0, kind: str = "vxlan") -> Link:
    return replace(BRIDGE, index=9, name=name, kind=kind, mac=tunnel_mac(name, peer), master=master)


@pytest.mark.parametrize(("link", "goes"), [
    (vxlan("vxlan-6784", master=2), True), (vxlan("vxlan6-6784"), True), (vxlan("vxlan-6784", peer=OTHER), False),
    (vxlan("vxlan6-6784", peer=OTHER, master=2), True), (vxlan("vxlan-7000", master=2), False),
    (vxlan("vxlan6-7000"), False), (vxlan("vxlan-6784", master=3, peer=OTHER), False),
    (vxlan("vxlan-flannel", master=2), False), (vxlan("vxlan-6784", kind="dummy", master=2), False),
])
def test_a_tunnel_of_another_port_is_left_over_where_it_is_ours(link: Link, goes: bool) -> None:
    assert former_tunnels([BRIDGE, link], CONFIG) == [link] * goes


@pytest.mark.parametrize(("changes", "goes"), [
    ({}, True), ({"mac": bridge_mac(OTHER)}, False), ({"name": "weave"}, False), ({"kind": "vlan"}, False),
])
def test_a_bridge_of_another_name_is_left_over_where_it_is_ours(changes: dict[str, str], goes: bool) -> None:
    link = replace(BRIDGE, index=9, **{"name": "former", **changes})  # type: ignore[arg-type]
    assert former_bridges([BRIDGE, link], CONFIG) == [link] * goes


def test_a_bridge_with_something_plugged_in_stays() -> None:
    former = replace(BRIDGE, index=9, name="br0")
    assert former_bridges([BRIDGE, former, vxlan("eth0.7", kind="vlan", master=9)], CONFIG) == []
