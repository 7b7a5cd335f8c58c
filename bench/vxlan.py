"""TCP pod to pod over two hosts with our router, beside the same over a bridge and a VXLAN device made by hand.

Both pairs of hosts hang on one underlay and take turns; MTU and offloads are the same. The underlay itself, host to
host, is shown for orientation: it is what no overlay can beat.
"""

import argparse
from collections.abc import Sequence

from bench import handmade
from bench.harness import CannotMeasure, need_program, need_root, run
from bench.iperf import Path, servers
from bench.report import Result, Row, Verdict
from bench.stats import interleaved, median
from weave.lab import probes
from weave.lab.lab import Lab, temporary
from weave.lab.names import namespace

NAME = "vxlan"
MEASURED = "TCP pod to pod over two hosts ÷ the same over a hand-made bridge + VXLAN"
GOAL = "≥ 0.95"

LAB = "benchvxlan"
OURS, HAND, UNDERLAY = "router, pod to pod", "hand-made, pod to pod", "underlay, host to host"
GIGA = 1e9
SETTLE_DEADLINE_S = 20.0
ORIENTATION_ROUNDS = 3


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15, help="times that every side is measured")
    parser.add_argument("--seconds", type=int, default=1, help="length of one stream")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of every side")


def measure(given: argparse.Namespace) -> Result:
    """Build both networks, let them take turns, compare."""
    need_root()
    need_program("iperf3", "iperf3")
    with temporary(LAB) as lab:
        lab.up(2)
        ours = attach_pods(lab, given.congestion)
        mtu = wait_for_mode(lab, ours, "vxlan")
        a, b = handmade.build(lab.name, mtu)
        hand = Path(a.namespace, b.address, given.congestion)
        below = Path(a.host, b.underlay, given.congestion)
        with servers([namespace(lab.name, "h2", "p2"), b.namespace, b.host]):
            for path in (ours, hand):
                path.bits_per_second(1)
            rates = interleaved({OURS: lambda: ours.bits_per_second(given.seconds),
                                 HAND: lambda: hand.bits_per_second(given.seconds)}, given.rounds)
            rates[UNDERLAY] = [below.bits_per_second(given.seconds) for _ in range(ORIENTATION_ROUNDS)]
    rows = [Row.of(name, [rate / GIGA for rate in samples], "Gb/s") for name, samples in rates.items()]
    quotients = [a / b for a, b in zip(rates[OURS], rates[HAND], strict=True)]
    rows.append(Row.of("router ÷ hand-made, round by round", quotients))
    rows.append(Row("MTU of both", mtu, "bytes"))
    return Result(NAME, rows, [Verdict("ratio", median(quotients), 0.95)],
                  [f"one stream of {given.seconds} s, {given.congestion}, {given.rounds} rounds in turns"])


def attach_pods(lab: Lab, congestion: str) -> Path:
    """Attach a pod on each of two hosts and return the path from the first to the second."""
    lab.run("h1", "p1")
    return Path(namespace(lab.name, "h1", "p1"), lab.run("h2", "p2")[0].partition("/")[0], congestion)


def wait_for_mode(lab: Lab, path: Path, mode: str, deadline_s: float = SETTLE_DEADLINE_S) -> int:
    """Wait until large packets travel from pod to pod in this mode; return the MTU."""
    report = probes.wait_for(lambda: probes.report(lab, "h1"),
                             lambda seen: any(link.get("Mode") == mode for link in probes.rows(seen, "Links")),
                             f"no link of mode {mode} between the hosts", deadline_s)
    mtu = probes.section(report, "Bridge").get("MTU")
    if not isinstance(mtu, int):
        raise CannotMeasure("the router does not say the MTU of its bridge")
    ping = ("ping", "-c1", "-W1", "-s", str(mtu - 28), "-Mdo", path.address)
    probes.wait_for(lambda: lab.execute("p1", *ping).returncode, lambda status: status == 0,
                    f"no ping of {mtu} bytes from {path.client} to {path.address}", deadline_s)
    return mtu


