"""Many real routers on this machine, started together: how soon they are one mesh, and what they cost.

Every router is a process in a lab host of its own. Its CPU is compared with that of as many processes that only
import the same modules, also started together, because sharing two cores makes every import dearer. Then the mesh is
left alone (idle CPU, memory), one router is killed, and another host is cut off without a word.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from bench import handmade
from bench.harness import need_root, run, scratch
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median
from bench.watching import converged_at, ready_at, wait, watched
from weave.errors import WeaveError
from weave.lab import kernel, probes
from weave.lab.lab import Lab
from weave.lab.names import SWITCH, host_name, namespace, underlay_mac
from weave.lab.state import load

NAME = "mesh-real"
MEASURED = ("routers on this machine, started together: last ready → all converged; CPU until then ÷ a process that "
            "only imports the same; idle CPU; memory; a killed and a silently cut peer noticed everywhere")
GOAL = "≤ 2 s (30 routers), ≤ 5 s (60); ≤ 1.5; ≤ 0.3% of a core; ≤ 60 MiB; ≤ 1 s, ≤ 10 s"

LAB = "benchmesh"
FEW = 30
CONVERGED_GOAL_S = {True: 2.0, False: 5.0}
"""By whether there are few."""
CONVERGED_DEADLINE_S = 90.0
NOTICED_DEADLINE_S = 60.0
SETTLE_S = 4.0
LOOK_S = 0.03
PASSWORD = "the-bench-tells-everybody"
CUT_TABLE = "benchcut"


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=int, default=FEW, help="how many routers")
    parser.add_argument("--password", action="store_true", help="let all have a password")
    parser.add_argument("--idle", type=float, default=8.0, help="seconds of rest")


@dataclass(frozen=True, slots=True)
class Start:
    """How the mesh came to be."""

    ready_s: float
    """From the first router's exec to the last one ready."""
    converged_s: float
    """From then on."""
    cpu_s: list[float]
    """Of each router, until then."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What routers use that have nothing to do."""

    cpu_percent: list[float]
    rss_mib: list[float]
    own_mib: list[float]


def measure(given: argparse.Namespace) -> Result:
    """Import together, start together, rest, kill, cut."""
    need_root()
    with watched(LAB) as lab, scratch(NAME) as place:
        imports = _import_together(lab, place, given.peers)
        options = ("--password", PASSWORD, "--trusted-subnets=198.51.100.0/24") if given.password else ()
        start = _start_together(lab, given.peers, options)
        rest = _rest(lab, given.idle)
        killed = _noticed(lab, host_name(2), lambda: lab.kill(host_name(2)))
        cut = _noticed(lab, host_name(3), lambda: _cut_off(lab, 3))
    return _result(given.peers, imports, start, rest, (killed, cut))


def _import_together(lab: Lab, place: Path, count: int) -> list[float]:
    """Return the CPU seconds of each of some processes, started together, that import what a router imports."""
    from bench.processes import all_ready, import_command, list_modules

    kernel.add_switch(namespace(lab.name, SWITCH))
    host = handmade.bare_host(lab.name, handmade.FIRST_NUMBER)
    modules = list_modules(host, place)
    with all_ready([import_command(modules)] * count, host) as processes:
        return [each.cpu_s for each in processes]


def _start_together(lab: Lab, count: int, options: Sequence[str]) -> Start:
    from bench.processes import cpu_seconds

    hosts = lab.up(count, options=options)
    wait(lambda: converged_at(lab, hosts) is not None, "not every router met every other", CONVERGED_DEADLINE_S)
    pids = _pids(lab)
    cpu = [cpu_seconds(pid) for pid in pids]
    ready = max(ready_at(lab.log_file(host)) or inf for host in hosts)
    for host in hosts:
        wait(lambda host=host: _is_converged(lab, host, count),  # type: ignore[misc]
             f"{host} does not see all of the {count} routers as it should", CONVERGED_DEADLINE_S)
    began = min(_began_at(pid) for pid in pids)
    return Start(ready - began, (converged_at(lab, hosts) or inf) - ready, cpu)


