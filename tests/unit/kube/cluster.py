"""A Kubernetes API of nodes and one ConfigMap, with versions, conflicts and watches, for the server of this process."""

import json
import re
from dataclasses import dataclass, field

import trio

from tests.unit.kube.server import Reply

NODE_STATUS = re.compile(r"/api/v1/nodes/([^/]+)(/status)?")
CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"


@dataclass
class FakeCluster:
    version: int = 1
    nodes: dict = field(default_factory=dict)
    log: list = field(default_factory=list)
    config_map: dict | None = None
    patches: list = field(default_factory=list)
    is_down: bool = False
    asked: list = field(default_factory=list)
    moved: trio.Event = field(default_factory=trio.Event)

    def _event(self, kind, name):
        self.version += 1
        self.nodes[name]["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, json.dumps({"type": kind, "object": self.nodes[name]}).encode() + b"\n"))
        self.moved.set()
        self.moved = trio.Event()

    def add_node(self, name, address):
        self.nodes[name] = {"metadata": {"name": name, "uid": f"{name}-{self.version}"}, "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}]}}
        self._event("ADDED", name)

    def delete_node(self, name):
        self._event("DELETED", name)
        del self.nodes[name]

    @property
    def record(self):
        return json.loads(self.config_map["data"]["cluster"]) if self.config_map else None

    def __call__(self, request):
        self.asked.append(request)
        if self.is_down:
            return Reply(503, {})
        if request.path.startswith(CONFIG_MAPS):
            return self._configuration(request)
        if request.path == "/api/v1/nodes":
            if "watch" in request.query:
                return self._watch(int(request.query["resourceVersion"]))
            return Reply(value={"metadata": {"resourceVersion": str(self.version)}, "items": list(self.nodes.values())})
        return self._node(request)

    def _node(self, request):
        name, status = NODE_STATUS.fullmatch(request.path).groups()
        if name not in self.nodes:
            return Reply(404, {})
        if request.method == "PATCH" and status:
            self.patches.append((name, request.json))
            known = {each["type"]: each for each in self.nodes[name]["status"]["conditions"]}
            known |= {each["type"]: each for each in request.json["status"]["conditions"]}
            self.nodes[name]["status"]["conditions"] = list(known.values())
            self._event("MODIFIED", name)
        return Reply(value=self.nodes[name])

    async def _watch(self, version):
        while not any(at > version for at, _ in self.log):
            await self.moved.wait()
        return Reply(pieces=tuple(line for at, line in self.log if at > version))

    def _configuration(self, request):
        if request.method == "GET":
            return Reply(value=self.config_map) if self.config_map else Reply(404, {})
        if request.method == "POST" and self.config_map is not None:
            return Reply(409, {})
        if request.method == "PUT":
            if self.config_map is None:
                return Reply(404, {})
            if request.json["metadata"]["resourceVersion"] != self.config_map["metadata"]["resourceVersion"]:
                return Reply(409, {})
        self.version += 1
        self.config_map = request.json
        self.config_map["metadata"]["resourceVersion"] = str(self.version)
        return Reply(value=self.config_map)
