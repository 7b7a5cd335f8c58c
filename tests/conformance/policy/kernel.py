"""The real kernel as an engine: every pod a container on one of three lab hosts, every probe a real packet.

      h1               h2               h3           each host enforces on its own what concerns its pods
    x/a y/a z/a ..   x/b y/b z/b ..   x/c y/c ..     each container answers and probes in one process that stays

A step costs two waits: all probes at once, and once more those that nobody answered.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.policy import cluster_policy
from tests.conformance.policy.build import NAMESPACES, PODS, some_addresses
from tests.conformance.policy.case import Probe, World, named
from tests.lab.world import World as LabWorld
from tests.lab.world import world as lab_world
from weave.lab import kernel
from weave.lab.names import namespace

ROOT = Path(__file__).parents[3]
PROBER = Path(__file__).with_name("prober.py")
HOSTS = 3
WAIT_S = 0.25
PATIENT_WAIT_S = 0.4
BUSY_ROUNDS = 5
"""How often what nobody answered is tried again while a pod does not even reach itself: the machine is too busy."""
GRID = [f"{space}/{name}" for space in NAMESPACES for name in PODS]
EXTRA = ["x/d", "y-2/a", "y-2/b", "w/a"]
GRID_PORTS = [[protocol, port] for protocol in ("TCP", "UDP", "SCTP") for port in (80, 81)]


@dataclass(slots=True)
class Talker:
    """A process that answers one line with one line."""

    process: "subprocess.Popen[str]"

    def ask(self, value: object) -> None:
        assert self.process.stdin is not None
        print(json.dumps(value), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args} ended: {self.process.wait()}"
        return json.loads(line)


@dataclass(slots=True)
class KernelEngine:
    """Three hosts, and a container for every pod there may be."""

    lab: LabWorld
    where: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    probers: dict[str, Talker] = field(default_factory=dict)
    agents: dict[str, Talker] = field(default_factory=dict)

    def __call__(self, world: World, probes: Sequence[Probe]) -> Mapping[Probe, bool]:
        self.enforce(world)
        seen = self.probe(probes, WAIT_S)
        for _ in range(BUSY_ROUNDS):
            seen |= self.probe([probe for probe, passed in seen.items() if not passed], PATIENT_WAIT_S)
            if all(passed for probe, passed in seen.items() if probe.source == probe.destination):
                break
        return seen

    def enforce(self, world: World) -> None:
        pods = {name: manifest for name, manifest in named(world, "Pod") if not manifest["spec"].get("hostNetwork")}
        for host, agent in self.agents.items():
            here = {name: self.addresses[name] for name in self.where if self.where[name] == host}
            agent.ask({"manifests": list(world.values()),
                       "pods": {name: address for name, address in here.items() if name in pods},
                       "others": [address for name, address in here.items() if name not in pods]})
        for agent in self.agents.values():
            agent.answer()

    def probe(self, probes: Sequence[Probe], wait_s: float) -> dict[Probe, bool]:
        by_source: dict[str, list[Probe]] = {}
        for probe in probes:
            by_source.setdefault(probe.source, []).append(probe)
        for source, mine in by_source.items():
            self.probers[source].ask({"wait": wait_s, "probe": [
                [self.addresses[probe.destination], probe.protocol, probe.port] for probe in mine]})
        return {probe: bool(passed) for source, mine in by_source.items()
                for probe, passed in zip(mine, self.probers[source].answer(), strict=True)}

    def add(self, name: str, host: str, address: str, ports: Sequence[Sequence[object]]) -> None:
        container = f"p{len(self.where)}"
        self.lab.container(host, container, f"{address}/16")
        netns = namespace(self.lab.lab.name, host, container)
        for subnet in ("10.32.0.0/16", "192.0.2.0/24"):
            kernel.run(*kernel.inside(netns, "ip", "route", "replace", subnet, "dev", "ethwe"))
        self.where[name], self.addresses[name] = host, address
        self.probers[name] = Talker(_start(netns, sys.executable, "-ISu", str(PROBER)))
        self.probers[name].ask({"serve": ports})
        self.probers[name].answer()

    def stop(self) -> None:
        for talker in (*self.probers.values(), *self.agents.values()):
            talker.process.kill()
            talker.process.communicate()


@contextmanager
def kernel_engine(*, grid: bool = True, houses: bool = True) -> Iterator[KernelEngine]:
    """Have the engine while the block runs; say which suites' pods it shall have."""
    with lab_world("policy", HOSTS, ("--ipalloc-range", "10.64.0.0/12")) as lab:
        engine = KernelEngine(lab)
        try:
            for host in [f"h{number}" for number in range(1, HOSTS + 1)]:
                netns = namespace(lab.lab.name, host)
                engine.agents[host] = Talker(
                    _start(netns, sys.executable, "-m", "tests.conformance.policy.kernel_agent"))
            for name in (*GRID, *EXTRA) if grid else ():
                engine.add(name, f"h{'abcd'.index(name[-1]) % HOSTS + 1}", some_addresses(name), GRID_PORTS)
            for name, manifest in named(cluster_policy.start(), "Pod") if houses else ():
                [status] = manifest["status"]["podIPs"]
                ports = [[port["protocol"], port["containerPort"]]
                         for container in manifest["spec"]["containers"] for port in container["ports"]]
                engine.add(name, f"h{len(engine.where) % HOSTS + 1}", status["ip"], ports)
            yield engine
        finally:
            engine.stop()


def _start(netns: str, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(kernel.inside(netns, *words), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True)
