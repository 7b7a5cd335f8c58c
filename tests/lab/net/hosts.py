"""Hosts and containers as network namespaces that nobody else sees.

                 switch (bridge `lan`)
                 │          │        │
               h1 u0      h2 u0    h3 u0      192.0.2.N/24, 2001:db8::N/64
               weave      weave    weave
               │    │       │
              c1   c2      c3

A namespace lives as long as its descriptor: when the test process goes, however it goes, nothing is left.
"""

import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from weave.addresses import IPAddress, parse_interface
from weave.lab.probes import wait_for
from weave.names import PeerName
from weave.net import AttachRequest, DatapathConfig, Endpoint, Remote
from weave.net.model import Attachment
from weave.net.namespace import new_namespace

LAB = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
DEADLINE_S = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace."""

    descriptor: int

    @property
    def path(self) -> Path:
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")

    def command(self, *words: str) -> list[str]:
        return ["nsenter", f"--net={self.path}", *words]

    def run(self, *words: str, check: bool = True) -> str:
        """Run a program there and return what it printed."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    async def run_async(self, *words: str, check: bool = True) -> str:
        return await trio.to_thread.run_sync(lambda: self.run(*words, check=check))

    @contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a program there meanwhile."""
        with subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as process:
            try:
                wait_for(lambda: self._holds(process.pid), bool, f"{words[0]} does not get there", DEADLINE_S)
                yield process
            finally:
                process.terminate()
                process.wait(DEADLINE_S)

    def _holds(self, pid: int) -> bool:
        """Say whether a process has entered this namespace."""
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.fstat(self.descriptor).st_ino

    async def reaches(self, address: str, *more: str) -> bool:
        """Say whether one of the pings of two seconds is answered; the first may wait for a neighbour to be found."""
        answer = await self.run_async("ping", "-c1", "-i0.2", "-w2", *more, address, check=False)
        return " 1 received" in answer


async def output_with(process: "subprocess.Popen[str]", word: str) -> None:
    """Wait until a program has printed a line with this word."""
    assert process.stdout is not None
    for _ in range(100):
        if word in await trio.to_thread.run_sync(process.stdout.readline):
            return
    raise AssertionError(f"{word!r} was never printed")


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds; fail at the deadline."""
    with trio.fail_after(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - the kernel sends no event for it
            await trio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Host:
    """A host with an underlay interface `u0`."""

    place: Place
    number: int
    mtu: int

    @property
    def config(self) -> DatapathConfig:
        return DatapathConfig(PeerName(f"02:00:00:00:00:{self.number:02x}"))

    def address(self, version: int = 4) -> IPAddress:
        return ip_address(f"192.0.2.{self.number}" if version == 4 else f"2001:db8::{self.number:x}")

    def remote(self, version: int = 4) -> Remote:
        return Remote(self.config.peer, self.address(version))

    def endpoint(self, attachment: Attachment) -> Endpoint:
        return Endpoint(attachment.mac, attachment.addresses, attachment.container, attachment.interface,
                        self.config.peer)


@dataclass(frozen=True, slots=True)
class Underlay:
    """A switch and what is plugged in."""

    switch: Place
    stack: ExitStack

    def place(self) -> Place:
        """Return a new, empty namespace."""
        descriptor = new_namespace()
        self.stack.callback(os.close, descriptor)
        return Place(descriptor)

    def host(self, number: int, *, mtu: int = 1500) -> Host:
        """Plug in a new host."""
        place = self.place()
        for which in ("all", "default"):
            place.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{which}/accept_dad")
        self.switch.run("ip", "link", "add", f"p{number}", "mtu", str(mtu), "up", "master", "lan", "type", "veth",
                        "peer", "name", "u0", "mtu", str(mtu), "netns", str(place.path))
        place.run("ip", "link", "set", "lo", "up")
        place.run("ip", "link", "set", "u0", "up")
        place.run("ip", "addr", "add", f"192.0.2.{number}/24", "dev", "u0")
        place.run("ip", "addr", "add", f"2001:db8::{number:x}/64", "dev", "u0", "nodad")
        return Host(place, number, mtu)


@contextmanager
def underlay() -> Iterator[Underlay]:
    """Make a switch; everything plugged in goes with it."""
    with ExitStack() as stack:
        switch = new_namespace()
        stack.callback(os.close, switch)
        made = Underlay(Place(switch), stack)
        made.switch.run("ip", "link", "add", "lan", "up", "type", "bridge", "forward_delay", "0")
        yield made


def request(place: Place, container: str, *addresses: str, **more: object) -> AttachRequest:
    """Return a wish for a container with these addresses."""
    return AttachRequest(container, place.path, tuple(map(parse_interface, addresses)), **more)  # type: ignore[arg-type]
