"""The story of the routers: two real routers with a password, their sleeves, one container each, and what may go wrong.

                 switch (bridge `br0`, captured before there are hosts, until all is over)
                    │                       │
               h1 198.51.100.1         h2 198.51.100.2
                 router, sleeve          router, sleeve
                    │                       │
                    c1                      c2         numbered packets with a mark, both ways, from the first moment

The hosts are those of `weave.lab`; routers are asked by their control API. What blocks is done on a thread, while
packets go on.
"""

import os
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from tests.vm.world import (
    MARK,
    MODULES,
    PLAIN,
    Traffic,
    attempt,
    captured,
    counts,
    matching,
    until,
    without_modules,
)
from weave.lab import kernel, lab, names
from weave.net.namespace import open_namespace

DEADLINE_S = 400.0
LOOK_S = 2.0
"""A report costs an emulated router most of a second."""
QUIET_S = 4.0
CAPTURE = Path("/tmp/weave-vm-routers.pcap")
PASSWORD = "correct horse battery staple"
HOSTS = ("h1", "h2")
DILATION = Path(__file__).parent / "dilation"
WIREGUARD, IPSEC, SLEEVE = "vxlan+wireguard", "vxlan+ipsec", "sleeve"
LINK = re.compile(r"weave\.fabric: link .* mode=(\S+) ")
BLOCK = "add table inet block; add chain inet block in { type filter hook input priority -300; }"

Check = Callable[["World"], Awaitable[None]]


def relax() -> None:
    """Give routers the time they need here, and the lab the patience."""
    os.environ["PYTHONPATH"] = str(DILATION)
    lab.POLL_S, lab.ROUTER_READY_DEADLINE_S, lab.PROCESS_END_DEADLINE_S = LOOK_S, DEADLINE_S, 60.0
    kernel.COMMAND_DEADLINE_S = 120.0


class World:
    """The lab, and packets between its containers."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.lab = lab.Lab("vm")
        self.switch = names.namespace(self.lab.name, names.SWITCH)
        self.addresses: list[str] = []
        self._former = dict.fromkeys(HOSTS, 0)
        self.traffic: Traffic
        self._nursery = nursery
        kernel.add_switch(self.switch)

    async def start(self) -> None:
        """Have routers on both hosts, and packets from container to container as soon as there are containers."""
        await trio.to_thread.run_sync(partial(self.lab.up, len(HOSTS), options=["--password", PASSWORD]))
        containers = [names.namespace(self.lab.name, host, f"c{host[1:]}") for host in HOSTS]
        for host, container in zip(HOSTS, containers, strict=True):
            await trio.to_thread.run_sync(kernel.add_namespace, container)
            made = await trio.to_thread.run_sync(partial(
                self.lab.client(host).value, "PUT", "attachment", container,
                body={"netns": str(kernel.NETNS_DIR / container)}, timeout_s=DEADLINE_S))
            self.addresses.append(made["addresses"][0].partition("/")[0])
        self.traffic = Traffic([namespace_of(container) for container in containers], self.addresses)
        self._nursery.start_soon(self.traffic.run)

    async def uses(self, mode: str) -> None:
        """Wait until both hosts use this mode and packets arrive by it, both ways."""
        await until(lambda: all(self.mode(host) == mode for host in HOSTS), self.describe, DEADLINE_S)
        await self.traffic.arrives(lambda: f"{mode} is used but carries nothing", DEADLINE_S)
        for host in HOSTS:
            assert (await self.link(host)).startswith(f"{mode}: ")

    def mode(self, host: str) -> str:
        """Return the mode that a router last logged in this life: to be asked all the time would keep it from work."""
        words = self.lab.log_file(host).read_text(errors="replace")[self._former[host]:]
        return (LINK.findall(words) or [""])[-1]

    def describe(self) -> str:
        return " | ".join(f"{host}: {self.mode(host)}" for host in HOSTS)

    async def link(self, host: str) -> str:
        """Return the mode of a host's link to the other one, and why it is no better one."""
        report = await trio.to_thread.run_sync(self.lab.report, host)
        [row] = report["Links"]
        return f"{row['Mode']}: {row['Reason']}"

    async def kill(self, host: str) -> None:
        await trio.to_thread.run_sync(self.lab.kill, host)

    async def restart(self, host: str) -> None:
        self._former[host] = len(self.lab.log_file(host).read_text(errors="replace"))
        await trio.to_thread.run_sync(self.lab.start, host)

    def nft(self, rules: str) -> None:
        """Have rules on both hosts."""
        for host in HOSTS:
            self.on(host, "nft", rules)

    def on(self, host: str, *words: str) -> None:
        kernel.run(*kernel.inside(names.namespace(self.lab.name, host), *words))

    def show_logs(self) -> None:
        for path in filter(Path.exists, map(self.lab.log_file, HOSTS)):
            print(f"--- {path}", path.read_text(errors="replace"), sep="\n")


