"""Containers come and go by the hundred, others by the thousand are heard of, and nothing is left of them.

    .venv/bin/python -m tests.lab.soak --cycles 2000 --endpoints 5000

h1 attaches and detaches; on h3 sits a crowd (`crowd`) that announces interfaces, which h1 and h2 program and forget
again. What both have is looked at before and afterwards: devices, forwarding entries, neighbours, groups, nftables,
addresses in use, gossip, rows of the state file, open files, threads, and memory.
"""

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.lab.world import Box, World, world
from weave.errors import EnvironmentFailure
from weave.lab import kernel
from weave.lab.names import namespace, underlay_address

HOSTS = ("h1", "h2")
BOXES = 8
"""Containers that are attached and detached, again and again."""
WARM_UP_CYCLES = 40
"""Before the first look: caches fill, pools open what they keep."""
LEFT_S = 60.0
"""Thousands of interfaces are let go of one by one."""
MEMORY_KIB = 6 * 1024
"""By how much a router may have grown: the allocator keeps what it got, and freed addresses rest for a while."""
MAX_TOMBSTONES = 64
"""Of each peer in each channel, of what is gone from it."""

COUNTED = ("files", "threads")
Look = Mapping[str, object]


def soak(cycles: int, endpoints: int) -> None:
    """Do it all and raise `AssertionError` for whatever is left."""
    with world("soak", 3, ()) as net, ExitStack() as stack:
        net.lab.kill("h3", signal.SIGTERM)
        toggle = stack.enter_context(crowd(net, endpoints))
        boxes = [stack.enter_context(net.box("h1", f"b{number}")) for number in range(BOXES)]
        turn(net, boxes, WARM_UP_CYCLES)
        toggle()
        toggle()
        known(net, 0)
        before, memory = settled(net), {host: resident(net, host) for host in HOSTS}
        toggle()
        known(net, endpoints)
        turn(net, boxes, cycles)
        toggle()
        known(net, 0)
        for host in HOSTS:
            cleared(net, host, before[host])
            grown = resident(net, host) - memory[host]
            print(f"{host}: {cycles} cycles, {endpoints} endpoints: {grown:+} KiB")
            assert grown < MEMORY_KIB, f"{host} has grown by {grown} KiB"


@contextmanager
def crowd(net: World, endpoints: int) -> Iterator[Callable[[], None]]:
    """Have a crowd on h3 that comes when the result is called, goes when it is called again, and so on."""
    words = kernel.inside(namespace(net.lab.name, "h3"), sys.executable, "-m", "tests.lab.crowd",
                          str(underlay_address(3)), str(underlay_address(1)), str(endpoints))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def toggle() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            assert process.stdout.readline() in ("here\n", "gone\n")

        try:
            assert process.stdout.readline() == "joined\n"
            for host in HOSTS:
                net.wait(host, lambda seen: any(row["NickName"] == "crowd" and row["Mode"] == "vxlan"
                                                for row in seen["Links"]), "does not see the crowd")
            yield toggle
        finally:
            process.kill()


def cleared(net: World, host: str, before: Look) -> None:
    """Wait until a host has what it had before, and nothing else."""
    left: dict[str, tuple[object, object]] = {}

    def compare() -> bool:
        nonlocal left
        left = different(before, look(net, host))
        return not left
    try:
        net.until(compare, bool, "something is left", LEFT_S)
    except EnvironmentFailure as exc:
        raise AssertionError(f"{host}: {exc}; before and after: {left}") from exc


def turn(net: World, boxes: list[Box], cycles: int) -> None:
    """Attach and detach."""
    for number in range(cycles):
        box = boxes[number % len(boxes)]
        net.attach("h1", box)
        net.lab.client("h1").call("DELETE", "attachment", box.netns)


def known(net: World, endpoints: int) -> None:
    """Wait until both hosts have programmed that many interfaces of the crowd."""
    for host in HOSTS:
        net.until(lambda host=host: net.inside(host, "bridge", "fdb", "show", "dev", "vxlan-6784").count(  # type: ignore[misc]
            " dst 198.51.100.3 "), lambda seen: seen == endpoints + 1, f"{host} does not have them all", LEFT_S)


def settled(net: World) -> dict[str, Look]:
    """Return what both hosts have, once it does not change any more."""
    seen: list[dict[str, Look]] = [{}]

    def again() -> bool:
        seen.append({host: look(net, host) for host in HOSTS})
        return seen[-1] == seen[-2]
    net.until(again, bool, "the hosts do not come to rest", LEFT_S)
    return seen[-1]


def different(before: Look, after: Look) -> dict[str, tuple[object, object]]:
    """Return what is not as it was; of what is only counted, what is more: idle threads and connections come and go."""
    return {name: (was, after[name]) for name, was in before.items()
            if after[name] != was and not (name in COUNTED and after[name] < was)}  # type: ignore[operator]


def look(net: World, host: str) -> Look:
    """Return what there is of ours on a host."""
    report, pid = net.report(host), net.pid(host)
    forwarding = net.inside(host, "bridge", "fdb", "show").splitlines()
    groups = net.inside(host, "bridge", "mdb", "show").splitlines()
    return {
        "devices": sorted(kernel.device_names(namespace(net.lab.name, host))),
        "forwarding": sorted(line for line in forwarding if "extern_learn" in line or " dst " in line),
        "neighbours": sorted(net.inside(host, "ip", "neigh", "show", "nud", "permanent").splitlines()),
        "groups": sorted(line for line in groups if " port veth" in line),
        "nftables": sorted(net.inside(host, "nft", "-s", "list", "ruleset").split()),
        "addresses": (report["IPAM"]["ActiveIPs"], report["IPAM"]["PendingAllocates"]),
        "names": len(report["DNS"]["Entries"]),
        "endpoints": sorted(row["MAC"] for row in report["Endpoints"]),
        "gossip": not any(count > 2 * MAX_TOMBSTONES for count in gossip(net, host).values()),
        "rows": rows(net.state(host) / "weave.db"),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
    }


def gossip(net: World, host: str) -> dict[str, float]:
    """Return how many entries of each channel a router holds, but of the ring, which may be cut into more blocks."""
    text = net.python(host, GET)
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("weave_gossip_entries{"))
    return {name: float(count) for name, count in found.items() if '"ipam"' not in name}


def rows(database: Path) -> dict[str, int]:
    """Return how many rows a state file has of what belongs to containers, by table."""
    with tempfile.TemporaryDirectory() as name:
        for file in database.parent.glob(database.name + "*"):
            shutil.copy(file, name)
        with closing(sqlite3.connect(Path(name) / database.name)) as connection:
            try:
                found = Counter(dict(connection.execute("SELECT tab, count(*) FROM entry GROUP BY tab")))
            except sqlite3.DatabaseError:  # copied in the middle of a write
                return {}
    return {table: found[table] for table in ("router.containers", "router.names", "router.leases", "ipam.used")}


def resident(net: World, host: str) -> int:
    """Return the memory of a router, in KiB."""
    status = Path(f"/proc/{net.pid(host)}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


GET = """
import urllib.request
with urllib.request.urlopen("http://127.0.0.1:6782/metrics", timeout=10) as answer:
    print(answer.read().decode())
"""


def main() -> int:
    """Soak for as long as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=2000, help="how often a container is attached and detached")
    parser.add_argument("--endpoints", type=int, default=5000, help="interfaces of the crowd")
    given = parser.parse_args()
    soak(given.cycles, given.endpoints)
    return 0


if __name__ == "__main__":
    sys.exit(main())
