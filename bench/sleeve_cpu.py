"""CPU time that the sleeve's processes use for a GB of TCP, beside those of wireguard-go and nebula, in turns."""

import argparse
from collections.abc import Sequence

from bench import streams
from bench.arena import NEBULA, SLEEVE, WIREGUARD
from bench.harness import run
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median, paired_ratio

NAME = "sleeve-cpu"
MEASURED = "CPU seconds of the daemons per GB of TCP, both hosts ÷ the better of wireguard-go and nebula"
GOAL = "≤ 0.5"

LAB = "benchcpu"


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=streams.options)


def measure(given: argparse.Namespace) -> Result:
    """Let all sides take turns; compare."""
    found = streams.measure(given, LAB, (SLEEVE, WIREGUARD, NEBULA))
    better = min((WIREGUARD, NEBULA), key=lambda name: median(found.costs[name]))
    return Result(NAME, [Row.of(name, samples, "s/GB") for name, samples in found.costs.items()], [
        Verdict("cpu_over_better", paired_ratio(found.costs[SLEEVE], found.costs[better]), 0.5, AT_MOST),
    ], [found.note])
