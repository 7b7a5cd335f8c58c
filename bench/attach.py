"""What it costs to put a container on the network: in the kernel, in the router, and as a whole process.

Three nested figures: the datapath alone (cable, addresses, routes), the router's answer to `PUT /attachment` (with a
durable address, a name and the announcement to the mesh, over the unix socket), and a whole CNI ADD, from before the
fork to after the wait, by the script and by the C program. The peer of the last is a CNI ADD by Debian's `bridge` and
`host-local`, which do the same without a mesh, in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from bench import handmade
from bench.harness import REPOSITORY, CannotMeasure, need_root, run, scratch
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import interleaved, median, paired_ratio, percentile
from weave.lab import kernel
from weave.lab.lab import Lab, temporary
from weave.lab.names import namespace

NAME = "attach"
MEASURED = "one container attach inside the router; whole CNI ADD process ÷ Debian's bridge + host-local"
GOAL = "≤ 3 ms; ≤ 0.5"

LAB = "benchattach"
CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin")
PROCESS_DEADLINE_S = 30.0
MILLI = 1000
SCRIPT, PROGRAM, REFERENCE = "weave-net, script", "weave-net, C", "bridge + host-local"
SHIM = REPOSITORY / "weave" / "cni" / "weave-net"


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--containers", type=int, default=60, help="attached in a row inside datapath and router")
    parser.add_argument("--processes", type=int, default=15, help="whole processes of each kind")


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the bench and how to run a command there without an extra process."""

    namespace: str

    def seconds(self, words: Sequence[str], environment: dict[str, str], stdin: str = "") -> float:
        """Run a command on this host and return how long it took, from before the fork to after the wait."""
        from weave.net.namespace import run_there

        with (kernel.NETNS_DIR / self.namespace).open("rb") as where:
            took, done = run_there(where.fileno(), lambda: _timed_process(words, environment, stdin))
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-200:]
            raise CannotMeasure(f"`{' '.join(words)[:80]}`: {said or f'exit status {done.returncode}'}")
        return took


def measure(given: argparse.Namespace) -> Result:
    """Measure the three, from the inside out."""
    import trio

    need_root()
    plugins = _plugin_directory()
    with temporary(LAB) as lab, scratch(NAME) as place:
        lab.up(1)
        containers = [namespace(lab.name, "h1", f"c{number}") for number in range(given.containers)]
        for container in containers:
            kernel.add_namespace(container)
        inside = trio.run(_datapath, handmade.bare_host(lab.name, 2), containers)
        router = _router(lab, containers)
        sides = _processes(lab, Host(handmade.bare_host(lab.name, 3)), containers[0], plugins, place)
        processes = interleaved(sides, given.processes)
    return _result(inside, router, processes)


def _plugin_directory() -> Path:
    for directory in map(Path, CNI_DIRECTORIES):
        if (directory / "bridge").exists() and (directory / "host-local").exists():
            return directory
    raise CannotMeasure("the CNI plugins bridge and host-local are not installed "
                        "(Debian package containernetworking-plugins)")


# -- inside the router ---------------------------------------------------------------------------------------------


async def _datapath(host: str, containers: Sequence[str]) -> tuple[list[float], list[float]]:
    """Attach and detach all by the datapath; return the times of both."""
    from weave.names import parse_peer_name
    from weave.net import AttachRequest, Datapath, DatapathConfig

    attached, detached = [], []
    with (kernel.NETNS_DIR / host).open("rb") as where:
        config = DatapathConfig(peer=parse_peer_name("7a:00:00:00:00:01"))
        async with Datapath.open(config, netns=where.fileno()) as datapath:
            for number, container in enumerate(containers):
                request = AttachRequest(container, kernel.NETNS_DIR / container,
                                        (ip_interface(f"10.40.{number >> 8}.{number & 255}/12"),))
                began = time.perf_counter()
                await datapath.attach(request)
                attached.append(time.perf_counter() - began)
            for container in containers:
                began = time.perf_counter()
                await datapath.detach(container, request.interface)
                detached.append(time.perf_counter() - began)
    return attached, detached


