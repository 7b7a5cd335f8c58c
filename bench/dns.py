"""Queries per second for a local A record, our name server beside dnsmasq and unbound, each with one thread.

All three know the same 1,000 names and listen on the loopback interface; dnsperf asks them in turns, with 100
queries outstanding from 4 sockets. What a reply costs in processor time, and how long a lonely query takes, is shown
too.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from bench.harness import REPOSITORY, CannotMeasure, need_program, run, scratch
from bench.report import Result, Row, Verdict
from bench.stats import interleaved, paired_ratio

NAME = "dns"
MEASURED = "queries/s for a local A record ÷ dnsmasq; ÷ unbound (one thread each)"
GOAL = "≥ 0.5"

HOST = "127.0.0.1"
PORTS = {"weave": 15353, "dnsmasq": 15354, "unbound": 15355}
NAMES = {f"h{number}.weave.local": f"10.32.{number // 250}.{number % 250 + 1}" for number in range(1000)}
READY_DEADLINE_S = 15.0
END_DEADLINE_S = 5.0
SLACK_S = 15.0
MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """What dnsperf saw of one server in one round."""

    rate: float
    cpu_us: float
    """Processor time of the server for each query."""
    lonely_us: float
    """How long a query takes when it is the only one."""


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="times that every server is asked")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one round of one server")


def measure(given: argparse.Namespace) -> Result:
    """Start the servers, let dnsperf ask them in turns, compare."""
    need_program("dnsperf", "dnsperf")
    with scratch(NAME, "/run") as place, ExitStack() as stack:
        queries = place / "queries"
        queries.write_text("".join(f"{name} A\n" for name in NAMES))
        sides: dict[str, Callable[[], Sample]] = {}
        for name, command in _commands(place).items():
            process = stack.enter_context(_server(name, command))
            sides[name] = lambda name=name, pid=process.pid: _ask(  # type: ignore[misc]
                PORTS[name], pid, queries, given.seconds)
            _perf(PORTS[name], queries, 0.3)
        samples = interleaved(sides, given.rounds)
    rows, verdicts = [], []
    for name, taken in samples.items():
        rows.append(Row.of(name, [sample.rate for sample in taken], "queries/s"))
        rows.append(Row.of(f"{name}, processor", [sample.cpu_us for sample in taken], "µs/query"))
        rows.append(Row.of(f"{name}, one query at a time", [sample.lonely_us for sample in taken], "µs"))
    ours = [sample.rate for sample in samples["weave"]]
    for name, label in (("dnsmasq", "ratio"), ("unbound", "ratio-unbound")):
        if name in samples:
            verdicts.append(Verdict(label, paired_ratio(ours, [sample.rate for sample in samples[name]]), 0.5))
    return Result(NAME, rows, verdicts, [f"{given.rounds} rounds of {given.seconds:g} s in turns"])


def _commands(place: Path) -> dict[str, list[str]]:
    hosts = place / "hosts"
    hosts.write_text("".join(f"{address} {name}\n" for name, address in NAMES.items()))
    unbound = place / "unbound.conf"
    unbound.write_text(_unbound_conf(place))
    commands = {
        "weave": [sys.executable, "-c", "from bench.dns import serve; serve()"],
        "dnsmasq": [need_program("dnsmasq", "dnsmasq-base"), "--keep-in-foreground", "--conf-file=/dev/null",
                    "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", f"--port={PORTS['dnsmasq']}",
                    f"--listen-address={HOST}", "--bind-interfaces", "--local=/weave.local/", "--pid-file=",
                    "--user=root", "--log-facility=/dev/null"],
    }
    try:
        commands["unbound"] = [need_program("unbound", "unbound"), "-d", "-c", str(unbound)]
    except CannotMeasure as exc:
        print(f"without unbound: {exc}", file=sys.stderr)
    return commands


def _unbound_conf(place: Path) -> str:
    options = [
        f"interface: {HOST}@{PORTS['unbound']}", "num-threads: 1", "do-daemonize: no", "use-syslog: no",
        'username: ""', 'chroot: ""', 'pidfile: ""', f'directory: "{place}"', f'logfile: "{place}/unbound.log"',
        "access-control: 127.0.0.0/8 allow", 'local-zone: "weave.local." static',
        *(f'local-data: "{name}. 1 IN A {address}"' for name, address in NAMES.items()),
    ]
    return "server:\n" + "".join(f"  {option}\n" for option in options) + "remote-control:\n  control-enable: no\n"


@contextmanager
def _server(name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run one server while the block runs, once it answers."""
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL)
    try:
        _wait_answering(name, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_answering(name: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_DEADLINE_S
    first = next(iter(NAMES))
    dig = [need_program("dig", "bind9-dnsutils"), f"@{HOST}", "-p", str(PORTS[name]), "+short", "+tries=1", "+time=1"]
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CannotMeasure(f"{name} ended at once with status {process.returncode}")
        said = subprocess.run([*dig, first], capture_output=True, text=True, check=False)
        if said.stdout.strip() == NAMES[first]:
            return
        time.sleep(0.05)
    raise CannotMeasure(f"{name} does not answer on port {PORTS[name]}")


def _ask(port: int, pid: int, queries: Path, seconds: float) -> Sample:
    before = _cpu_seconds(pid)
    said = _perf(port, queries, seconds)
    spent = _cpu_seconds(pid) - before
    lonely = _perf(port, queries, min(0.3, seconds), "-q", "1", "-c", "1")
    return Sample(said["rate"], spent / said["count"] * MICRO, lonely["latency"] * MICRO)


def _perf(port: int, queries: Path, seconds: float, *options: str) -> dict[str, float]:
    """Let dnsperf ask for some seconds; return what it says."""
    command = ["dnsperf", "-s", HOST, "-p", str(port), "-d", str(queries), "-l", f"{seconds:g}", "-T", "1",
               *(options or ("-c", "4", "-q", "100"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + SLACK_S)
    patterns = {"rate": r"Queries per second:\s+([\d.]+)", "count": r"Queries completed:\s+(\d+)",
                "latency": r"Average Latency \(s\):\s+([\d.]+)", "good": r"Response codes:\s+NOERROR (\d+)"}
    found = {name: re.search(pattern, done.stdout) for name, pattern in patterns.items()}
    said = {name: float(match[1]) for name, match in found.items() if match is not None}
    if said.keys() != patterns.keys() or said["good"] != said["count"]:
        raise CannotMeasure(f"dnsperf at port {port}: {done.stderr.strip() or done.stdout.strip()[-400:]}")
    return said


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve() -> None:
    """Be our side: a server that knows the names, until terminated."""
    import trio

    from weave.dns import Catalogue, DnsConfig, DnsServer
    from weave.names import PeerName

    me = PeerName("7a:00:00:00:00:01")
    catalogue = Catalogue(me=me, ranges=[ip_network("10.32.0.0/12")])
    catalogue.entries_changed(
        [(me, *catalogue.add(name, name, ip_address(address))) for name, address in NAMES.items()])
    server = DnsServer(catalogue, DnsConfig(port=PORTS["weave"], resolv_conf=Path("/dev/null")))
    server.listen([ip_address(HOST)])
    trio.run(server.run)
