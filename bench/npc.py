"""Policy at scale: a thousand policies over ten thousand pods: loaded, changed by one pod, and in the way of TCP.

Every policy governs a pod of the measured host, which is more than a host ever has: what governs nobody here costs
nothing. Throughput is taken between two containers of one host, where no tunnel hides the cost of a rule, in turns
with all policies, with the controller's tables but no policy, and with no tables at all.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath

from bench.harness import CannotMeasure, need_program, need_root, run
from bench.iperf import Path, servers
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import interleaved, median
from weave.lab import kernel
from weave.lab.lab import temporary
from weave.lab.names import namespace

NAME = "npc"
MEASURED = "1,000 policies and 10,000 pods: full load; one pod's change; throughput ÷ no policy"
GOAL = "≤ 2 s; ≤ 5 ms; ≥ 0.9"

LAB = "benchnpc"
ROOT = FilePath(__file__).resolve().parents[1]
MILLI, MEBI, GIGA = 1e-3, 1 << 20, 1e9
ALL, NONE, OFF = "all policies", "the controller without policies", "no controller"
END_DEADLINE_S = 5.0


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pods", type=int, default=10_000, help="pods of the cluster")
    parser.add_argument("--policies", type=int, default=1000, help="policies of the cluster")
    parser.add_argument("--loads", type=int, default=5, help="times that everything is loaded")
    parser.add_argument("--changes", type=int, default=50, help="times that a pod comes and goes")
    parser.add_argument("--rounds", type=int, default=9, help="times that every side's throughput is measured")


def measure(given: argparse.Namespace) -> Result:
    """Load, change, send."""
    need_root()
    need_program("iperf3", "iperf3")
    with temporary(LAB) as lab:
        lab.up(1)
        here = {name: lab.run("h1", name)[0].partition("/")[0] for name in ("client", "server")}
        path = Path(namespace(lab.name, "h1", "client"), here["server"])
        with _host(namespace(lab.name, "h1"), given, here) as host, servers([namespace(lab.name, "h1", "server")]):
            loads = [host("full") for _ in range(given.loads)]
            changes = [host("pod") for _ in range(given.changes)]
            memory = host("memory")
            rates = interleaved({name: _sender(host, what, path) for name, what in
                                 ((ALL, "full"), (NONE, "none"), (OFF, "off"))}, given.rounds)
    return _result(given, loads, changes, memory, rates)


def _result(given: argparse.Namespace, loads: Sequence[dict[str, float]], changes: Sequence[dict[str, float]],
            memory: dict[str, float], rates: dict[str, list[float]]) -> Result:
    full = [load["compile"] + load["load"] for load in loads]
    kernel_ms = [change["enforce"] / MILLI for change in changes]
    quotients = [a / b for a, b in zip(rates[ALL], rates[NONE], strict=True)]
    rows = [
        Row.of("compile", [load["compile"] for load in loads], "s"),
        Row.of("load", [load["load"] for load in loads], "s"),
        Row("chains, sets, elements", loads[0]["elements"], "elements",
            note=f"{loads[0]['chains']:,.0f} chains, {loads[0]['sets']:,.0f} sets"),
        Row.of("one pod: compile", [change["compile"] / MILLI for change in changes], "ms"),
        Row.of("one pod: kernel", kernel_ms, "ms"),
        Row("memory", memory["resident"] / MEBI, "MiB", note=f"peak {memory['peak'] / MEBI:.0f} MiB"),
        *(Row.of(name, [rate / GIGA for rate in samples], "Gb/s") for name, samples in rates.items()),
        Row.of("all policies ÷ no policy, round by round", quotients),
        Row.of("all policies ÷ no controller", [a / b for a, b in zip(rates[ALL], rates[OFF], strict=True)]),
    ]
    return Result(NAME, rows, [
        Verdict("full", median(full), 2, AT_MOST, "s"), Verdict("pod", median(kernel_ms), 5, AT_MOST, "ms"),
        Verdict("memory", memory["peak"] / MEBI, 300, AT_MOST, "MiB"), Verdict("throughput", median(quotients), 0.9),
    ], [f"{given.policies} policies, each over a pod of this host; {given.pods} pods; one TCP stream of 1 s"])


def _sender(host, what: str, path: Path):  # type: ignore[no-untyped-def]
    def send() -> float:
        host(what)
        return path.bits_per_second(1)
    return send


@contextmanager
def _host(netns: str, given: argparse.Namespace, here: dict[str, str]) -> Iterator:  # type: ignore[type-arg]
    """Have a process in the host's namespace that does what it is asked."""
    words = [sys.executable, "-m", "bench.npc_host", str(given.pods), str(given.policies), json.dumps(here)]
    process = subprocess.Popen(kernel.inside(netns, *words), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)

    def ask(what: str) -> dict[str, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps({"do": what}), file=process.stdin, flush=True)
        line = process.stdout.readline()
        if not line:
            raise CannotMeasure(f"the measured host ended at {what!r} with {process.wait()}")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    try:
        yield ask
    finally:
        process.kill()
        process.communicate(timeout=END_DEADLINE_S)
