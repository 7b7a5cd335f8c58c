"""An API server for ClusterNetworkPolicies alone, which the cluster's own passes requests on to (an APIService).

    kubectl, weave-npc ── kube-apiserver ── this, beside the control plane

The testbed's API server ends with a fault when it is given an object of a definition (CRD): Kubernetes 1.20 holds a
JSON library that newer compilers of Go break. An aggregated API is the other way that Kubernetes has for kinds of
others: who asks sees the same paths, rights and watches. What is written is kept as it comes.
"""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.kubernetes.testbed import LAB, ROOT, SUBNET, Cluster, wait_for
from tests.unit.kube.certificates import certificate

GROUP = "policy.networking.k8s.io"
VERSION = "v1alpha2"
PLURAL = "clusternetworkpolicies"
ADDRESS, PORT = f"{SUBNET}.1", 7443
SERVICE = f"{VERSION}.{GROUP}"
AGGREGATED = f"""
apiVersion: v1
kind: Service
metadata: {{name: policy-api}}
spec: {{ports: [{{port: 443, targetPort: {PORT}}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: policy-api}}
subsets: [{{addresses: [{{ip: {ADDRESS}}}], ports: [{{port: {PORT}}}]}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: {SERVICE}}}
spec:
  group: {GROUP}
  version: {VERSION}
  groupPriorityMinimum: 1000
  versionPriority: 15
  insecureSkipTLSVerify: true
  service: {{namespace: default, name: policy-api}}
"""


@dataclass(slots=True)
class Store:
    """Own the objects, and what has happened to them."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    """The event of version N is the N-th."""
    changed: Condition = field(default_factory=Condition)

    def put(self, value: dict[str, Any]) -> dict[str, Any]:
        """Keep an object, with a version and an identity."""
        with self.changed:
            name = value["metadata"]["name"]
            kind = "MODIFIED" if name in self.objects else "ADDED"
            self.objects[name] = self._happens(kind, value)
            return self.objects[name]

    def remove(self, name: str) -> dict[str, Any]:
        """Forget an object."""
        with self.changed:
            return self._happens("DELETED", self.objects.pop(name))

    def _happens(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        version = str(len(self.events) + 1)
        kept = {**value, "metadata": {"uid": value["metadata"]["name"], "generation": 1, **value["metadata"],
                                      "resourceVersion": version}}
        self.events.append({"type": kind, "object": kept})
        self.changed.notify_all()
        return kept

    def since(self, version: int, seconds: float) -> list[dict[str, Any]]:
        """Wait for events after a version."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.events) > version, seconds)
            return self.events[version:]


class Handler(BaseHTTPRequestHandler):
    """Answer as an API server does: lists, watches, POST, DELETE."""

    protocol_version = "HTTP/1.1"
    store: ClassVar[Store] = Store()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if not url.path.endswith(f"/{PLURAL}"):
            self._say({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}",
                       "resources": []})
        elif query.get("watch") in {"1", "true"}:
            self._watch(int(query["resourceVersion"]))
        else:
            with self.store.changed:
                self._say({"kind": "ClusterNetworkPolicyList", "apiVersion": f"{GROUP}/{VERSION}",
                           "metadata": {"resourceVersion": str(len(self.store.events))},
                           "items": list(self.store.objects.values())})

    def do_POST(self) -> None:
        self._say(self.store.put(json.loads(self._body())))

    def do_DELETE(self) -> None:
        self._body()
        self._say(self.store.remove(self.path.rpartition("/")[2]))

    def _body(self) -> bytes:
        """Read what was sent; what kubectl streams comes in chunks."""
        if "Transfer-Encoding" not in self.headers:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _say(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, version: int) -> None:
        """Tell events until the other end is gone."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            for event in self.store.since(version, 3600):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                version += 1
            self.wfile.flush()


def serve(certificate_file: str) -> None:
    """Serve until killed; runs in the network of the control plane."""
    server = ThreadingHTTPServer((ADDRESS, PORT), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


@dataclass(frozen=True, slots=True)
class PolicyApi:
    """What the tests do with the policies; every request goes through the cluster's API server."""

    cluster: Cluster

    def put(self, *policies: dict[str, Any]) -> None:
        for policy in policies:
            self.cluster.kubectl("create", "--raw", self._path(), "-f", "-", stdin=json.dumps(policy))

    def delete(self, name: str) -> None:
        self.cluster.kubectl("delete", "--raw", f"{self._path()}/{name}")

    def clear(self) -> None:
        """Delete all."""
        for item in json.loads(self.cluster.kubectl("get", "--raw", self._path()))["items"]:
            self.delete(item["metadata"]["name"])

    @staticmethod
    def _path() -> str:
        return f"/apis/{GROUP}/{VERSION}/{PLURAL}"


@contextmanager
def policy_api(cluster: Cluster, place: Path) -> Iterator[PolicyApi]:
    """Serve the kind as long as this lasts, and have the cluster's API server know it."""
    pem, key, *_ = certificate("policy-api")
    (place / "policy-api.pem").write_text(pem + key)
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{LAB}", "--", sys.executable, "-m", "tests.kubernetes.policy_api",
             str(place / "policy-api.pem")], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=log)
    try:
        made = PolicyApi(cluster)
        cluster.apply(AGGREGATED)
        wait_for(made.clear, lambda _: True, "the aggregated API does not answer", 60)
        yield made
    finally:
        cluster.kubectl("delete", "apiservice", SERVICE, "--ignore-not-found")
        cluster.kubectl("delete", "service", "policy-api", "--ignore-not-found")
        process.kill()
        process.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
