"""Run scenarios by command: `python -m tests.sim --peers 100 --seed 7 --scenario churn`; `--seeds N` tries N seeds.

Prints one line of JSON a run. A failure prints the seed and the last events, and exits 1.
"""

import argparse
import json
import sys
import time

from tests.sim.large import large
from tests.sim.scenarios import SCENARIOS
from tests.sim.world import World

SCENARIOS["large"] = large


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all"], default="all")
    parser.add_argument("--peers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to try, from --seed on")
    arguments = parser.parse_args()
    chosen = list(SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    return max(
        run(name, arguments.peers, seed)
        for seed in range(arguments.seed, arguments.seed + arguments.seeds)
        for name in chosen
    )


def run(name: str, peers: int, seed: int) -> int:
    """Run one scenario and print how it went."""
    world = World(seed)
    began = time.process_time()
    try:
        summary = SCENARIOS[name](world, peers)
    except Exception as exc:
        print("\n".join(world.tail()))
        print(f"FAILED: {type(exc).__name__}: {exc}")
        print(f"again: python -m tests.sim --scenario {name} --peers {peers} --seed {seed}")
        if not isinstance(exc, AssertionError):
            raise
        return 1
    spent = time.process_time() - began
    figures = {
        "scenario": name,
        "peers": peers,
        "seed": seed,
        **summary,
        "virtual_s": round(world.now, 1),
        "events": world.events,
        "cpu_s": round(spent, 2),
        "us_per_event": round(spent / max(1, world.events) * 1e6, 1),
        "trace": f"{world.trace:08x}",
    }
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
