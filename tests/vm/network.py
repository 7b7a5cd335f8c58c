"""Real routers with a password on the hosts of a `weave.lab`, and packets between containers on the first and the last.

           switch (bridge `br0`, captured before there are hosts, until all is over)
              │                │                │
       h1 198.51.100.1  h2 198.51.100.2 ... hN 198.51.100.N      router and sleeve on each
              │                                 │
              c1                                cN      numbered packets with a mark, both ways, from the first moment

Routers are asked by their control API. What blocks is done on a thread, while packets go on.
"""

import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import combinations
from pathlib import Path

import trio

from tests.lab.underlay import connect6, move_to_ipv6
from tests.vm.world import MARK, PLAIN, Traffic, attempt, captured, counts, matching, until
from weave.lab import kernel, lab, names
from weave.net.namespace import open_namespace

DEADLINE_S = 400.0
LOOK_S = 2.0
"""A report costs an emulated router most of a second."""
QUIET_S = 4.0
"""How long nothing may be lost where nothing should happen."""
PASSWORD = "correct horse battery staple"
DILATION = Path(__file__).parent / "dilation"
WIREGUARD, IPSEC, SLEEVE = "vxlan+wireguard", "vxlan+ipsec", "sleeve"
LINK = re.compile(r"weave\.fabric: link peer=\S+ nickname=(\S+) mode=(\S+) ")
BLOCK = "add table inet block; add chain inet block in { type filter hook input priority -300; }"
NO_WIREGUARD = f"{BLOCK}; add rule inet block in udp dport 6785 drop"

Pair = tuple[str, str]
Check = Callable[["World"], Awaitable[None]]


def relax() -> None:
    """Give routers the time they need here, and the lab the patience."""
    os.environ["PYTHONPATH"] = str(DILATION)
    lab.POLL_S, lab.ROUTER_READY_DEADLINE_S, lab.PROCESS_END_DEADLINE_S = LOOK_S, DEADLINE_S, 60.0
    kernel.COMMAND_DEADLINE_S = 120.0


