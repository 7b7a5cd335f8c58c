"""Policy controllers on lab hosts: one process each, all reading one directory of manifests."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.lab.world import TRUSTED, World, world
from weave.api.client import Client
from weave.errors import WeaveError
from weave.lab import kernel, probes
from weave.lab.names import namespace

READY_S = 60.0
"""A controller enforces within a second of its start; a busy machine may take much longer."""

PUSH = """
import socket, sys, time
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    c, _ = s.accept()
    try:
        while True:
            c.sendall(b"x")
            time.sleep(0.01)
    except OSError:
        c.close()
"""
"""A service that talks for ever to whoever connected."""

PULL = """
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
c.settimeout(2)
print("connected", flush=True)
try:
    while c.recv(65536):
        pass
except TimeoutError:
    print("silence", flush=True)
"""
"""A client that listens until nothing comes for two seconds."""

SHOUT = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("shouting", flush=True)
while True:
    try:
        s.sendto(b"forbidden", (sys.argv[1], int(sys.argv[2])))
    except OSError:
        pass
    time.sleep(0.002)
"""
"""Sends datagrams without pause, whatever becomes of them."""

HEAR = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", int(sys.argv[1])))
print("listening", flush=True)
while True:
    data, peer = s.recvfrom(64)
    print(peer[0], flush=True)
"""
"""Prints whom it hears, datagram by datagram."""


@dataclass(slots=True)
class Controllers:
    """The controllers of a lab and their policies."""

    world: World
    directory: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    revision: int = 0

    def start(self, host: str, *options: str) -> None:
        """Start the controller of a host, and wait until it enforces."""
        words = [sys.executable, "-m", "weave.npc", "--policy-dir", str(self.directory), "--socket",
                 str(self.world.lab.socket(host)), "--status-socket", str(self.socket(host)), *options]
        with self.log_file(host).open("ab") as output:
            self.processes[host] = subprocess.Popen(
                kernel.inside(namespace(self.world.lab.name, host), *words), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output)
        self.until(host, lambda status: status["ready"], "does not enforce policy")

    def kill(self, host: str) -> None:
        """Kill the controller of a host, if it runs."""
        process = self.processes.pop(host, None)
        if process is not None:
            process.kill()
            process.wait()

    def socket(self, host: str) -> Path:
        return self.world.lab.socket(host).parent / "npc.sock"

    def log_file(self, host: str) -> Path:
        return self.world.lab.socket(host).parent / "npc.log"

    def log(self, host: str) -> str:
        return self.log_file(host).read_text(errors="replace")

    def status(self, host: str) -> dict[str, Any]:
        """Return what a controller says of itself."""
        value = Client(self.socket(host)).value("GET", "policy", "status")
        assert isinstance(value, dict)
        return value

    def until(self, host: str, holds: Callable[[dict[str, Any]], object], otherwise: str) -> dict[str, Any]:
        """Wait until something holds in the status of a controller."""
        try:
            return probes.wait_for(lambda: self.status(host), lambda seen: bool(holds(seen)), f"{host} {otherwise}",
                                   READY_S)
        except WeaveError as exc:
            exc.add_note(self.log(host)[-2000:] if self.log_file(host).exists() else "it has no log")
            raise

    def set(self, *policies: object) -> None:
        """Make these the policies there are, and wait until every controller enforces them."""
        self.revision += 1
        mark = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"revision-{self.revision}"}}
        (self.directory / "next").write_text(json.dumps({"items": [*policies, mark]}))
        (self.directory / "next").rename(self.directory / "policies.json")
        for host in self.processes:
            probes.wait_for(partial(self.revisions, host), lambda seen: seen == [f"revision-{self.revision}"],
                            f"{host} does not follow", READY_S)

    def revisions(self, host: str) -> list[str]:
        """Return which sets of policies a controller enforces."""
        value = Client(self.socket(host)).value("GET", "policy", "state")
        assert isinstance(value, dict)
        return [manifest["metadata"]["name"] for manifest in value["manifests"]
                if manifest["metadata"]["name"].startswith("revision-")]

    def stop(self) -> None:
        for host in list(self.processes):
            self.kill(host)


@contextmanager
def controllers(name: str, hosts: int, directory: Path) -> Iterator[Controllers]:
    """Have a lab with a controller on each host while the block runs."""
    with world(name, hosts, (*TRUSTED, "--ipalloc-range=10.32.0.0/12,fd00:77::/64")) as made:
        running = Controllers(made, directory)
        try:
            for number in range(1, hosts + 1):
                running.start(f"h{number}")
            yield running
        finally:
            running.stop()


def policy(name: str, app: str, **rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a policy over the containers labelled with an app; it governs the directions that have rules."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": {"app": app}}, **rules,
                     "policyTypes": [direction.capitalize() for direction in rules]}}


def from_app(app: str) -> dict[str, Any]:
    """Return an ingress rule that opens for the containers of an app."""
    return {"from": [{"podSelector": {"matchLabels": {"app": app}}}]}
