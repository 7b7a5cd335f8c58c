"""How soon a router is ready, beside a process that only imports what a router imports.

A router alone on its host starts from nothing (it makes its key, its database, its devices) and again with what it
has left. Ready means that peers can connect and containers can be attached. Memory is looked at a second later.
"""

import argparse
import shutil
import time
from collections.abc import Sequence

from bench import handmade
from bench.harness import need_root, run, scratch
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import interleaved, paired_ratio
from weave.lab import kernel
from weave.lab.lab import temporary
from weave.lab.names import SWITCH, namespace

NAME = "start"
MEASURED = "`weave router` from exec to ready ÷ a Python process that only imports the same libraries"
GOAL = "≤ 1.5"

LAB = "benchstart"
FIRST, AGAIN, IMPORTS = "router, first start", "router, started again", "process that only imports"
REST_S = 1.0
MILLI = 1000


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=9, help="starts of each kind")


def measure(given: argparse.Namespace) -> Result:
    """Start in turns."""
    from bench.processes import import_command, list_modules, router_command

    need_root()
    with temporary(LAB) as lab, scratch(NAME) as place:
        kernel.add_switch(namespace(lab.name, SWITCH))
        host = handmade.bare_host(lab.name, 1)
        modules = list_modules(host, place)
        kept, fresh = place / "kept", place / "fresh"

        def first() -> tuple[float, float]:
            shutil.rmtree(fresh, ignore_errors=True)
            _clear(host)
            return _start(router_command(fresh), host)

        def imports() -> tuple[float, float]:
            return _start(import_command(modules), host)

        _start(router_command(kept), host)
        samples = interleaved({FIRST: first, AGAIN: lambda: _start(router_command(kept), host), IMPORTS: imports},
                              given.rounds)
        memory = _memory({"router": router_command(kept), IMPORTS: import_command(modules)}, host)
        count = len(modules.read_text().split())
    return _result(samples, memory, count)


def _start(command: Sequence[str], host: str) -> tuple[float, float]:
    """Return how long a process takes to be ready, and its CPU time until then."""
    from bench.processes import until_ready

    with until_ready(command, host) as ready:
        return ready.seconds, ready.cpu_s


def _clear(host: str) -> None:
    """Remove the devices that an earlier router left, so that the next one makes them."""
    for device in kernel.device_names(host):
        if device == "weave" or device.startswith("vxlan"):
            kernel.run("ip", "-n", host, "link", "delete", device)


def _memory(commands: dict[str, list[str]], host: str) -> list[Row]:
    from bench.processes import until_ready, usage

    rows = []
    for name, command in commands.items():
        with until_ready(command, host) as ready:
            time.sleep(REST_S)
            used = usage(ready.pid)
        rows.append(Row(f"resident memory, {name}", used.rss_mib, "MiB", note=f"its own share {used.own_mib:.3g} MiB"))
    return rows


def _result(samples: dict[str, list[tuple[float, float]]], memory: list[Row], modules: int) -> Result:
    seconds = {name: [took for took, _ in values] for name, values in samples.items()}
    cpu = {name: [used for _, used in values] for name, values in samples.items()}
    rows = [Row.of(f"{name}, until ready", [value * MILLI for value in values], "ms")
            for name, values in seconds.items()]
    rows += [Row.of(f"{name}, CPU until ready", [value * MILLI for value in values], "ms")
             for name, values in cpu.items()]
    rows.append(Row("first start ÷ imports", paired_ratio(seconds[FIRST], seconds[IMPORTS])))
    again = paired_ratio(seconds[AGAIN], seconds[IMPORTS])
    rows.append(Row("started again ÷ imports", again))
    return Result(NAME, [*rows, *memory],
                  [Verdict("ratio", paired_ratio(seconds[FIRST], seconds[IMPORTS]), 1.5, AT_MOST)],
                  [f"{modules} modules; ratio: the first start, which also makes key, database and devices"])


