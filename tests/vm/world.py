"""What all stories need: commands, looks at the kernel, packets from container to container, a capture in between.

Each check prints `ok` or `not ok`, its name, and the seconds since the story began; what follows a failed one still
runs.
"""

import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import trio

from weave.errors import WeaveError
from weave.net.model import WIREGUARD_DEVICE
from weave.net.namespace import new_namespace, run_there
from weave.netlink import constants as nl
from weave.netlink.connection import Netlink
from weave.netlink.generic import get_family, read_family
from weave.netlink.wireguard import FAMILY, Device, get_device, merge_devices, read_device

MARK = b"the quick brown fox jumps over the lazy dog"
PORT = 5555
INTERVAL_S = 0.1
MODULES = ("wireguard", "esp4", "esp6")
FORBID = Path("/etc/modprobe.d/weave-vm.conf")
PLAIN = "udp port 6784 or udp port 6786"
"""VXLAN and probes, which never leave a tunnel."""
UNLOAD_DEADLINE_S = 30.0
"""The kernel takes associations and namespaces apart after it said that they are gone."""
STARTED_AT = time.monotonic()

World = TypeVar("World")


def run(*words: str, where: int | None = None, check: bool = True) -> str:
    """Run a program, in a namespace, and return what it printed."""
    inside = [] if where is None else ["nsenter", f"--net=/proc/{os.getpid()}/fd/{where}"]
    done = subprocess.run([*inside, *words], capture_output=True, text=True, check=False, timeout=60)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def namespace() -> int:
    """Return a new network namespace with its loopback up; it goes with this process."""
    found = new_namespace()
    run("ip", "link", "set", "lo", "up", where=found)
    return found


def spis(host: int) -> set[str]:
    """Return the SPIs of the associations in a namespace."""
    listing = run("ip", "xfrm", "state", where=host)
    return {word for word in listing.split() if word.startswith("0x") and len(word) == 10}


def has_other_keys(host: int, before: set[str]) -> bool:
    """Say whether none of these associations is left in a namespace, and there are others."""
    now = spis(host)
    return len(now) >= 2 and before.isdisjoint(now)


def wireguard(host: int) -> Device:
    """Return the WireGuard device in a namespace."""
    with closing(run_there(host, lambda: Netlink(nl.NETLINK_GENERIC))) as generic:
        number = read_family(generic.query(get_family(FAMILY), "find WireGuard"))
        found = merge_devices(map(read_device, generic.dump(get_device(number, WIREGUARD_DEVICE), "look at WireGuard")))
    assert found is not None, "there is no WireGuard device"
    return found


def last_handshake(host: int) -> int:
    """Return when WireGuard last agreed on keys with a peer, in seconds of the wall clock; 0 for never."""
    return max((peer.last_handshake_s for peer in wireguard(host).peers), default=0)


class Traffic:
    """Numbered packets with a mark from container to container, both ways, for as long as it runs."""

    def __init__(self, containers: Sequence[int], addresses: Sequence[str]) -> None:
        """Take two containers, by descriptors of their namespaces, and the address of each."""
        self.sent: list[int] = [0, 0]
        self.got: list[set[int]] = [set(), set()]
        self._addresses = addresses
        self._sockets = [run_there(container, _socket) for container in containers]

    async def run(self) -> None:
        """Send and receive until cancelled."""
        async with trio.open_nursery() as nursery:
            for index in (0, 1):
                nursery.start_soon(self._send, index)
                nursery.start_soon(self._receive, index)

    def lost(self, since: tuple[int, int]) -> int:
        """Return how many of the packets sent since then, but for the last second's, have not arrived."""
        return sum(len(set(range(start, self.sent[index] - 10)) - self.got[index])
                   for index, start in enumerate(since))

    def now(self) -> tuple[int, int]:
        """Return the numbers of the next packets."""
        return self.sent[0], self.sent[1]

    async def arrives(self, words: Callable[[], str], deadline_s: float) -> None:
        """Wait until some more packets have arrived, both ways; fail with words at the deadline."""
        before = [len(got) for got in self.got]
        await until(lambda: all(len(got) > count + 3 for got, count in zip(self.got, before, strict=True)), words,
                    deadline_s)

    async def _send(self, index: int) -> None:
        target = self._addresses[1 - index], PORT
        while True:
            with suppress(OSError):
                self._sockets[index].sendto(MARK + self.sent[index].to_bytes(8), target)
            self.sent[index] += 1
            await trio.sleep(INTERVAL_S)

    async def _receive(self, index: int) -> None:
        sock = self._sockets[1 - index]
        while True:
            await trio.lowlevel.wait_readable(sock)
            self.got[index].add(int.from_bytes(sock.recv(2000)[len(MARK):]))


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("", PORT))
    return sock


@contextmanager
def captured(switch: int, device: str, path: Path) -> Iterator[None]:
    """Write down every packet between the hosts, as a device of the switch sees them."""
    with subprocess.Popen(["nsenter", f"--net=/proc/{os.getpid()}/fd/{switch}", "tcpdump", "-U", "-n", "-i", device,
                           "-w", str(path)], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert any(b"listening" in line for line in process.stderr), "tcpdump does not listen"
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def matching(path: Path, what: str) -> list[str]:
    """Return the packets of a capture that match a filter, each as a line of words."""
    return run("tcpdump", "-n", "-r", str(path), what, check=False).splitlines()


def counts(path: Path, *filters: str) -> list[int]:
    """Return how many packets of a capture match each filter."""
    return [len(matching(path, what)) for what in filters]


def free_modules(host: int) -> None:
    """Remove from a namespace what needs the modules: also VXLAN devices, which remember associations they sent by."""
    for device in ("weave-wg", "vxlan-6784", "vxlan6-6784"):
        run("ip", "link", "delete", device, where=host, check=False)
    for what in ("state", "policy"):
        run("ip", "xfrm", what, "flush", where=host, check=False)


@contextmanager
def without_modules(modules: Sequence[str]) -> Iterator[None]:
    """Have a kernel without these while the block runs; nothing may need them."""
    FORBID.write_text("".join(f"install {name} /bin/false\n" for name in modules))
    deadline = time.monotonic() + UNLOAD_DEADLINE_S
    while held := [name for name in modules if Path("/sys/module", name).exists()]:
        assert time.monotonic() < deadline, f"{held} are still in use"
        run("modprobe", "-r", *held, check=False)
    yield
    FORBID.unlink()


async def attempt(check: Callable[[World], Awaitable[None]], world: World, where: str = "") -> bool:
    """Run one check and say how it went."""
    failure: BaseException | None = None
    try:
        await check(world)
    except (AssertionError, OSError, subprocess.SubprocessError, WeaveError) as exc:
        failure = exc
    words = "ok" if failure is None else "not ok"
    print(f"{words} {check.__name__.replace('_', ' ')}{where} ({time.monotonic() - STARTED_AT:.0f} s)")
    if failure is not None:
        traceback.print_exception(failure, limit=-3, file=sys.stdout)
    sys.stdout.flush()
    return failure is None


async def until(holds: Callable[[], bool], otherwise: Callable[[], str], deadline_s: float) -> None:
    """Wait until something holds; fail with words at the deadline."""
    with trio.move_on_after(deadline_s):
        while not holds():  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.5)
        return
    raise AssertionError(otherwise())
