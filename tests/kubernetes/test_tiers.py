"""ClusterNetworkPolicy in the cluster: the kind comes and goes, its tiers stand around NetworkPolicy.

The definition is not ours: whoever wants tiers installs it from its authors. The one here says as little as one can,
and holds no objects: see `policy_api`, which serves those.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.events import told_on
from tests.kubernetes.policy_api import GROUP, PLURAL, VERSION, PolicyApi, policy_api
from tests.kubernetes.test_policy import ALLOW_RED, DENY_ALL, becomes
from tests.kubernetes.testbed import Cluster, wait_for
from tests.kubernetes.workload import Workload

TURNS_S = 40.0
"""The controllers look for the kind every quarter of a minute."""
DEFINITION = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {PLURAL}.{GROUP}
  annotations: {{api-approved.kubernetes.io: 'unapproved, for tests'}}
spec:
  group: {GROUP}
  names: {{kind: ClusterNetworkPolicy, plural: {PLURAL}, singular: clusternetworkpolicy}}
  scope: Cluster
  versions:
  - name: {VERSION}
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
EVERYBODY = {"namespaces": {}}
RED = {"pods": {"podSelector": {"matchLabels": {"color": "red"}}}}
ODD = {"services": {}}
"""A kind of peer that does not exist."""


def tier(name: str, where: str, action: str, peer: Any = RED, priority: int = 10) -> dict[str, Any]:
    """Return a policy of one rule about what enters the pods that serve."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ClusterNetworkPolicy", "metadata": {"name": name}, "spec": {
        "tier": where, "priority": priority, "subject": {"pods": {"podSelector": {"matchLabels": {"app": "web"}}}},
        "ingress": [{"action": action, "from": [peer]}]}}


def statuses(cluster: Cluster) -> list[dict[str, Any]]:
    """Return what the policy controller of every node tells of itself."""
    pods = cluster.objects("pods", "-n", "kube-system", "-l", "name=weave-net")
    return [json.loads(cluster.inside(item["metadata"]["name"], "weave", "policy", "status", "--json",
                                      container="weave-npc", namespace="kube-system")) for item in pods]


def is_absent(cluster: Cluster) -> list[bool]:
    """Return for each controller whether it says that the kind is not installed."""
    told = [status["source"] for status in statuses(cluster)]
    assert all(source["well"] and source["synced"] for source in told), told
    return [f"{PLURAL} are not installed" in source["state"] for source in told]


def appears(cluster: Cluster) -> None:
    wait_for(lambda: is_absent(cluster), lambda absent: not any(absent), "the kind is not found", TURNS_S)


def vanishes(cluster: Cluster) -> None:
    wait_for(lambda: is_absent(cluster), all, "the kind is not missed", TURNS_S)


@pytest.fixture(scope="module")
def colors(workload: Workload) -> Iterator[Workload]:
    """Give a red and a blue pod on two nodes."""
    cluster = workload.cluster
    workload.add_colors()
    yield workload
    cluster.kubectl("delete", "pods", "-l", "kind=color", "--wait")


@pytest.fixture(scope="module")
def api(colors: Workload, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PolicyApi]:
    """Serve the kind."""
    place: Path = tmp_path_factory.mktemp("policy-api")
    with policy_api(colors.cluster, place) as made:
        appears(colors.cluster)
        yield made


@pytest.fixture
def policies(api: PolicyApi) -> Iterator[PolicyApi]:
    """Give the policies, of which none is there, and none will be left."""
    yield api
    api.cluster.kubectl("delete", "networkpolicies", "--all")
    api.clear()


def everywhere(workload: Workload, source: str, *, is_open: bool) -> None:
    """Wait until the pods that serve are open, or closed, on every node."""
    for address in workload.addresses.values():
        becomes(workload.cluster, source, address, is_open=is_open)


def test_01_a_definition_is_found_and_missed_by_running_controllers(colors: Workload) -> None:
    cluster = colors.cluster
    vanishes(cluster)
    cluster.apply(DEFINITION)
    appears(cluster)
    cluster.kubectl("delete", "crd", f"{PLURAL}.{GROUP}", "--wait")
    vanishes(cluster)


def test_02_admin_denies_what_a_network_policy_opens(colors: Workload, policies: PolicyApi) -> None:
    colors.cluster.apply(DENY_ALL + "---" + ALLOW_RED)
    everywhere(colors, "red", is_open=True)
    policies.put(tier("never-red", "Admin", "Deny"))
    everywhere(colors, "red", is_open=False)


def test_03_admin_accepts_what_a_network_policy_closes(colors: Workload, policies: PolicyApi) -> None:
    colors.cluster.apply(DENY_ALL)
    policies.put(tier("always-red", "Admin", "Accept"))
    everywhere(colors, "blue", is_open=False)
    everywhere(colors, "red", is_open=True)


def test_04_pass_leaves_it_to_the_next_tier_and_removal_opens_again(colors: Workload, policies: PolicyApi) -> None:
    policies.put(tier("pass-red", "Admin", "Pass", priority=1), tier("nobody", "Admin", "Deny", EVERYBODY))
    everywhere(colors, "blue", is_open=False)
    everywhere(colors, "red", is_open=True)
    policies.delete("pass-red")
    everywhere(colors, "red", is_open=False)
    policies.delete("nobody")
    everywhere(colors, "blue", is_open=True)


def test_05_baseline_counts_where_no_network_policy_isolates(colors: Workload, policies: PolicyApi) -> None:
    policies.put(tier("nobody", "Baseline", "Deny", EVERYBODY))
    everywhere(colors, "red", is_open=False)
    colors.cluster.apply(ALLOW_RED)
    everywhere(colors, "red", is_open=True)
    everywhere(colors, "blue", is_open=False)


def test_06_what_is_invalid_fails_closed_and_is_told_on_the_object(colors: Workload, policies: PolicyApi) -> None:
    cluster = colors.cluster
    policies.put(tier("odd-accept", "Admin", "Accept", ODD, priority=1), tier("odd-deny", "Admin", "Deny", ODD))
    everywhere(colors, "blue", is_open=False)
    for name, effect in (("odd-deny", "denies everything"), ("odd-accept", "accepts nothing")):
        said = told_on(cluster, "ClusterNetworkPolicy", name)
        assert "spec.ingress[0].from[0]" in said
        assert effect in said
    objects = [{problem["object"] for problem in status["problems"]} for status in statuses(cluster)]
    assert all({"ClusterNetworkPolicy odd-accept", "ClusterNetworkPolicy odd-deny"} <= told for told in objects)
