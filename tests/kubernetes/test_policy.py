"""Network policy in the cluster: judged by probes from pods, on the same node and across nodes."""

from collections.abc import Iterator

import pytest

from tests.kubernetes.conftest import ready
from tests.kubernetes.events import told_on
from tests.kubernetes.testbed import Cluster, wait_for
from tests.kubernetes.workload import HTTP, Workload, pod

TAKES_EFFECT_S = 20.0
PROBE = """
while :; do
  if nc -z -w 1 {friend} 8080; then echo friend open; else echo friend closed; fi
  if nc -z -w 1 {foe} 8080; then echo foe open; else echo foe closed; fi
done
"""

DENY_ALL = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""

ALLOW_RED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-red}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {color: red}}}]
    ports: [{port: http}]
"""

DENY_EGRESS = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: red-stays-home}
spec:
  podSelector: {matchLabels: {color: red}}
  policyTypes: [Egress]
  egress:
  - to: [{ipBlock: {cidr: ADDRESS/32}}]
"""

ODD_BLOCK = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: odd-block}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{ipBlock: {cidr: '::ffff:0.0.0.0/96'}}, {podSelector: {matchLabels: {color: blue}}}]
"""
"""The API server takes this block; nobody can tell what it should select."""


@pytest.fixture(scope="module")
def colors(workload: Workload) -> Iterator[Workload]:
    """Give a red and a blue pod on two nodes beside the pods that serve."""
    cluster = workload.cluster
    workload.add_colors()
    yield workload
    cluster.kubectl("delete", "networkpolicies", "--all")
    cluster.kubectl("delete", "pods", "-l", "kind=color", "--wait")


@pytest.fixture(autouse=True)
def _no_policies(colors: Workload) -> Iterator[None]:
    yield
    colors.cluster.kubectl("delete", "networkpolicies", "--all")


def can(cluster: Cluster, source: str, address: str, port: int = HTTP) -> bool:
    """Say whether a pod gets through to an address."""
    said = cluster.inside(source, "sh", "-c", f"nc -z -w 1 {address} {port} && echo open || echo closed")
    return said.strip() == "open"


def becomes(cluster: Cluster, source: str, address: str, *, is_open: bool) -> None:
    """Wait until a way is open, or closed."""
    wait_for(lambda: can(cluster, source, address), lambda seen: seen is is_open,
             f"{source} to {address} does not become {'open' if is_open else 'closed'}", TAKES_EFFECT_S)


def test_01_without_policy_everything_is_open(colors: Workload) -> None:
    for color in ("red", "blue"):
        for address in colors.addresses.values():
            becomes(colors.cluster, color, address, is_open=True)


def test_02_default_deny_closes_every_pod_but_not_for_its_node(colors: Workload) -> None:
    cluster = colors.cluster
    cluster.apply(DENY_ALL)
    for node, address in colors.addresses.items():
        becomes(cluster, "red", address, is_open=False)
        becomes(cluster, "blue", address, is_open=False)
        assert cluster.on(node, "curl", "-sS", "-m", "3", f"http://{address}:{HTTP}/hostname")
    assert all(seen for seen in colors.ready_pods("app=web", len(cluster.nodes)))


def test_03_a_rule_opens_its_named_port_to_the_labels_it_names(colors: Workload) -> None:
    cluster = colors.cluster
    cluster.apply(DENY_ALL + "---" + ALLOW_RED)
    for address in colors.addresses.values():
        becomes(cluster, "red", address, is_open=True)
        becomes(cluster, "blue", address, is_open=False)
    cluster.kubectl("label", "pod", "blue", "color=red", "--overwrite")
    becomes(cluster, "blue", colors.addresses["n3"], is_open=True)
    cluster.kubectl("label", "pod", "blue", "color=blue", "--overwrite")
    becomes(cluster, "blue", colors.addresses["n3"], is_open=False)


def test_04_egress_is_governed_too(colors: Workload) -> None:
    cluster = colors.cluster
    cluster.apply(DENY_EGRESS.replace("ADDRESS", colors.addresses["n2"]))
    becomes(cluster, "red", colors.addresses["n1"], is_open=False)
    assert can(cluster, "red", colors.addresses["n2"])
    assert not can(cluster, "red", colors.addresses["n3"])
    assert can(cluster, "blue", colors.addresses["n1"])


def test_05_policy_holds_through_services(colors: Workload) -> None:
    cluster = colors.cluster
    service = cluster.objects("service", "web")[0]["spec"]["clusterIP"]
    cluster.apply(DENY_ALL + "---" + ALLOW_RED)
    becomes(cluster, "blue", colors.addresses["n1"], is_open=False)
    becomes(cluster, "red", colors.addresses["n1"], is_open=True)
    for _ in range(6):
        assert can(cluster, "red", service, 80)
        assert not can(cluster, "blue", service, 80)


def test_06_no_gap_while_the_controllers_restart(colors: Workload) -> None:
    cluster = colors.cluster
    cluster.apply(DENY_ALL + "---" + ALLOW_RED)
    becomes(cluster, "red", colors.addresses["n2"], is_open=True)
    becomes(cluster, "red", colors.addresses["n1"], is_open=True)
    script = PROBE.format(friend=colors.addresses["n2"], foe=_address(cluster, "blue"))
    cluster.apply(pod("prober", "n1", ("sh", "-c", script), labels="{color: red, kind: prober}"))
    wait_for(lambda: cluster.kubectl("logs", "prober"), lambda said: "friend open" in said, "nothing is probed", 30)
    cluster.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/weave-net")
    ready(cluster)
    said = [line for line in cluster.kubectl("logs", "prober").splitlines() if line]
    first = said.index("friend open")
    cluster.kubectl("delete", "pod", "prober", "--wait")
    assert said.count("friend open") > 20
    assert "foe open" not in said
    assert "friend closed" not in said[first:]


def _address(cluster: Cluster, name: str) -> str:
    return str(cluster.objects("pod", name)[0]["status"]["podIP"])


def test_07_a_new_pod_is_closed_before_its_first_packet(colors: Workload) -> None:
    cluster = colors.cluster
    cluster.apply(DENY_EGRESS.replace("color: red", "kind: hasty").replace("ADDRESS", colors.addresses["n2"]))
    foe = colors.addresses["n1"]
    script = f"for i in $(seq 20); do nc -z -w 1 {foe} 8080 && echo open || echo closed; done; sleep 600"
    cluster.apply("".join(pod(f"hasty-{number}", node, ("sh", "-c", script), labels="{kind: hasty}")
                          for number, node in enumerate(cluster.nodes)))
    for number in range(len(cluster.nodes)):
        said = wait_for(lambda number=number: cluster.kubectl("logs", f"hasty-{number}").split(),  # type: ignore[misc]
                        lambda lines: len(lines) == 20, "the pod does not probe", 90)
        assert "open" not in said
    cluster.kubectl("delete", "pods", "-l", "kind=hasty", "--wait")


def test_08_what_is_not_understood_opens_nothing_and_is_told_on_the_object(colors: Workload) -> None:
    cluster = colors.cluster
    cluster.apply(ODD_BLOCK)
    becomes(cluster, "red", colors.addresses["n3"], is_open=False)
    becomes(cluster, "blue", colors.addresses["n3"], is_open=True)
    said = told_on(cluster, "NetworkPolicy", "odd-block")
    assert "spec.ingress[0].from[0].ipBlock.cidr is an IPv4 block written as IPv6" in said
    assert "matches nothing" in said
