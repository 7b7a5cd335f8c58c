"""The overlay with two ranges: pods have an address of each family, and everything holds for both."""

import ipaddress
from collections.abc import Iterator

import pytest

from tests.kubernetes.flavour import DUAL_STACK, flavoured
from tests.kubernetes.test_policy import ALLOW_RED, DENY_ALL, becomes, can
from tests.kubernetes.testbed import POD_RANGE, wait_for
from tests.kubernetes.workload import HTTP, Workload

pytestmark = flavoured(DUAL_STACK)
RANGES = (ipaddress.ip_network(POD_RANGE), ipaddress.ip_network("fd00:a:20::/64"))
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: both}
spec: {ipFamilyPolicy: RequireDualStack, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
BLOCK_6 = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: red-by-block}
spec:
  podSelector: {matchLabels: {color: red}}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: ADDRESS/128}}]}]
"""


@pytest.fixture(scope="module")
def families(workload: Workload) -> list[dict[str, str]]:
    """Give the addresses of the pods that serve, by node: one map for each family."""
    pods = workload.ready_pods("app=web", len(workload.cluster.nodes))
    found = {item["spec"]["nodeName"]: [each["ip"] for each in item["status"]["podIPs"]] for item in pods}
    assert all(len(addresses) == len(RANGES) for addresses in found.values()), found
    return [{node: addresses[index] for node, addresses in found.items()} for index in range(len(RANGES))]


@pytest.fixture(scope="module")
def colors(workload: Workload) -> Iterator[Workload]:
    """Give a red and a blue pod."""
    workload.add_colors()
    yield workload
    workload.cluster.kubectl("delete", "networkpolicies", "--all")


def host(address: str) -> str:
    """Return an address as it is written in a URL."""
    return f"[{address}]" if ":" in address else address


def test_01_pods_have_an_address_of_each_range(families: list[dict[str, str]]) -> None:
    for block, addresses in zip(RANGES, families, strict=True):
        assert all(ipaddress.ip_address(address) in block for address in addresses.values())
        assert len(set(addresses.values())) == len(addresses)


def test_02_pods_reach_each_other_and_see_who_asks_by_both(workload: Workload,
                                                           families: list[dict[str, str]]) -> None:
    for addresses in families:
        for source, destination in workload.pairs():
            seen = workload.fetch(source, f"{host(addresses[destination])}:{HTTP}/clientip")
            assert seen.rpartition(":")[0] == host(addresses[source])


def test_03_services_of_both_families_reach_every_pod(workload: Workload) -> None:
    workload.cluster.apply(SERVICES)
    services = workload.cluster.objects("service", "both")[0]["spec"]["clusterIPs"]
    assert sorted(":" in address for address in services) == [False, True]
    for address in services:
        url = f"{host(address)}:80/hostname"
        wait_for(lambda url=url: workload.fetch("n1", url), bool, f"{url} does not answer", 20)  # type: ignore[misc]
        assert {workload.fetch("n1", url) for _ in range(16)} == set(workload.names.values())


def test_04_nodes_reach_their_pods_by_both(workload: Workload, families: list[dict[str, str]]) -> None:
    for addresses in families:
        for node, address in addresses.items():
            assert workload.cluster.on(node, "curl", "-sS", "-m", "3", f"http://{host(address)}:{HTTP}/hostname")


def test_05_policy_is_judged_on_both(colors: Workload, families: list[dict[str, str]]) -> None:
    cluster = colors.cluster
    cluster.apply(DENY_ALL + "---" + ALLOW_RED)
    for addresses in families:
        for address in addresses.values():
            becomes(cluster, "red", address, is_open=True)
            becomes(cluster, "blue", address, is_open=False)
    cluster.kubectl("delete", "networkpolicies", "--all")
    four, six = families
    cluster.apply(BLOCK_6.replace("ADDRESS", six["n2"]))
    becomes(cluster, "red", six["n1"], is_open=False)
    assert can(cluster, "red", six["n2"])
    assert not can(cluster, "red", four["n2"])