def namespace_of(name: str) -> int:
    """Return a descriptor of a named namespace."""
    return open_namespace(kernel.NETNS_DIR / name)


async def two_routers_come_to_wireguard(world: World) -> None:
    await world.uses(WIREGUARD)


async def a_blocked_port_leads_to_ipsec(world: World) -> None:
    world.nft(f"{BLOCK}; add rule inet block in udp dport 6785 drop")
    await world.uses(IPSEC)


async def dropped_esp_leads_to_the_sleeve(world: World) -> None:
    world.nft("add rule inet block in meta l4proto esp drop")
    await world.uses(SLEEVE)
    assert "firewall or NAT" in await world.link("h1")


async def they_come_back_to_wireguard(world: World) -> None:
    world.nft("delete table inet block")
    await world.uses(WIREGUARD)


async def a_killed_router_takes_nothing_along(world: World) -> None:
    before = world.traffic.now()
    await world.kill("h2")
    await trio.sleep(QUIET_S)
    await world.restart("h2")
    await world.uses(WIREGUARD)
    await trio.sleep(QUIET_S)
    lost = world.traffic.lost(before)
    assert lost == 0, f"{lost} packets were lost over a restart"


async def missing_modules_lead_to_the_sleeve_and_are_named(world: World) -> None:
    for host in HOSTS:
        await world.kill(host)
        world.on(host, "ip", "link", "delete", "weave-wg")
        world.on(host, "ip", "xfrm", "state", "flush")
        world.on(host, "ip", "xfrm", "policy", "flush")
    with without_modules():
        for host in HOSTS:
            await world.restart(host)
        await world.uses(SLEEVE)
        words = await world.link("h1")
    for module in MODULES[:2]:
        assert f"the module {module} cannot be loaded" in words, words


async def nothing_was_in_the_clear(world: World) -> None:
    raw = CAPTURE.read_bytes()  # noqa: ASYNC240 - nobody waits
    assert MARK not in raw, "payload of containers was on the wire in the clear"
    first, second = (bytes(map(int, address.split("."))) for address in world.addresses)
    assert first + second not in raw, "headers of containers' packets were on the wire in the clear"
    assert second + first not in raw, "headers of containers' packets were on the wire in the clear"
    plain = matching(CAPTURE, PLAIN)
    assert not plain, f"VXLAN or probes were on the wire in the clear: {plain}"
    sealed = counts(CAPTURE, "udp port 6785", "esp", "udp port 6783")
    assert min(sealed) > 20, sealed


CHECKS: tuple[Check, ...] = (
    two_routers_come_to_wireguard,
    a_blocked_port_leads_to_ipsec,
    dropped_esp_leads_to_the_sleeve,
    they_come_back_to_wireguard,
    a_killed_router_takes_nothing_along,
    missing_modules_lead_to_the_sleeve_and_are_named,
)


async def tell(world: World) -> bool:
    """Run all checks, with everything between the hosts captured; say whether all held."""
    with captured(namespace_of(world.switch), "br0", CAPTURE):
        await world.start()
        good = [await attempt(check, world) for check in CHECKS]
    return all([*good, await attempt(nothing_was_in_the_clear, world)])


async def main() -> bool:
    """Have the world; show what the routers had to say where something did not hold."""
    relax()
    good = False
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        try:
            good = await tell(world)
        finally:
            if not good:
                world.show_logs()
            nursery.cancel_scope.cancel()
    world.lab.down()
    return good


if __name__ == "__main__":
    sys.exit(0 if trio.run(main) else 1)
