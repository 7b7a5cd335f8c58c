"""From a request to wishes, routes, names and labels."""

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from tests.unit.cni.test_request import call
from weave.api.wishes import AnyIn, Exactly
from weave.cni import plan
from weave.cni.errors import CniError
from weave.cni.plan import Host
from weave.cni.result import Result, Route

RANGE, RANGE6 = ip_network("10.32.0.0/12"), ip_network("fd00:1::/64")
HOST = Host("weave", (RANGE,), (RANGE,), "weave.local.")
DUAL = Host("weave", (RANGE, RANGE6), (RANGE, RANGE6), "weave.local.")
NONE = Host("weave", (), (), "")
GATEWAYS = {4: ip_address("10.32.0.1"), 6: ip_address("fd00:1::1")}
DEFAULT = ip_network("0.0.0.0/0")


@pytest.mark.parametrize(("conf", "args", "host", "wishes"), [
    ({}, "", HOST, [AnyIn(RANGE)]),
    ({}, "", DUAL, [AnyIn(RANGE), AnyIn(RANGE6)]),
    ({"ipam": {"subnet": "10.33.0.0/16"}}, "", DUAL, [AnyIn(ip_network("10.33.0.0/16"))]),
    ({"runtimeConfig": {"ips": ["10.33.0.5/16"]}}, "IP=10.40.0.1", HOST, [Exactly(ip_interface("10.33.0.5/16"))]),
    ({"args": {"cni": {"ips": ["10.33.0.5"]}}}, "", HOST, [Exactly(ip_interface("10.33.0.5/12"))]),
    ({"ipam": {"subnet": "10.33.0.0/16"}}, "IP=10.33.0.5", HOST, [Exactly(ip_interface("10.33.0.5/16"))]),
    ({}, "IP=10.33.0.5, fd00:1::5", DUAL, [Exactly(ip_interface("10.33.0.5/12")),
                                           Exactly(ip_interface("fd00:1::5/64"))]),
    ({"runtimeConfig": {"ips": ["192.0.2.1/24"]}}, "", NONE, [Exactly(ip_interface("192.0.2.1/24"))]),
])
def test_addresses_wished_for(conf: dict[str, Any], args: str, host: Host, wishes: list[Any]) -> None:
    assert list(plan.wishes_of(call(conf, CNI_ARGS=args), host)) == wishes


@pytest.mark.parametrize(("conf", "host"), [({}, NONE), ({"runtimeConfig": {"ips": ["192.0.2.1"]}}, HOST)])
def test_addresses_that_cannot_be(conf: dict[str, Any], host: Host) -> None:
    with pytest.raises(CniError):
        plan.wishes_of(call(conf), host)


@pytest.mark.parametrize(("conf", "gateways", "routes"), [
    ({}, {4: GATEWAYS[4]}, [Route(DEFAULT, GATEWAYS[4])]),
    ({}, GATEWAYS, [Route(DEFAULT, GATEWAYS[4]), Route(ip_network("::/0"), GATEWAYS[6])]),
    ({"isDefaultGateway": False}, GATEWAYS, []),
    ({"ipam": {"routes": []}}, GATEWAYS, []),
    ({"ipam": {"routes": [{"dst": "192.0.2.0/24"}, {"dst": "198.18.0.0/15", "gw": "10.32.9.9"}]}}, GATEWAYS,
     [Route(ip_network("192.0.2.0/24"), GATEWAYS[4]), Route(ip_network("198.18.0.0/15"), ip_address("10.32.9.9"))]),
])
def test_routes(conf: dict[str, Any], gateways: dict[int, Any], routes: list[Route]) -> None:
    assert list(plan.routes_of(call(conf).conf, gateways, None)) == routes


def test_a_default_route_of_an_earlier_plugin_stays_the_only_one() -> None:
    before = Result(routes=(Route(DEFAULT, ip_address("192.0.2.1")),))
    assert [str(route.destination) for route in plan.routes_of(call().conf, GATEWAYS, before)] == ["::/0"]


@pytest.mark.parametrize(("conf", "subnets"), [
    ({}, [RANGE]), ({"ipam": {"gateway": "10.32.0.9"}}, []), ({"isDefaultGateway": False}, []),
    ({"ipam": {"routes": [{"dst": "192.0.2.0/24", "gw": "10.32.0.9"}]}}, []),
    ({"ipam": {"routes": [{"dst": "192.0.2.0/24"}]}}, [RANGE]),
    ({"ipam": {"subnet": "10.33.0.0/16"}}, [ip_network("10.33.0.0/16")]),
])
def test_where_the_host_must_be_the_gateway(conf: dict[str, Any], subnets: list[Any]) -> None:
    made = call(conf)
    assert list(plan.gateway_subnets(made.conf, plan.wishes_of(made, HOST), HOST)) == subnets


def test_an_address_outside_of_our_range_makes_the_host_no_gateway() -> None:
    made = call({"runtimeConfig": {"ips": ["192.0.2.1/24"]}})
    assert plan.gateway_subnets(made.conf, plan.wishes_of(made, HOST), HOST) == ()


def test_names_are_qualified_once() -> None:
    aliases = ["web", "web.weave.local", "web.weave.local.", "other.example.", "a.b"]
    made = call({"runtimeConfig": {"aliases": aliases}, "podNames": True},
                CNI_ARGS="K8S_POD_NAME=p;K8S_POD_NAMESPACE=n")
    assert plan.aliases_of(made, HOST) == ("web.weave.local.", "web.weave.local.", "web.weave.local.", "other.example.",
                                           "a.b.weave.local.")
    assert plan.pod_name_of(made, HOST) == "p.n.weave.local."
    with pytest.raises(CniError, match="no-dns"):
        plan.aliases_of(made, NONE)
    assert plan.pod_name_of(made, NONE) is None


def test_labels_are_those_of_the_configuration_and_of_the_pod() -> None:
    made = call({"args": {"cni": {"labels": [{"key": "app", "value": "web"}]}}},
                CNI_ARGS="K8S_POD_NAME=p;K8S_POD_NAMESPACE=n;K8S_POD_UID=")
    assert plan.labels_of(made) == {"app": "web", "io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n"}


def test_a_container_of_podman_is_no_pod_but_has_a_name() -> None:
    made = call({"podNames": True}, CNI_ARGS="K8S_POD_NAME=web;K8S_POD_NAMESPACE=")
    assert plan.labels_of(made) == {}
    assert plan.pod_name_of(made, HOST) == "web.weave.local."


def test_a_configuration_for_another_bridge_is_refused() -> None:
    plan.check_bridge(call({"bridge": "weave"}).conf, HOST)
    with pytest.raises(CniError, match="cni0"):
        plan.check_bridge(call({"bridge": "cni0"}).conf, HOST)
