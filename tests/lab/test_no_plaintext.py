"""With a password nothing of containers is readable on the underlay, from before the routers start, whatever happens.

One capture at the switch sees all that any host sends. Meanwhile c1 broadcasts and pings without a pause.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.test_sleeve import sleeve_pid, sleeved
from tests.lab.world import LAB, SECRET, World, fresh, names_of
from weave.lab import kernel, probes
from weave.lab.names import SWITCH, namespace

pytestmark = LAB

MARK = "nothing of this may ever be read on the wire"
SHOUT = f"""
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
while True:
    for target in ("10.47.255.255", "239.1.2.3", *sys.argv[1:]):
        s.sendto({MARK!r}.encode(), (target, 5555))
    time.sleep(0.01)
"""
ARP = rb"\x08\x06\x00\x01\x08\x00\x06\x04\x00.{7}\x0a"
"""A question or answer about an address of a container."""


@contextmanager
def wire(world: World, path: Path) -> Iterator[None]:
    """Write all that passes the switch to a file while the block runs."""
    words = kernel.inside(namespace(world.lab.name, SWITCH), "tcpdump", "-i", "any", "--immediate-mode", "-U", "-s0",
                          "-Z", "root", "-w", str(path))
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while "listening on" not in process.stderr.readline():
                assert process.poll() is None, "tcpdump did not start"
            yield
        finally:
            process.terminate()
            process.wait(timeout=10)


def packets(path: Path, expression: str) -> int:
    """Return how many packets of a capture match."""
    done = subprocess.run(["tcpdump", "-nr", str(path), "--count", expression], capture_output=True, text=True,
                          check=True, timeout=60)
    return int(done.stdout.split()[0])


@pytest.fixture
def net() -> Iterator[World]:
    """One host with a container; the others come later."""
    with fresh("plaintext") as made:
        made.lab.up(1, options=(*SECRET, "--ipalloc-init=consensus=1"))
        made.container("h1", "c1")
        yield made


def test_nothing_is_readable_from_the_start_and_while_everything_changes(net: World, tmp_path: Path) -> None:
    path = tmp_path / "wire.pcap"
    with wire(net, path), probes.background(net.lab, "c1", sys.executable, "-ISc", SHOUT):
        net.lab.up(3, options=SECRET)
        net.connected("h1", "h2", "h3")
        sleeved(net, "h1", "h2", "h3")
        net.container("h2", "c2")
        there = names_of(net.report("h2"))["c2"]
        with probes.background(net.lab, "c1", sys.executable, "-ISc", SHOUT, there):
            net.until(lambda: net.reaches("c1", there), bool, "c2 is not reached")
            # the sleeve dies, the router dies, trust comes on one side only, the forwarding entries are flushed
            os.kill(sleeve_pid(net, "h1"), signal.SIGKILL)
            sleeved(net, "h1", "h2", "h3")
            for number, options in ((signal.SIGKILL, SECRET), (signal.SIGTERM, (*SECRET,
                                                                               "--trusted-subnets=198.51.100.0/24"))):
                net.lab.kill("h1", number)
                net.lab.start("h1", options=options)
                net.connected("h1", "h2", "h3")
                sleeved(net, "h1", "h2", "h3")
            net.inside("h1", "ip", "link", "delete", "weave-sleeve")
            net.inside("h1", "nft", "flush", "ruleset")
            net.until(lambda: net.reaches("c1", there), bool, "c2 is not reached again")
            sleeved(net, "h1", "h2", "h3")
    data = path.read_bytes()
    assert MARK.encode() not in data
    assert not re.search(ARP, data, re.DOTALL)
    assert packets(path, "udp port 6784") == 0
    assert packets(path, "udp port 6783") > 1000, "the capture saw the sleeve"


def test_the_capture_would_show_it(net: World, tmp_path: Path) -> None:
    path = tmp_path / "wire.pcap"
    net.lab.kill("h1", signal.SIGTERM)
    net.lab.start("h1", options=(*SECRET, "--trusted-subnets=198.51.100.0/24"))
    with wire(net, path), probes.background(net.lab, "c1", sys.executable, "-ISc", SHOUT):
        net.lab.up(2, options=(*SECRET, "--trusted-subnets=198.51.100.0/24"))
        net.connected("h1", "h2")
        net.until(path.read_bytes, lambda data: MARK.encode() in data, "plain traffic is not seen")