def _router(lab: Lab, containers: Sequence[str]) -> tuple[list[float], list[float]]:
    """Attach and detach all by the control API of a running router; return the times of both."""
    client = lab.client("h1")

    def put(container: str) -> None:
        client.value("PUT", "attachment", container, body={
            "netns": str(kernel.NETNS_DIR / container), "fqdns": [f"{container.rpartition('.')[2]}.weave.local."]})

    def delete(container: str) -> None:
        client.value("DELETE", "attachment", container)

    put(containers[0])  # the first one also divides the range and gives the bridge its address
    delete(containers[0])
    return _each(put, containers), _each(delete, containers)


def _each(act: Callable[[str], None], containers: Sequence[str]) -> list[float]:
    times = []
    for container in containers:
        began = time.perf_counter()
        act(container)
        times.append(time.perf_counter() - began)
    return times


# -- whole processes -----------------------------------------------------------------------------------------------


def _processes(lab: Lab, other: Host, container: str, plugins: Path, place: Path) -> dict[str, Callable[[], float]]:
    """Return what adds a container by a process and returns how long that took; it is deleted again, untimed."""
    ours = Host(namespace(lab.name, "h1"))
    weave = json.dumps({"cniVersion": "1.0.0", "name": "bench", "type": "weave-net"})
    socket = {"WEAVE_SOCKET": str(lab.socket("h1"))}

    def sides(where: Host, program: Path, conf: str, more: dict[str, str]) -> Callable[[], float]:
        def add() -> float:
            took = where.seconds([str(program)], _cni_environment("ADD", container, plugins) | more, conf)
            where.seconds([str(program)], _cni_environment("DEL", container, plugins) | more, conf)
            return took
        return add

    return {
        SCRIPT: sides(ours, SHIM, weave, socket),
        PROGRAM: sides(ours, _compiled(place), weave, socket),
        REFERENCE: sides(other, plugins / "bridge", json.dumps(_configuration(place)), {}),
    }


def _compiled(place: Path) -> Path:
    program = place / "weave-net"
    done = subprocess.run([REPOSITORY / "scripts" / "cni-program.sh", program], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise CannotMeasure(done.stderr.strip()[-200:])
    return program


def _configuration(place: Path) -> dict[str, object]:
    return {"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": "cni0", "isGateway": True,
            "ipam": {"type": "host-local", "subnet": "10.77.0.0/16", "dataDir": str(place / "host-local"),
                     "routes": [{"dst": "0.0.0.0/0"}]}}


def _cni_environment(command: str, container: str, plugins: Path) -> dict[str, str]:
    return {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": str(kernel.NETNS_DIR / container),
            "CNI_IFNAME": "eth0", "CNI_PATH": str(plugins), "PATH": os.environ.get("PATH", "")}


def _timed_process(words: Sequence[str], environment: dict[str, str],
                   stdin: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    began = time.perf_counter()
    done = subprocess.run(words, env=environment, input=stdin, capture_output=True, text=True, check=False,
                          timeout=PROCESS_DEADLINE_S)
    return time.perf_counter() - began, done


# -- the result ----------------------------------------------------------------------------------------------------


def _result(inside: tuple[list[float], list[float]], router: tuple[list[float], list[float]],
            processes: dict[str, list[float]]) -> Result:
    rows = [
        *_rows("datapath attach", inside[0]),
        *_rows("datapath detach", inside[1]),
        *_rows("PUT /attachment, whole", router[0]),
        *_rows("DELETE /attachment, whole", router[1]),
        *(row for side, times in processes.items() for row in _rows(f"CNI ADD by {side}, process", times)),
    ]
    verdicts = [
        Verdict("datapath", median(inside[0]) * MILLI, 3, AT_MOST, "ms"),
        Verdict("router", median(router[0]) * MILLI, 3, AT_MOST, "ms"),
        *(Verdict(side, paired_ratio(processes[side], processes[REFERENCE]), 0.5, AT_MOST)
          for side in (SCRIPT, PROGRAM)),
    ]
    return Result(NAME, rows, verdicts, [])


def _rows(what: str, seconds: Sequence[float]) -> list[Row]:
    return [Row.of(what, [value * MILLI for value in seconds], "ms",
                   note=f"p99 {percentile(seconds, 99) * MILLI:.3g} ms")]
