"""Manifests of pods and policies, from an API server or a file.

Input: JSON. Allowed: a value, or `ManifestError`. A policy that has a name, in a namespace that can be, is never
refused, whatever else is wrong with it: left out, it would open what its author wants closed. Whatever was read can be
judged, and what is told to people fits on a line.
"""

import json
from ipaddress import ip_address

from weave.npc.evaluator import Policies, connect, judge
from weave.npc.manifest import gather, parse
from weave.npc.manifest_fields import MAX_NAME_CHARACTERS, ManifestError
from weave.npc.model import ClusterPolicy, NetworkPolicy, Pod, Protocol
from weave.npc.selectors import describe

MUTATIONS = 1500
POLICIES = (("networking.k8s.io/v1", "NetworkPolicy"), ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"))
SOMEBODY = Pod("x", "a", {"app": "a"}, (ip_address("10.0.0.1"),))


def target(data: bytes) -> None:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        value = parse(manifest)
    except ManifestError as exc:
        expect_right_to_refuse(manifest, str(exc))
        return
    cluster = gather([SOMEBODY, value])
    for pod in cluster.pods.values():
        judge(Policies(cluster), connect(SOMEBODY, pod, Protocol.TCP, 80))
        judge(Policies(cluster), connect(pod, SOMEBODY, Protocol.TCP, 80))
    if isinstance(value, NetworkPolicy | ClusterPolicy):
        assert all(problem.isprintable() and problem.endswith(".") for problem in value.problems)
        assert value.name.isprintable()
        describe(value.pods)


def expect_right_to_refuse(manifest: object, reason: str) -> None:
    assert reason.isprintable()
    is_named_policy = (
        isinstance(manifest, dict) and (manifest.get("apiVersion"), manifest.get("kind")) in POLICIES
        and isinstance(manifest.get("metadata"), dict) and isinstance(manifest["metadata"].get("name"), str)
        and can_be_a_namespace(manifest["metadata"].get("namespace")))
    assert not is_named_policy, reason


def can_be_a_namespace(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS and value.isprintable()
                             and "/" not in value)


def _seed(kind: int, spec: object) -> bytes:
    version, name = POLICIES[kind]
    return json.dumps({"apiVersion": version, "kind": name, "metadata": {"name": "n", "namespace": "x"},
                       "spec": spec}).encode()


SELECTOR = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "b", "operator": "In", "values": ["c"]}]}
SEEDS: list[bytes] = [
    json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "x", "labels": {"a": "b"}},
                "spec": {"nodeName": "n", "containers": [{"ports": [{"name": "web", "containerPort": 80}]}],
                         "initContainers": [{"restartPolicy": "Always", "ports": []}]},
                "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]}}).encode(),
    json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "labels": {"a": "b"}}}).encode(),
    json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
                "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}).encode(),
    _seed(0, {"podSelector": SELECTOR, "policyTypes": ["Ingress", "Egress"],
              "ingress": [{"from": [{"podSelector": {}}, {"namespaceSelector": SELECTOR}],
                           "ports": [{"port": 80, "endPort": 90}, {"port": "web", "protocol": "UDP"}]}],
              "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}, {}]}),
    _seed(1, {"tier": "Admin", "priority": 5, "subject": {"pods": {"namespaceSelector": {}, "podSelector": SELECTOR}},
              "ingress": [{"name": "a", "action": "Deny", "from": [{"namespaces": SELECTOR}],
                           "protocols": [{"destinationNamedPort": "web"}]}],
              "egress": [{"action": "Pass", "to": [{"networks": ["10.0.0.0/8", "::/0"]}, {"nodes": {}}],
                          "protocols": [{"tcp": {"destinationPort": {"range": {"start": 1, "end": 9}}}},
                                        {"udp": {"destinationPort": {"number": 53}}}]}]}),
    _seed(0, [1]),
    _seed(1, "x"),
]
