"""TCP pod to pod through the sleeve, beside wireguard-go, nebula and the bare underlay, one stream each, in turns."""

import argparse
from collections.abc import Sequence

from bench import streams
from bench.arena import NEBULA, RAW, RELAYED, SLEEVE, WIREGUARD
from bench.harness import run
from bench.report import Result, Row, Verdict
from bench.stats import paired_ratio

NAME = "sleeve"
MEASURED = "TCP pod to pod, encrypted ÷ wireguard-go; ÷ nebula; ÷ raw veth"
GOAL = "≥ 2; ≥ 10; ≥ 0.2"

LAB = "benchsleeve"


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    streams.options(parser)
    parser.add_argument("--relayed", action="store_true", help="measure also what goes through a third host")


def measure(given: argparse.Namespace) -> Result:
    """Let all sides take turns; compare."""
    found = streams.measure(given, LAB, (SLEEVE, WIREGUARD, NEBULA, RAW, *([RELAYED] if given.relayed else [])))
    rows = [Row.of(name, [rate / streams.GIGA for rate in samples], "Gb/s") for name, samples in found.rates.items()]
    if given.relayed:
        rows.append(Row(f"{RELAYED} ÷ direct", paired_ratio(found.rates[RELAYED], found.rates[SLEEVE])))
    return Result(NAME, rows, [
        Verdict("over_wireguard_go", paired_ratio(found.rates[SLEEVE], found.rates[WIREGUARD]), 2),
        Verdict("over_nebula", paired_ratio(found.rates[SLEEVE], found.rates[NEBULA]), 10),
        Verdict("over_raw", paired_ratio(found.rates[SLEEVE], found.rates[RAW]), 0.2),
    ], [found.note])
