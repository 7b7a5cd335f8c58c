"""Small packets through the sleeve, beside wireguard-go and nebula: 64-byte UDP datagrams that arrive, and pings."""

import argparse
import json
import subprocess
from collections.abc import Sequence

from bench.arena import NEBULA, RAW, SLEEVE, WIREGUARD, Side, arena, round_trip_us
from bench.harness import CannotMeasure, run
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median, paired_ratio, turns
from weave.lab import kernel

NAME = "sleeve-small"
MEASURED = "64-byte packets/s that arrive, and ping, pod to pod, encrypted ÷ the better of wireguard-go and nebula"
GOAL = "≥ 1; ≤ 1"

LAB = "benchsmall"
SIZE_BYTES = 64


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="times that every side is measured")
    parser.add_argument("--seconds", type=int, default=2, help="length of one stream")


def measure(given: argparse.Namespace) -> Result:
    """Let all sides take turns; compare."""
    rates: dict[str, list[float]] = {}
    pings: dict[str, list[float]] = {}
    with arena(LAB) as there:
        for name in turns(list(there.sides), given.rounds):
            rates.setdefault(name, []).append(_packets_per_second(there.sides[name], given.seconds))
            pings.setdefault(name, []).append(round_trip_us(there.sides[name]))
    rows = [Row.of(f"{name}, arriving", [rate / 1000 for rate in samples], "kpps") for name, samples in rates.items()]
    rows += [Row.of(f"{name}, round trip", samples, "µs") for name, samples in pings.items()]
    faster = max((WIREGUARD, NEBULA), key=lambda name: median(rates[name]))
    nearer = min((WIREGUARD, NEBULA), key=lambda name: median(pings[name]))
    return Result(NAME, rows, [
        Verdict("packets_over_better", paired_ratio(rates[SLEEVE], rates[faster]), 1),
        Verdict("ping_over_better", paired_ratio(pings[SLEEVE], pings[nearer]), 1, AT_MOST),
    ], [f"{SIZE_BYTES}-byte datagrams for {given.seconds} s, {given.rounds} rounds in turns, all pod to pod; "
        f"{RAW} is shown for orientation"])


def _packets_per_second(side: Side, seconds: int) -> float:
    """Send as many small datagrams as the sender can, and return how many arrived each second."""
    words = ["iperf3", "-J", "-u", "-b0", "-l", str(SIZE_BYTES), "-c", side.address, "-t", str(seconds)]
    done = subprocess.run(kernel.inside(side.client, *words), capture_output=True, text=True, timeout=seconds + 30,
                          check=False)
    try:
        end = json.loads(done.stdout)["end"]["sum"]
        return float(end["packets"] - end["lost_packets"]) / float(end["seconds"])
    except (ValueError, KeyError) as exc:
        raise CannotMeasure(f"iperf3 -u from {side.client}: {(done.stderr or done.stdout).strip()[-200:]}") from exc
