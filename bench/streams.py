"""One TCP stream at a time through each side of an arena, in turns: what arrives, and what the daemons use for it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.arena import RELAYED, Side, arena
from bench.iperf import Path
from bench.stats import turns

GIGA = 1e9


@dataclass(slots=True)
class Streams:
    """What was measured, by side, one sample a round."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """Bits per second that arrived."""
    costs: dict[str, list[float]] = field(default_factory=dict)
    """CPU seconds of the daemons, both ends together, for each GB."""
    note: str = ""


def options(parser: argparse.ArgumentParser) -> None:
    """Add what both benches of streams may be told."""
    parser.add_argument("--rounds", type=int, default=5, help="times that every side is measured")
    parser.add_argument("--seconds", type=int, default=2, help="length of one stream")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of every side")


def measure(given: argparse.Namespace, lab: str, names: Sequence[str]) -> Streams:
    """Let these sides take turns."""
    found = Streams(note=f"one stream of {given.seconds} s, {given.congestion}, {given.rounds} rounds in turns, pod to "
                         "pod, the bare underlay host to host")
    with arena(lab, with_relayed=RELAYED in names) as there:
        for name in names:
            Path(there.sides[name].client, there.sides[name].address, given.congestion).bits_per_second(1)
        for name in turns(names, given.rounds):
            rate, cost = _stream(there.sides[name], given.seconds, given.congestion)
            found.rates.setdefault(name, []).append(rate)
            found.costs.setdefault(name, []).append(cost)
    return found


def _stream(side: Side, seconds: int, congestion: str) -> tuple[float, float]:
    before = side.cpu_seconds()
    rate = Path(side.client, side.address, congestion).bits_per_second(seconds)
    return rate, (side.cpu_seconds() - before) / (rate * seconds / 8 / GIGA)
