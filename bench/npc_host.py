"""A host of the `npc` bench: a big cluster, compiled and enforced in the network namespace that this runs in.

Asked line by line on standard input, answers line by line in JSON:

    {"do": "off"}     no tables at all               {"do": "none"}   the controller's tables, no policy
    {"do": "full"}    all policies, from scratch     {"do": "pod"}    one pod of this host comes, and goes
    {"do": "memory"}  what the process holds
"""

import json
import resource
import sys
import time
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import trio

from weave.addresses import IPAddress
from weave.npc import nft
from weave.npc.compiler import Compiler, Local
from weave.npc.enforcer import Enforcer, Options, prepare_bridge
from weave.npc.kernel import Kernel
from weave.npc.main import collect_seldom
from weave.npc.model import (
    BlockPeer,
    Cluster,
    Key,
    Namespace,
    NetworkPolicy,
    Operator,
    Pod,
    PodPeer,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)
from weave.npc.nft_text import empty_text

POLICIES_PER_NAMESPACE = 10
APPS = 20
FIRST = int(IPv4Address("10.33.0.1"))


def selector(**labels: str) -> Selector:
    return Selector(tuple(Requirement(key, Operator.IN, frozenset([labels[key]])) for key in sorted(labels)))


def big_cluster(pods: int, policies: int, here: dict[str, IPAddress]) -> tuple[Cluster, Local]:
    """Return a cluster in which every policy governs a pod of this host: the most that a host can have to enforce.

    `here` are containers that really exist; each is a pod of another namespace, governed as the others are.
    """
    spaces = [f"ns-{number}" for number in range(max(1, policies // POLICIES_PER_NAMESPACE))]
    found: dict[Key, Pod] = {}
    local: dict[Key, tuple[IPAddress, ...]] = {}
    for number in range(pods):
        space, app = spaces[number % len(spaces)], number // len(spaces) % APPS
        pod = Pod(space, f"pod-{number}", {"app": f"app-{app}", "tier": f"tier-{app % 3}"},
                  (ip_address(FIRST + number),))
        key = Key(space, pod.name)
        found[key] = pod
        if number // len(spaces) < POLICIES_PER_NAMESPACE:
            local[key] = pod.addresses
    for number, (name, address) in enumerate(here.items()):
        key = Key(spaces[number % len(spaces)], name)
        found[key] = Pod(key.namespace, name, {"app": "app-0", "tier": "tier-0"}, (address,))
        local[key] = (address,)
    made = {Key(space, f"policy-{app}"): _policy(space, app) for space in spaces
            for app in range(POLICIES_PER_NAMESPACE)}
    namespaces = {space: Namespace(space, {"team": f"team-{number % 10}"}) for number, space in enumerate(spaces)}
    return Cluster(found, namespaces, {}, dict(list(made.items())[:policies])), Local(local)


def _policy(space: str, app: int) -> NetworkPolicy:
    """Return a policy with peers in its namespace, in those of a team, and in a block, and with ports."""
    ports = (PortRange(Protocol.TCP, 1024, 65535), PortRange(Protocol.TCP, 80, 80))
    peers = (PodPeer(None, selector(app=f"app-{(app + 1) % APPS}")),
             PodPeer(selector(team=f"team-{app}"), selector(tier=f"tier-{app % 3}")),
             BlockPeer(ip_network("10.0.0.0/8"), (ip_network("10.250.0.0/16"),)))
    rule = Rule(peers, ports)
    return NetworkPolicy(space, f"policy-{app}", selector(app=f"app-{app}"), (rule,), (rule,) if app % 2 == 0 else None)


@dataclass(slots=True)
class Host:
    """The compiler and the enforcer with what they were last told."""

    cluster: Cluster
    local: Local
    enforcer: Enforcer
    compiler: Compiler = field(default_factory=Compiler)

    async def do(self, what: str) -> dict[str, float]:
        """Do one thing, and return what it took in seconds."""
        match what:
            case "off":
                await nft.load(empty_text(), lambda _: None)
                self.enforcer.loaded = None
            case "none":
                await self.enforcer.enforce(Compiler().compile(replace(self.cluster, policies={}), self.local))
            case "full":
                return await self._full()
            case "pod":
                return await self._pod()
            case "memory":
                return {"resident": _resident(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}
        return {}

    async def _full(self) -> dict[str, float]:
        self.compiler, self.enforcer.loaded = Compiler(), None
        start = time.perf_counter()
        rules = self.compiler.compile(self.cluster, self.local)
        compiled = time.perf_counter()
        await self.enforcer.enforce(rules)
        return {"compile": compiled - start, "load": time.perf_counter() - compiled, "chains": len(rules.chains),
                "sets": len(rules.sets), "elements": sum(len(found.elements) for found in rules.sets.values())}

    async def _pod(self) -> dict[str, float]:
        """Let a pod come and go; return the half of what both took."""
        model = next(iter(self.cluster.pods.values()))
        key, address = Key(model.namespace, "newcomer"), ip_address("10.99.0.1")
        grown = replace(self.cluster, pods={**self.cluster.pods, key: replace(
            model, name=key.name, addresses=(address,))})
        compile_s = enforce_s = 0.0
        for cluster, local in ((grown, Local({**self.local.pods, key: (address,)})), (self.cluster, self.local)):
            start = time.perf_counter()
            rules = self.compiler.compile(cluster, local)
            compiled = time.perf_counter()
            await self.enforcer.enforce(rules)
            compile_s += (compiled - start) / 2
            enforce_s += (time.perf_counter() - compiled) / 2
        assert self.enforcer.figures.errors == 0
        return {"compile": compile_s, "enforce": enforce_s}


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) * 1024
    return 0.0


async def main(words: list[str]) -> None:
    pods, policies, here = int(words[0]), int(words[1]), json.loads(words[2])
    cluster, local = big_cluster(pods, policies, {name: ip_address(text) for name, text in here.items()})
    prepare_bridge()
    collect_seldom()
    with Kernel() as kernel:
        host = Host(cluster, local, Enforcer(Options(), kernel))
        async for line in trio.wrap_file(sys.stdin):
            print(json.dumps(await host.do(json.loads(line)["do"])), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
