"""What comes from the Kubernetes API, and from files that belong to it: watch lines, list pages, nodes, the record of
the cluster, the note of a node, kubeconfig files.

Input: one octet of mode, the rest. Allowed: changes, garbage that is counted, `RemoteError` from the record,
`ValueError` from the note, `LocalError` from a kubeconfig. A record that is read is written again as the same record.
"""

import json
from pathlib import Path
from random import Random

from weave.errors import LocalError, RemoteError
from weave.kube.config import from_kubeconfig
from weave.kube.lines import LineSplitter
from weave.kube.membership import admit, claim, decode, encode, found, seal
from weave.kube.nodes import choose_targets, read_node
from weave.kube.notes import read_note
from weave.kube.reflector import Reflector

LINE, PAGE, NODE, RECORD, NOTE, KUBECONFIG = range(6)

OBJECT = {"metadata": {"name": "a", "namespace": "x", "resourceVersion": "1"}}
NODE_OBJECT = {"metadata": {"name": "n1"}, "status": {
    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
    "conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "WeaveIsUp"}]}}
SOUND = claim(seal(admit(admit(found("b", "10.32.0.0/12"), "p1", "n1"), "p2", "n2"), {"n1", "n2"}), "p2", "p1")


def _seed(mode: int, content: object) -> bytes:
    return bytes([mode]) + (content if isinstance(content, bytes) else json.dumps(content).encode())


SEEDS = [
    _seed(LINE, json.dumps({"type": "ADDED", "object": OBJECT}).encode() + b"\n"),
    _seed(LINE, json.dumps({"type": "ERROR", "object": {"code": 410, "details": {"retryAfterSeconds": 1}}}).encode()),
    _seed(LINE, json.dumps({"type": "BOOKMARK", "object": OBJECT}).encode() + b"\n"),
    _seed(PAGE, {"metadata": {"resourceVersion": "7", "continue": "c"}, "items": [OBJECT]}),
    _seed(NODE, NODE_OBJECT),
    _seed(RECORD, encode(SOUND).encode()),
    _seed(NOTE, {"format": 1, "peer": "p", "seed": ["p"], "range": "10.32.0.0/12", "birth": "b"}),
    _seed(KUBECONFIG, {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                       "clusters": [{"name": "k", "cluster": {"server": "https://192.0.2.1"}}],
                       "users": [{"name": "u", "user": {"token": "t"}}]}),
]


def target(data: bytes) -> None:
    if not data:
        return
    mode, body = data[0] % 6, data[1:]
    if mode == LINE:
        follow(body)
    elif mode == RECORD:
        read_record(body)
    elif mode == NOTE:
        try:
            read_note(body)
        except ValueError:
            return
    elif mode == KUBECONFIG:
        try:
            from_kubeconfig(body.decode("utf-8", "replace"), Path("/nonexistent"))
        except LocalError:
            return
    else:
        take(mode, body)


def follow(body: bytes) -> None:
    machine = Reflector("things", Random(1))
    machine.listed({"metadata": {"resourceVersion": "1"}, "items": [OBJECT]}, 0.0)
    machine.opened(0.0)
    try:
        lines = LineSplitter(1 << 16).feed(body + b"\n")
    except RemoteError:
        return
    for line in lines:
        machine.line(line, 1.0)
    assert machine.action is not None


def take(mode: int, body: bytes) -> None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    if mode == PAGE:
        Reflector("things", Random(1)).listed(value, 0.0)
    node = read_node(value)
    if node is not None:
        choose_targets({node.name: node}, "me")


def read_record(body: bytes) -> None:
    try:
        record = decode(body.decode("utf-8", "replace"))
    except RemoteError:
        return
    assert decode(encode(record)) == record
