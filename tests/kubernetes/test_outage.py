"""A node that reboots while there is no API server: what it comes back with, and what it keeps closed.

kubelet starts static pods alone then, so the router, its agent and the policy controller are static pods on that node
while it lasts: those of the DaemonSet, with what the API server would have told them written out.
"""

import base64
import ipaddress
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.conftest import ready
from tests.kubernetes.flavour import STATIC_PODS
from tests.kubernetes.test_network import RANGE, all_is_as_before, netns_of, status
from tests.kubernetes.test_policy import ALLOW_RED, DENY_ALL, becomes
from tests.kubernetes.testbed import ROOT, SUBNET, Cluster, KubernetesError, wait_for
from tests.kubernetes.workload import HTTP, IMAGE, SERVE, Workload

pytestmark = pytest.mark.variant
"""For the time it takes."""
NODE = "n3"
WEAVE = str(ROOT / ".venv" / "bin" / "weave")
ACCOUNT = "/var/lib/weave/account"
RETURN_S = 150.0
ALLOW_STILL = ALLOW_RED.replace("app: web", "app: still").replace("allow-red", "allow-still")
STILL = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "still", "labels": {"app": "still"}},
         "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
             "name": "c", "image": IMAGE, "command": SERVE, "ports": [{"containerPort": HTTP, "name": "http"}]}]}}


def static_pods(cluster: Cluster) -> Path:
    """Return where the kubelet of the node looks for its static pods."""
    place = cluster.state / "nodes" / NODE / Path(STATIC_PODS).relative_to("/var/lib")
    place.mkdir(exist_ok=True)
    return place


def standing_alone(cluster: Cluster) -> dict[str, Any]:
    """Return the DaemonSet's pod as a static one: without references to what only the API server knows."""
    [daemons] = cluster.objects("daemonset", "weave-net", "-n", "kube-system")
    [options] = cluster.objects("configmap", "weave-net-options", "-n", "kube-system")
    spec = daemons["spec"]["template"]["spec"]
    told = {**options.get("data", {}), "NODE_NAME": NODE, "POD_NAMESPACE": "kube-system",
            "KUBERNETES_SERVICE_HOST": f"{SUBNET}.1", "KUBERNETES_SERVICE_PORT": "6443"}
    secrets = {volume["name"] for volume in spec["volumes"] if "secret" in volume}
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in secrets]
    for container in spec["containers"]:
        container.pop("envFrom")
        container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] not in secrets]
        container["env"] = [{"name": name, "value": value} for name, value in told.items()]
        container["volumeMounts"].append({"name": "account", "readOnly": True,
                                          "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"})
    spec["volumes"].append({"name": "account", "hostPath": {"path": ACCOUNT}})
    for name in ("serviceAccount", "serviceAccountName", "priorityClassName", "nodeSelector"):
        spec.pop(name, None)
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": "weave-alone", "namespace": "kube-system", "labels": {"name": "weave-alone"}}}


def keep_account(cluster: Cluster) -> None:
    """Put the credentials of our service account on the node's disk."""
    [secret] = [item for item in cluster.objects("secrets", "-n", "kube-system")
                if item["metadata"]["name"].startswith("weave-net-token-")]
    place = cluster.state / "nodes" / NODE / "weave" / "account"
    place.mkdir(exist_ok=True)
    for name in ("token", "ca.crt"):
        (place / name).write_bytes(base64.b64decode(secret["data"][name]))


@pytest.fixture
def still(workload: Workload) -> Iterator[Workload]:
    """Have a static pod on the node, and a red and a blue pod elsewhere; red may ask it."""
    cluster = workload.cluster
    (static_pods(cluster) / "still.yaml").write_text(json.dumps(STILL))
    workload.add_colors()
    workload.ready_pods("app=still", 1)
    keep_account(cluster)
    yield workload
    (static_pods(cluster) / "still.yaml").unlink()
    cluster.kubectl("delete", "pods", "-l", "kind=color", "--wait")
    cluster.kubectl("delete", "networkpolicies", "--all")


def address_of_still(cluster: Cluster) -> str:
    """Return the address of the static pod, as its own node knows it."""
    found = [row["Addresses"] for row in report(cluster)["Endpoints"]
             if row["Local"] and row["Labels"].get("io.kubernetes.pod.name") == f"still-{NODE}"]
    if not found:
        raise KubernetesError(f"the router of {NODE} knows no endpoint of the static pod")
    return str(found[-1][0]).partition("/")[0]


def report(cluster: Cluster) -> dict[str, Any]:
    """Return the report of the node's router, asked on the node."""
    return dict(json.loads(cluster.on(NODE, WEAVE, "report")))


def connects(cluster: Cluster, node: str, source: str, address: str) -> bool:
    """Say whether the pod that has the source's address gets through, without asking the API server for help."""
    try:
        netns = netns_of(cluster, node, source)
        cluster.on(node, "ip", "netns", "exec", netns, "nc", "-z", "-w", "2", address, str(HTTP))
    except KubernetesError:
        return False
    return True


def test_a_node_reboots_while_there_is_no_api_server(still: Workload) -> None:
    cluster = still.cluster
    cluster.apply("---".join((DENY_ALL, ALLOW_RED, ALLOW_STILL)))
    before, old = status(cluster, NODE), address_of_still(cluster)
    becomes(cluster, "red", old, is_open=True)
    becomes(cluster, "blue", old, is_open=False)
    red, blue = (str(cluster.objects("pod", name)[0]["status"]["podIP"]) for name in ("red", "blue"))
    alone, alone_pod = static_pods(cluster) / "weave.yaml", json.dumps(standing_alone(cluster))
    command = cluster.halt("kube-apiserver")
    try:
        cluster.crash(NODE)
        alone.write_text(alone_pod)
        cluster.boot(NODE)
        wait_for(lambda: report(cluster)["Router"]["Name"], lambda name: name == before["Router"]["Name"],
                 "the router does not come back as itself", RETURN_S)
        address = wait_for(lambda: address_of_still(cluster), bool, "the static pod gets no address", RETURN_S)
        assert ipaddress.ip_address(address) in RANGE
        assert connects(cluster, "n1", red, still.addresses["n2"])
        assert not connects(cluster, "n2", blue, address)
        assert not connects(cluster, "n1", red, address), "nobody knows whom policy lets in"
    finally:
        with suppress(FileNotFoundError):
            alone.unlink()  # the kubelet ends no pod before it has heard of all
        cluster.resume("kube-apiserver", command)
    wait_for(lambda: status(cluster, NODE)["Router"]["Name"], lambda name: name == before["Router"]["Name"],
             "the router of the DaemonSet does not come back as itself", RETURN_S)
    ready(cluster)
    assert address_of_still(cluster) == address
    becomes(cluster, "red", address, is_open=True)
    becomes(cluster, "blue", address, is_open=False)
    cluster.kubectl("delete", "networkpolicies", "--all")
    all_is_as_before(still)

