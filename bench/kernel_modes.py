"""TCP pod to pod by the encrypted modes of the kernel, beside the same made by hand under the same kernel.

Where this kernel lacks WireGuard or ESP it runs in the virtual machine of `tests.vm`: an emulated processor, on which
absolute figures say nothing, and ratios what they always do.
"""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Sequence

from bench import handmade, handmade_sealed
from bench.harness import CannotMeasure, need_program, need_root, run
from bench.iperf import Path, servers
from bench.report import Result, Row, Verdict
from bench.stats import interleaved, median
from bench.vxlan import attach_pods, wait_for_mode
from weave.lab import kernel
from weave.lab.lab import temporary
from weave.lab.names import namespace
from weave.net.crypt.capability import probe_kernel

NAME = "kernel-modes"
MEASURED = "TCP pod to pod by vxlan+wireguard, vxlan+ipsec ÷ the same by a hand-made VXLAN over WireGuard, in ESP"
GOAL = "≥ 0.95 each"

LAB = "benchmodes"
PASSWORD = ("--password", "bench bench bench")
BOUND = 0.95
SETTLE_DEADLINE_S = 400.0
"""For an emulated router; others take a few seconds."""
MACHINE_DEADLINE_S = 1800.0
BLOCK = "add table inet block; add chain inet block in { type filter hook input priority -300; }; " \
        "add rule inet block in udp dport 6785 drop"
MODES = (("wireguard", handmade_sealed.wireguard, 202), ("ipsec", handmade_sealed.esp, 204))
MEGA = 1e6
INSIDE = """
{python} -c 'from tests.vm.network import relax
relax()
from bench.kernel_modes import main
main({argv})'
"""


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=9, help="times that every side is measured")
    parser.add_argument("--seconds", type=int, default=2, help="length of one stream")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of every side")


def measure(given: argparse.Namespace) -> Result:
    """Measure under this kernel, or in the virtual machine."""
    need_root()
    need_program("iperf3", "iperf3")
    able = probe_kernel()
    lack = able.wireguard or able.esp4
    return _compare_inside(given, lack) if lack else _compare(given)


def _compare(given: argparse.Namespace) -> Result:
    """Build all networks, let the two of each mode take turns, compare."""
    how = f"one stream of {given.seconds} s, {given.congestion}, {given.rounds} rounds in turns"
    result = Result(NAME, notes=[how, f"kernel {platform.release()}"])
    with temporary(LAB) as lab:
        lab.up(2, options=PASSWORD)
        ours = attach_pods(lab, given.congestion)
        for label, below, first in MODES:
            if label == "ipsec":
                for host in ("h1", "h2"):
                    kernel.run(*kernel.inside(namespace(lab.name, host), "nft", BLOCK))
            mtu = wait_for_mode(lab, ours, f"vxlan+{label}", SETTLE_DEADLINE_S)
            a, b = handmade.build(lab.name, mtu, first=first, below=below)
            with servers([namespace(lab.name, "h2", "p2"), b.namespace]):
                _take_turns(result, label, ours, Path(a.namespace, b.address, given.congestion), given)
    return result


def _take_turns(result: Result, label: str, ours: Path, theirs: Path, given: argparse.Namespace) -> None:
    """Measure one mode and add what was found."""
    sides = {f"router, vxlan+{label}": ours, f"hand-made, {label}": theirs}
    for path in sides.values():
        path.bits_per_second(1)
    rates = interleaved({name: (lambda path=path: path.bits_per_second(given.seconds))  # type: ignore[misc]
                         for name, path in sides.items()}, given.rounds)
    quotients = [a / b for a, b in zip(*rates.values(), strict=True)]
    result.rows += [Row.of(name, [rate / MEGA for rate in samples], "Mb/s") for name, samples in rates.items()]
    result.rows.append(Row.of(f"{label}: router ÷ hand-made, round by round", quotients))
    result.verdicts.append(Verdict(label, median(quotients), BOUND))


def _compare_inside(given: argparse.Namespace, lack: str) -> Result:
    """Run this bench in the virtual machine and return what it found there."""
    from tests.vm import machine
    bed = machine.testbed()
    if bed is None:
        raise CannotMeasure(f"{lack}; and there is no virtual machine: set TESTBED_VM to the directory of its run.sh")
    argv = ["--json", f"--rounds={given.rounds}", f"--seconds={given.seconds}", f"--congestion={given.congestion}"]
    commands = INSIDE.format(python=shlex.quote(sys.executable), argv=json.dumps(argv))
    lines = [line.rstrip() for line in machine.run(bed, commands, MACHINE_DEADLINE_S)]
    if "{" not in lines or "}" not in lines:
        said = [line for line in lines if line and not line.startswith(machine.STATUS)]
        raise CannotMeasure(f"in the virtual machine: {said[-1] if said else 'it said nothing'}")
    found = json.loads("\n".join(lines[lines.index("{"):lines.index("}") + 1]))
    return Result(NAME, [Row(**row) for row in found["rows"]],
                  [Verdict(item["label"], item["value"], BOUND) for item in found["verdicts"]],
                  [*found["notes"], f"in an emulator, for here {lack}"])
