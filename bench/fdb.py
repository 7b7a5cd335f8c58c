"""How long it takes to tell the kernel of many containers on other hosts, all at once.

A datapath of ours in a namespace learns the endpoints of a whole mesh (three kernel entries each, made and taken away
again), with the other hosts already known. Beside it, for orientation, `bridge -batch` and `ip -batch` make the same
entries on a bridge and a VXLAN device made by hand.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_interface
from typing import TYPE_CHECKING

from bench import handmade
from bench.harness import CannotMeasure, need_root, run
from bench.report import AT_MOST, Result, Row, Verdict
from bench.stats import median
from weave.lab import kernel
from weave.lab.lab import temporary
from weave.lab.names import UNDERLAY

if TYPE_CHECKING:
    from weave.names import PeerName
    from weave.net import Datapath, Endpoint

NAME = "fdb"
MEASURED = "1,000 remote endpoints programmed"
GOAL = "≤ 20 ms"

LAB = "benchfdb"
PEERS = 50
VXLAN = "vxlan-6784"


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endpoints", type=int, default=1000, help="how many")
    parser.add_argument("--rounds", type=int, default=15, help="times that all are made and removed")


def measure(given: argparse.Namespace) -> Result:
    """Program and clear in turns."""
    import trio

    need_root()
    with temporary(LAB) as lab:
        _, theirs = handmade.build(lab.name, 1450)
        samples = trio.run(_measure, handmade.bare_host(lab.name, 1), theirs.host, given.endpoints, given.rounds)
    rows = [Row.of(what, [value * 1000 for value in values], "ms") for what, values in samples.items()]
    programmed = median(samples["all made"]) * 1000
    return Result(NAME, rows, [Verdict("programmed", programmed, 20, AT_MOST, "ms")],
                  [f"{given.endpoints} endpoints behind {PEERS} hosts, three kernel entries each"])


async def _measure(ours: str, theirs: str, count: int, rounds: int) -> dict[str, list[float]]:
    from weave.names import parse_peer_name
    from weave.net import Datapath, DatapathConfig, Remote

    samples: dict[str, list[float]] = {}
    remotes = [Remote(_peer(number), _vtep(number)) for number in range(PEERS)]
    with (kernel.NETNS_DIR / ours).open("rb") as where:
        config = DatapathConfig(peer=parse_peer_name("7a:00:00:00:00:01"))
        async with Datapath.open(config, netns=where.fileno()) as datapath:
            await datapath.set_remotes(remotes)
            for number in range(rounds):
                endpoints = _endpoints(count, number)
                _note(samples, "all made", await _timed(datapath, endpoints))
                _check(ours, count)
                _note(samples, "nothing new", await _timed(datapath, endpoints))
                _note(samples, "one moved to another host", await _timed(datapath, _moved(endpoints)))
                _note(samples, "all removed", await _timed(datapath, []))
                _note(samples, "bridge -batch and ip -batch, the same entries", _by_batch(theirs, endpoints))
    return samples


async def _timed(datapath: Datapath, endpoints: Sequence[Endpoint]) -> float:
    began = time.perf_counter()
    await datapath.set_endpoints(endpoints)
    return time.perf_counter() - began


def _note(samples: dict[str, list[float]], what: str, value: float) -> None:
    samples.setdefault(what, []).append(value)


def _peer(number: int) -> PeerName:
    from weave.names import parse_peer_name

    return parse_peer_name(f"7a:00:00:00:01:{number:02x}")


def _vtep(number: int) -> IPv4Address:
    return UNDERLAY.network_address + 1 + number


def _endpoints(count: int, generation: int) -> list[Endpoint]:
    from weave.net import Endpoint

    return [Endpoint(
        mac=f"02:{generation:02x}:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
        addresses=(ip_interface(f"10.32.{1 + (number >> 8)}.{number & 255}/12"),), container=f"c{number}",
        interface="ethwe", peer=_peer(number % PEERS),
    ) for number in range(count)]


def _moved(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return [replace(endpoints[0], peer=endpoints[1].peer), *endpoints[1:]]


def _check(namespace: str, count: int) -> None:
    """Make sure that what was timed was done."""
    made = kernel.run("bridge", "-n", namespace, "fdb", "show", "dev", VXLAN).count(" dst ") - PEERS
    known = kernel.run("ip", "-n", namespace, "neigh", "show", "dev", "weave").count("lladdr")
    if made < count or known < count:
        raise CannotMeasure(f"of {count} endpoints the kernel has {made} forwarding entries and {known} neighbours")


def _by_batch(namespace: str, endpoints: Sequence[Endpoint]) -> float:
    """Make the entries by the tools' batch mode; return how long both took."""
    vteps: dict[PeerName | None, IPv4Address] = {_peer(number): _vtep(number) for number in range(PEERS)}
    forwarding = "".join(
        f"fdb replace {item.mac} dev vx0 dst {vteps[item.peer]} self permanent\n"
        f"fdb replace {item.mac} dev vx0 master static\n" for item in endpoints)
    neighbours = "".join(f"neigh replace {item.addresses[0].ip} lladdr {item.mac} dev br0 nud permanent\n"
                         for item in endpoints)
    began = time.perf_counter()
    for tool, batch in (("bridge", forwarding), ("ip", neighbours)):
        done = subprocess.run([tool, "-n", namespace, "-batch", "-"], input=batch, capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise CannotMeasure(f"`{tool} -batch`: {done.stderr.strip()[:200]}")
    return time.perf_counter() - began
