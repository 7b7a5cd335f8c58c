"""TCP pod to pod through the sleeve, beside wireguard-go, nebula and the bare underlay, one stream each, in turns."""

import argparse
from collections.abc import Sequence

from bench.arena import NEBULA, RAW, SLEEVE, WIREGUARD, Side, arena
from bench.harness import run
from bench.iperf import Path
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median, paired_ratio, turns

NAME = "sleeve"
MEASURED = "TCP pod to pod, encrypted ÷ wireguard-go; ÷ nebula; ÷ raw veth; daemons' CPU per GB ÷ the better peer's"
GOAL = "≥ 2; ≥ 10; ≥ 0.2; ≤ 0.5"

LAB = "benchsleeve"
GIGA = 1e9


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="times that every side is measured")
    parser.add_argument("--seconds", type=int, default=2, help="length of one stream")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of every side")


def measure(given: argparse.Namespace) -> Result:
    """Let all sides take turns; compare."""
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    with arena(LAB) as there:
        for side in there.sides.values():
            Path(side.client, side.address, given.congestion).bits_per_second(1)
        for name in turns(list(there.sides), given.rounds):
            rate, cost = _stream(there.sides[name], given.seconds, given.congestion)
            rates.setdefault(name, []).append(rate)
            costs.setdefault(name, []).append(cost)
    rows = [Row.of(name, [rate / GIGA for rate in samples], "Gb/s") for name, samples in rates.items()]
    rows += [Row.of(f"{name}, daemons", costs[name], "s/GB") for name in (SLEEVE, WIREGUARD, NEBULA)]
    better = min((WIREGUARD, NEBULA), key=lambda name: median(costs[name]))
    return Result(NAME, rows, [
        Verdict("over_wireguard_go", paired_ratio(rates[SLEEVE], rates[WIREGUARD]), 2),
        Verdict("over_nebula", paired_ratio(rates[SLEEVE], rates[NEBULA]), 10),
        Verdict("over_raw", paired_ratio(rates[SLEEVE], rates[RAW]), 0.2),
        Verdict("cpu_over_better", paired_ratio(costs[SLEEVE], costs[better]), 0.5, AT_MOST),
    ], [f"one stream of {given.seconds} s, {given.congestion}, {given.rounds} rounds in turns; rivals host to host"])


def _stream(side: Side, seconds: int, congestion: str) -> tuple[float, float]:
    """Return bits per second, and CPU seconds of the daemons for each GB."""
    before = side.cpu_seconds()
    rate = Path(side.client, side.address, congestion).bits_per_second(seconds)
    return rate, (side.cpu_seconds() - before) / (rate * seconds / 8 / GIGA)
