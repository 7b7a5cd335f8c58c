"""Files of manifests, as a person left them in the policy directory.

Input: one octet of mode (even: YAML, odd: JSON), the rest. Allowed: objects, or `ManifestError` on one line; objects
that references of YAML knot into circles are read like others. What was read can be told as JSON.
"""

import json

from weave.npc.documents import read_objects
from weave.npc.manifest import parse
from weave.npc.manifest_fields import ManifestError

MUTATIONS = 300
MAX_BYTES = 2048


def target(data: bytes) -> None:
    if not data:
        return
    try:
        objects = read_objects(data[1:], is_json=bool(data[0] % 2))
    except ManifestError as exc:
        refused(str(exc))
        return
    for value in objects.values():
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        try:
            parse(value)
        except ManifestError as exc:
            refused(str(exc))


def refused(reason: str) -> None:
    assert "\n" not in reason


POLICY = b"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: x}
spec:
  podSelector: {matchLabels: &labels {app: a}}
  ingress:
  - from: [{podSelector: {matchLabels: *labels}}]
    ports: [{port: 80, endPort: 90}]
---
"""
SEEDS: list[bytes] = [
    b"\0" + POLICY + POLICY,
    b"\0kind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {<<: {a: b}}}}\n",
    b"\0apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
    b"spec: &s {ingress: [{from: [*s]}, *s]}\n",
    b'\1{"items": [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"podIP": "10.0.0.1"}}]}',
    b"\0date: 2020-01-01\nkind: !!binary aGk=\nmetadata: ? [a]\n",
]