class World:
    """The lab, and packets between its containers."""

    def __init__(self, nursery: trio.Nursery, count: int) -> None:
        self.lab = lab.Lab("vm")
        self.hosts = [names.host_name(number) for number in range(1, count + 1)]
        self.ends = self.hosts[0], self.hosts[-1]
        """The hosts that have a container."""
        self.switch = names.namespace(self.lab.name, names.SWITCH)
        self.addresses: list[str] = []
        """Of the two containers."""
        self._former = dict.fromkeys(self.hosts, 0)
        self.traffic: Traffic
        self._nursery = nursery
        kernel.add_switch(self.switch)

    async def start(self) -> None:
        """Have routers on all hosts, and packets from container to container as soon as there are containers."""
        await trio.to_thread.run_sync(partial(self.lab.up, len(self.hosts), options=["--password", PASSWORD]))
        containers = [names.namespace(self.lab.name, host, f"c{host[1:]}") for host in self.ends]
        for host, container in zip(self.ends, containers, strict=True):
            await trio.to_thread.run_sync(kernel.add_namespace, container)
            made = await trio.to_thread.run_sync(partial(
                self.lab.client(host).value, "PUT", "attachment", container,
                body={"netns": str(kernel.NETNS_DIR / container)}, timeout_s=DEADLINE_S))
            self.addresses.append(made["addresses"][0].partition("/")[0])
        self.traffic = Traffic([namespace_of(container) for container in containers], self.addresses)
        self._nursery.start_soon(self.traffic.run)

    # -- links --------------------------------------------------------------------------------------------------

    async def uses(self, mode: str) -> None:
        """Wait until all hosts use this mode among each other and packets arrive by it, both ways."""
        await self.links(dict.fromkeys(combinations(self.hosts, 2), mode))

    async def links(self, wanted: Mapping[Pair, str]) -> None:
        """Wait until the links between these hosts are of these modes, at both ends, and packets arrive both ways."""
        ends = {end: mode for (a, b), mode in wanted.items() for end in ((a, b), (b, a))}
        await until(lambda: all(self._modes(here).get(there) == mode for (here, there), mode in ends.items()),
                    self._describe, DEADLINE_S)
        await self.traffic.arrives(lambda: f"nothing arrives; {self._describe()}", DEADLINE_S)
        for (here, there), mode in ends.items():
            assert (words := await self.link(here, there)).startswith(f"{mode} "), words

    async def link(self, here: str, there: str) -> str:
        """Return the mode of a host's link to another, where it goes, and why the mode is no better one."""
        report = await trio.to_thread.run_sync(self.lab.report, here)
        [row] = [row for row in report["Links"] if row["NickName"] == there]
        return f"{row['Mode']} {row['Address']}: {row['Reason']}"

    def _modes(self, host: str) -> dict[str, str]:
        """Return the modes that a router last logged in this life: asked all the time it would come to nothing else."""
        words = self.lab.log_file(host).read_text(errors="replace")[self._former[host]:]
        return dict(LINK.findall(words))

    def _describe(self) -> str:
        return " | ".join(f"{host}: {self._modes(host)}" for host in self.hosts)

    @asynccontextmanager
    async def undisturbed(self) -> AsyncIterator[None]:
        """Have no packet lost, whatever the block does."""
        before = self.traffic.now()
        yield
        await trio.sleep(QUIET_S)
        lost = self.traffic.lost(before)
        assert lost == 0, f"{lost} packets were lost"

    # -- hosts --------------------------------------------------------------------------------------------------

    async def kill(self, host: str) -> None:
        await trio.to_thread.run_sync(self.lab.kill, host)

    async def restart(self, host: str) -> None:
        self._former[host] = len(self.lab.log_file(host).read_text(errors="replace"))
        await trio.to_thread.run_sync(self.lab.start, host)

    async def move_to_ipv6(self) -> None:
        """Give all hosts, whose routers start anew, an underlay without IPv4."""
        for host in self.hosts:
            await self.kill(host)
            move_to_ipv6(self.lab, host)
        for host in self.hosts:
            await self.restart(host)
            await trio.to_thread.run_sync(connect6, self.lab, host, *(other for other in self.hosts if other != host))

    def nft(self, rules: str) -> None:
        """Have rules on all hosts."""
        for host in self.hosts:
            self.on(host, "nft", rules)

    def on(self, host: str, *words: str) -> None:
        kernel.run(*kernel.inside(names.namespace(self.lab.name, host), *words))

    def namespace(self, host: str) -> int:
        """Return a descriptor of a host's namespace."""
        return namespace_of(names.namespace(self.lab.name, host))

    def show_logs(self) -> None:
        for path in filter(Path.exists, map(self.lab.log_file, self.hosts)):
            print(f"--- {path}", path.read_text(errors="replace"), sep="\n")


def namespace_of(name: str) -> int:
    """Return a descriptor of a named namespace."""
    return open_namespace(kernel.NETNS_DIR / name)


def require_nothing_in_the_clear(capture: Path, addresses: Sequence[str]) -> None:
    """Find in a capture packets of all three encrypted modes, and neither payload nor headers of containers'."""
    raw = capture.read_bytes()
    assert MARK not in raw, "payload of containers was on the wire in the clear"
    first, second = (bytes(map(int, address.split("."))) for address in addresses)
    assert first + second not in raw, "headers of containers' packets were on the wire in the clear"
    assert second + first not in raw, "headers of containers' packets were on the wire in the clear"
    plain = matching(capture, PLAIN)
    assert not plain, f"VXLAN or probes were on the wire in the clear: {plain}"
    sealed = counts(capture, "udp port 6785", "esp", "udp port 6783")
    assert min(sealed) > 20, sealed


async def _tell(world: World, checks: Sequence[Check], afterwards: Sequence[Check], capture: Path) -> bool:
    with captured(namespace_of(world.switch), "br0", capture):
        await world.start()
        good = [await attempt(check, world) for check in checks]
    return all([*good, *[await attempt(check, world) for check in afterwards]])


async def _run(count: int, checks: Sequence[Check], afterwards: Sequence[Check], capture: Path) -> bool:
    relax()
    good = False
    async with trio.open_nursery() as nursery:
        world = World(nursery, count)
        try:
            good = await _tell(world, checks, afterwards, capture)
        finally:
            if not good:
                world.show_logs()
            nursery.cancel_scope.cancel()
    world.lab.down()
    return good


def story(count: int, checks: Sequence[Check], afterwards: Sequence[Check], capture: Path) -> None:
    """Run checks among so many hosts, all of it captured, then those that read the capture; end the process.

    Where something did not hold, the routers' logs follow.
    """
    sys.exit(0 if trio.run(_run, count, checks, afterwards, capture) else 1)
