"""One underlay with everything on it that is compared: our sleeve and its rivals, pod to pod, and the bare underlay."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import handmade, rivals
from bench.harness import CannotMeasure, need_program, need_root, scratch
from bench.iperf import servers
from bench.processes import cpu_seconds
from weave.lab import kernel, probes
from weave.lab.lab import Lab, temporary
from weave.lab.names import namespace, underlay_address

SLEEVE, WIREGUARD, NEBULA, RAW = "sleeve", "wireguard-go", "nebula", "underlay, host to host"
RELAYED = "sleeve, through a third host"
OPTIONS = ("--password", "bench bench bench")
SETTLE_DEADLINE_S = 30.0
RELAY_DEADLINE_S = 60.0
RAW_NUMBER = 231


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that are compared."""

    name: str
    client: str
    server: str
    address: str
    pids: tuple[int, ...] = ()

    def cpu_seconds(self) -> float:
        """Return what its daemons have used so far, both ends together."""
        return sum(map(cpu_seconds, self.pids))


@dataclass(frozen=True, slots=True)
class Arena:
    """Everything that is compared."""

    lab: str
    sides: dict[str, Side]

    def hosts(self) -> list[str]:
        """Return the namespaces that hang on the underlay."""
        return [name for name in kernel.namespaces(namespace(self.lab, ""))
                if "eth0" in kernel.device_names(name) and ".p" not in name]


@contextmanager
def arena(name: str, *, with_nebula: bool = True, with_relayed: bool = False) -> Iterator[Arena]:
    """Build it, with an iperf3 server on every far end; everything goes when the block ends.

    Only if wanted there is a third host of ours, which the first reaches through the second alone.
    """
    need_root()
    need_program("iperf3", "iperf3")
    programs = rivals.obtain()
    with ExitStack() as stack:
        lab = stack.enter_context(temporary(name))
        place = stack.enter_context(scratch(name))
        lab.up(3 if with_relayed else 2, options=OPTIONS)
        lab.run("h1", "p1")
        address = lab.run("h2", "p2")[0].partition("/")[0]
        probes.wait_for(lambda: lab.execute("p1", "ping", "-c1", "-W1", address).returncode,
                        lambda status: status == 0, "no ping through the sleeve", SETTLE_DEADLINE_S)
        pids = tuple(_sleeve(namespace(lab.name, host)) for host in ("h1", "h2"))
        sides = {SLEEVE: Side(SLEEVE, namespace(lab.name, "h1", "p1"), namespace(lab.name, "h2", "p2"), address, pids)}
        if with_relayed:
            sides[RELAYED] = _relayed(lab)
        tunnel = stack.enter_context(rivals.wireguard(lab.name, programs["wireguard-go"]))
        sides[WIREGUARD] = Side(WIREGUARD, tunnel.client, tunnel.server, tunnel.address, tunnel.pids)
        if with_nebula:
            tunnel = stack.enter_context(rivals.nebula(lab.name, programs, place))
            sides[NEBULA] = Side(NEBULA, tunnel.client, tunnel.server, tunnel.address, tunnel.pids)
        ends = [handmade.bare_host(lab.name, RAW_NUMBER + index) for index in (0, 1)]
        sides[RAW] = Side(RAW, ends[0], ends[1], str(underlay_address(RAW_NUMBER + 1)))
        stack.enter_context(servers([side.server for side in sides.values()]))
        yield Arena(lab.name, sides)


def _relayed(lab: Lab) -> Side:
    """Cut the third host off from the first, and wait until the second passes everything on."""
    address = lab.run("h3", "p3")[0].partition("/")[0]
    lab.cut("h1", "h3")
    for here, there in (("h1", "h3"), ("h3", "h1")):
        probes.wait_for(lambda here=here: lab.report(here)["Links"],  # type: ignore[misc]
                        lambda links, there=there: ("via h2", there) in [  # type: ignore[misc]
                            (link["Address"], link["NickName"]) for link in links],
                        f"{here} does not reach {there} through h2", RELAY_DEADLINE_S)
    pids = tuple(_sleeve(namespace(lab.name, host)) for host in ("h1", "h2", "h3"))
    return Side(RELAYED, namespace(lab.name, "h1", "p1"), namespace(lab.name, "h3", "p3"), address, pids)


def round_trip_us(side: Side, count: int = 200) -> float:
    """Return the mean round trip of a ping, in microseconds."""
    done = subprocess.run(kernel.inside(side.client, "ping", "-q", "-i0.005", "-c", str(count), side.address),
                          capture_output=True, text=True, timeout=60.0, check=False)
    found = re.search(r"= [\d.]+/([\d.]+)/", done.stdout)
    if found is None:
        raise CannotMeasure(f"no ping from {side.client} to {side.address}")
    return float(found[1]) * 1000


def _sleeve(host: str) -> int:
    """Return the process of a host's sleeve."""
    for pid in kernel.pids_in(host):
        if b"weave.net.sleeve.main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise CannotMeasure(f"no sleeve runs on {host}")
