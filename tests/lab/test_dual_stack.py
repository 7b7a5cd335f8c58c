"""A range of each family side by side: every container has an address of both, under one name."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.conformance.cni.plugin import Container, Plugin, container
from tests.conformance.cni.plugins import SHIM
from tests.lab.world import LAB, TRUSTED, World, world
from weave.lab import kernel
from weave.lab.names import namespace

pytestmark = LAB
RANGES = (ip_network("10.77.0.0/16"), ip_network("fd00:77::/64"))


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """Two hosts with a container each: c1 on h1, c2 on h2."""
    with world("dual", 2, (*TRUSTED, f"--ipalloc-range={RANGES[0]},{RANGES[1]}")) as made:
        made.container("h1", "c1")
        made.container("h2", "c2")
        made.agreed("h1", "h2")
        yield made


def addresses(net: World, name: str) -> list[str]:
    return [net.inside("c1", "dig", "+short", kind, f"{name}.weave.local.").strip() for kind in ("A", "AAAA")]


def test_a_container_is_reached_by_both_families(net: World) -> None:
    found = addresses(net, "c2")
    for address, range_ in zip(found, RANGES, strict=True):
        assert ip_address(address) in range_
        assert net.reaches("c1", address)
        assert net.inside("c1", "dig", "+short", "-x", address).split() == ["c2.weave.local."]


def test_both_rings_are_divided_and_shown(net: World) -> None:
    report = net.report("h1")
    assert [report[ring]["Range"] for ring in ("IPAM", "IPAM6")] == list(map(str, RANGES))
    for ring in ("IPAM", "IPAM6"):
        assert {row["Nickname"] for row in report[ring]["Owners"]} == {"h1", "h2"}
    shown = net.weave("h1", "status", "ipam")
    assert shown.count("of total") == 4


def test_detaching_lets_go_of_both(net: World) -> None:
    with net.box("h1", "brief") as box:
        net.attach("h1", box)
        assert {ip_address(item.partition("/")[0]).version for item in box.addresses()} == {4, 6}
        net.weave("h1", "detach", box.netns)
        held = {row["containerid"] for row in net.lab.client("h1").value("GET", "ip")["owned"]}
        assert box.netns not in held


def test_a_runtime_gets_an_address_gateway_and_route_of_each_family(net: World) -> None:
    plugin = Plugin("weave-net", SHIM, {"name": "pods", "type": "weave-net"}, namespace(net.lab.name, "h1"), lambda: 0,
                    environment={"WEAVE_SOCKET": str(net.lab.socket("h1"))})
    with container(plugin, "1.1.0") as made:
        result = made.add()
        inside = [ip_interface(item["address"]) for item in result["ips"]]
        assert [item.version for item in inside] == [4, 6]
        assert sorted(made.addresses()) == sorted(map(str, inside))
        assert [item["dst"] for item in result["routes"]] == ["0.0.0.0/0", "::/0"]
        gateways = [item["gateway"] for item in result["ips"]]
        assert [item["gw"] for item in result["routes"]] == gateways
        for gateway in gateways:
            kernel.run(*kernel.inside(str(made.netns), "ping", "-c1", "-W2", gateway))
        made.later("CHECK").check_success()
        old = Container(plugin, "0.2.0", "old", made.netns, "eth1")
        told = old.add()
        assert {ip_interface(told[key]["ip"]).version for key in ("ip4", "ip6")} == {4, 6}
        old.delete().check_success()
        made.delete().check_success()
