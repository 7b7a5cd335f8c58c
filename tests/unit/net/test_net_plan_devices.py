"""What to do about the bridge and the VXLAN device, for every state they can be found in."""

from dataclasses import replace

import pytest

from weave.names import PeerName
from weave.net.devices import wishes
from weave.net.model import DatapathConfig
from weave.net.plan import Alter, Create, Device, DeviceStep, Foreign, Remove, plan_devices
from weave.netlink import constants as nl

BRIDGE, TUNNEL = WISHES = wishes(DatapathConfig(PeerName("02:00:00:00:00:0a")), 1450, {4}, ipv6=True)
AS_WANTED = {
    "weave": Device(3, "bridge", BRIDGE.mac, 1450, True, None, False, BRIDGE.options, {}),
    "vxlan-6784": Device(4, "vxlan", TUNNEL.mac, 1450, True, "weave", True, {**TUNNEL.birth, 99: b"x"}, TUNNEL.port),
}


def changed(name: str, **values: object) -> dict[str, Device]:
    return {**AS_WANTED, name: replace(AS_WANTED[name], **values)}  # type: ignore[arg-type]


def test_what_is_as_wanted_needs_nothing() -> None:
    assert plan_devices(WISHES, AS_WANTED) == []


def test_what_is_missing_is_made_bridge_first() -> None:
    assert plan_devices(WISHES, {}) == [Create(BRIDGE), Create(TUNNEL)]


@pytest.mark.parametrize(("actual", "step"), [
    (changed("weave", mtu=1500), Alter("weave", 3, "bridge", mtu=1450)),
    (changed("weave", mac="02:00:00:00:00:ff"), Alter("weave", 3, "bridge", mac=BRIDGE.mac)),
    (changed("weave", is_up=False), Alter("weave", 3, "bridge", up=True)),
    (changed("weave", data={**BRIDGE.options, nl.IFLA_BR_MCAST_SNOOPING: b"\0"}),
     Alter("weave", 3, "bridge", options={nl.IFLA_BR_MCAST_SNOOPING: b"\1"})),
    (changed("vxlan-6784", master="docker0"), Alter("vxlan-6784", 4, "vxlan", master="weave")),
    (changed("vxlan-6784", is_silent=False), Alter("vxlan-6784", 4, "vxlan", silence=True)),
    (changed("vxlan-6784", port={**TUNNEL.port, nl.IFLA_BRPORT_LEARNING: b"\1"}),
     Alter("vxlan-6784", 4, "vxlan", port={nl.IFLA_BRPORT_LEARNING: b"\0"})),
    (changed("vxlan-6784", data={**TUNNEL.birth, nl.IFLA_VXLAN_PORT: b"\x12\xb5"}), Remove("vxlan-6784", 4)),
    (changed("weave", kind="dummy"), Foreign("weave", "dummy", "bridge")),
])
def test_each_difference_has_its_step(actual: dict[str, Device], step: DeviceStep) -> None:
    assert plan_devices(WISHES, actual) == [step]


def test_ipv6_underlay_gets_a_device_of_its_own_isolated_like_the_other() -> None:
    both = wishes(DatapathConfig(PeerName("02:00:00:00:00:0a")), 1430, {4, 6}, ipv6=True)
    assert [wish.name for wish in both] == ["weave", "vxlan-6784", "vxlan6-6784"]
    assert all(wish.port[nl.IFLA_BRPORT_ISOLATED] == b"\1" for wish in both[1:])
    assert nl.IFLA_VXLAN_LOCAL6 in both[2].unseen