def _is_converged(lab: Lab, host: str, count: int) -> bool:
    """Say whether a router sees everybody, and is connected to everybody unless these are too many."""
    try:
        report = lab.client(host).report()
    except WeaveError:
        return False
    router = probes.section(report, "Router")
    reachable = sum(bool(peer.get("Reachable")) for peer in probes.rows(router, "Peers"))
    limit = router.get("ConnLimit")
    wanted = count - 1 if not isinstance(limit, int) or count - 1 <= limit else 1
    return reachable == count and len(probes.established(report)) >= wanted


def _began_at(pid: int) -> float:
    """Return when a process was started, in seconds since the epoch."""
    return Path(f"/proc/{pid}").stat().st_ctime


def _pids(lab: Lab) -> list[int]:
    routers = [host.router for host in load(lab.name).hosts.values()]
    return [router.pid for router in routers if router is not None and router.alive]


def _rest(lab: Lab, seconds: float) -> Rest:
    from bench.processes import cpu_seconds, usage

    time.sleep(SETTLE_S)
    pids = _pids(lab)
    began, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    time.sleep(seconds)
    used = [cpu_seconds(pid) - cpu for pid, cpu in zip(pids, before, strict=True)]
    took = time.monotonic() - began
    memory = [usage(pid) for pid in pids]
    return Rest([cpu / took * 100 for cpu in used], [each.rss_mib for each in memory],
                [each.own_mib for each in memory])


def _noticed(lab: Lab, lost: str, act: Callable[[], None]) -> float:
    """Return how many seconds pass until every other router knows that a peer cannot be reached."""
    others = [view.name for view in lab.hosts() if view.name != lost and view.router.startswith("running")]
    began = time.monotonic()
    act()
    for host in others:
        wait(lambda host=host: not _reaches(lab, host, lost),  # type: ignore[misc]
             f"{host} does not notice that {lost} is gone", NOTICED_DEADLINE_S, LOOK_S)
    return time.monotonic() - began


def _reaches(lab: Lab, host: str, lost: str) -> bool:
    router = probes.section(lab.client(host).report(), "Router")
    return any(peer.get("NickName") == lost and peer.get("Reachable") for peer in probes.rows(router, "Peers"))


def _cut_off(lab: Lab, number: int) -> None:
    """Let nothing pass from or to a host; its cable stays plugged in."""
    mac = underlay_mac(number)
    rules = (f"table bridge {CUT_TABLE} {{ chain cut {{ type filter hook forward priority 1; policy accept;\n"
             f"ether saddr {mac} drop\nether daddr {mac} drop\n}}\n}}\n")
    kernel.run("ip", "netns", "exec", namespace(lab.name, SWITCH), "nft", "-f", "-", stdin=rules)


def _result(peers: int, imports: list[float], start: Start, rest: Rest, noticed: tuple[float, float]) -> Result:
    killed, cut = noticed
    cpu = median(start.cpu_s) / median(imports)
    rows = [
        Row("routers", peers),
        Row("first exec → last one ready", start.ready_s, "s"),
        Row("last one ready → all converged", start.converged_s, "s"),
        Row.of("CPU until converged, each", start.cpu_s, "s", f"most {max(start.cpu_s):.2f} s"),
        Row.of("CPU of a process that only imports, each", imports, "s", "as many, started together"),
        Row.of("idle CPU, each", rest.cpu_percent, "% of a core", f"most {max(rest.cpu_percent):.2g}%"),
        Row.of("resident memory, each", rest.rss_mib, "MiB", f"most {max(rest.rss_mib):.3g} MiB"),
        Row.of("its own share of memory, each", rest.own_mib, "MiB"),
        Row("killed router noticed by all", killed, "s"),
        Row("silently cut host noticed by all", cut, "s"),
    ]
    verdicts = [
        Verdict("converged", start.converged_s, CONVERGED_GOAL_S[peers <= FEW], AT_MOST, "s"),
        Verdict("cpu", cpu, 1.5, AT_MOST),
        Verdict("idle", sum(rest.cpu_percent) / len(rest.cpu_percent), 0.3, AT_MOST, "%"),
        Verdict("memory", max(rest.rss_mib), 60, AT_MOST, "MiB"),
        Verdict("killed", killed, 1, AT_MOST, "s"),
        Verdict("cut", cut, 10, AT_MOST, "s"),
    ]
    return Result(NAME, rows, verdicts, ["all routers share this machine; looking at one costs it some milliseconds"])
