"""Pods that the scenarios use: on each node one that serves HTTP, says who asked, and runs commands for us."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.kubernetes.testbed import Cluster, KubernetesError, wait_for

IMAGE = "lab.local/agnhost:2.21"
HTTP = 8080
SERVE = ("/agnhost", "netexec", "--http-port=8080", "--udp-port=8081")
START_DEADLINE_S = 120.0

WEB = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
      - name: c
        image: IMAGE
        command: [/agnhost, netexec, --http-port=8080, --udp-port=8081]
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
""".replace("IMAGE", IMAGE)


@dataclass(slots=True)
class Workload:
    """Pods by the node they run on."""

    cluster: Cluster
    names: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def up(self) -> None:
        """Start the pods and wait until all are ready."""
        self.cluster.apply(WEB)
        self.look()

    def look(self) -> None:
        """Learn anew which pod is on which node."""
        pods = self.ready_pods("app=web", len(self.cluster.nodes))
        self.names = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}
        self.addresses = {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in pods}

    def ready_pods(self, selector: str, count: int, deadline_s: float = START_DEADLINE_S) -> list[dict]:  # type: ignore[type-arg]
        """Wait until so many pods are ready, and none is on its way out; return them."""
        def look() -> list[dict]:  # type: ignore[type-arg]
            return self.cluster.objects("pods", "-l", selector)
        return wait_for(look, lambda pods: len(pods) == count and all(map(is_ready, pods)),
                        f"there are not {count} ready pods {selector}", deadline_s)

    def add_colors(self) -> None:
        """Add a red and a blue pod on two nodes beside the pods that serve; they serve, too."""
        self.cluster.apply(pod("red", "n1", SERVE, labels="{color: red, kind: color}")
                           + pod("blue", "n2", SERVE, labels="{color: blue, kind: color}"))
        self.ready_pods("kind=color", 2)

    def fetch(self, node: str, url: str, timeout_s: int = 3) -> str:
        """Ask by HTTP from the pod of a node; return the body."""
        return self.cluster.inside(self.names[node], "timeout", str(timeout_s), "wget", "-q", "-O-", f"http://{url}")

    def reaches(self, node: str, url: str) -> bool:
        """Say whether the pod of a node gets an answer."""
        try:
            self.fetch(node, url)
        except KubernetesError:
            return False
        return True

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Return every ordered pair of nodes."""
        return [(a, b) for a in self.names for b in self.names]


def is_ready(pod: dict) -> bool:  # type: ignore[type-arg]
    """Say whether a pod serves, and is not about to go."""
    conditions = {item["type"]: item["status"] for item in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def pod(name: str, node: str, command: Iterable[str], *, labels: str = "{}", extra: str = "", ports: str = "[]") -> str:
    """Return the manifest of one pod on one node."""
    words = ", ".join(map(json.dumps, command))
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {labels}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  {extra}
  containers:
  - {{name: c, image: "{IMAGE}", command: [{words}], ports: {ports}}}
---
"""
