"""Lead a kernel through random rulesets, and hold what it has against a fresh load of the last; runs in a namespace.

    python -m tests.lab.policy_replay      exit status 0 where every change led where a fresh load leads
"""

import json
import subprocess
from collections.abc import Sequence

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.npc.random_clusters import clusters
from weave.npc.compiler import Compiler, Local
from weave.npc.enforcer import Enforcer, Options
from weave.npc.kernel import Kernel
from weave.npc.model import Cluster
from weave.npc.ruleset import Ruleset

TABLES = (("inet", "weave-npc"), ("bridge", "weave-npc"))


def listing() -> list[str]:
    """Return what the kernel has, without handles and in an order of its own."""
    lines: list[str] = []
    for table in TABLES:
        done = subprocess.run(["nft", "-j", "list", "table", *table], check=True, capture_output=True)
        listed = json.loads(done.stdout)
        position: dict[str, int] = {}
        for item in listed["nftables"]:
            [(kind, value)] = item.items()
            value.pop("handle", None)
            if kind in ("set", "map") and "elem" in value:
                value["elem"] = sorted(json.dumps(element, sort_keys=True) for element in value["elem"])
            if kind == "rule":
                position[value["chain"]] = value["position"] = position.get(value["chain"], 0) + 1
            if kind != "metainfo":
                lines.append(json.dumps(item, sort_keys=True))
    return sorted(lines)


async def enforce(rulesets: Sequence[Ruleset]) -> None:
    with Kernel() as kernel:
        enforcer = Enforcer(Options(), kernel)
        for rules in rulesets:
            await enforcer.enforce(rules)
        assert enforcer.figures.full_loads == 1, "a change was refused"
        assert enforcer.figures.errors == 0


@settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(clusters(), min_size=2, max_size=4))
def check(worlds: list[Cluster]) -> None:
    compiler = Compiler()
    rulesets = [compiler.compile(cluster, Local({key: pod.addresses for key, pod in cluster.pods.items()}))
                for cluster in worlds]
    trio.run(enforce, rulesets)
    changed = listing()
    trio.run(enforce, rulesets[-1:])
    assert changed == listing()


if __name__ == "__main__":
    check()
