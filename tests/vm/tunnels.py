"""The story of the tunnels: two stand-ins for routers, every tunnel, every switch, new keys, one capture.

It is told over IPv4, and then, of two more hosts, in short over IPv6.

In the end the capture is read: whatever happened in between, nothing of the containers' packets may have been on the
wire in the clear.
"""

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from tests.vm.station import Station, uses
from tests.vm.world import (
    MARK,
    MODULES,
    PLAIN,
    STARTED_AT,
    Traffic,
    attempt,
    captured,
    counts,
    free_modules,
    has_other_keys,
    matching,
    namespace,
    run,
    spis,
    until,
    without_modules,
)
from weave.logs import configure
from weave.net import nft
from weave.net.crypt import limits
from weave.net.crypt.candidates import Mode
from weave.net.crypt.capability import probe_kernel
from weave.netlink import xfrm

SWITCH_S = 400.0
"""An idle machine takes a tenth of it."""
REKEY_S, LONG_S = 15.0, 10_000.0
FEW_BYTES = 10_000
QUIET_S = 4.0
"""How long nothing may be lost where nothing should happen."""
CAPTURE = Path("/tmp/weave-vm.pcap")
HANDSHAKES = "udp port 6785 and udp[8] == 1"
"""WireGuard's first message of a handshake, by its type."""
BLOCK = "add table inet block; add chain inet block in { type filter hook input priority -300; }"

Check = Callable[["World"], Awaitable[None]]


def relax() -> None:
    """Give an emulated processor the time it takes, and have keys wear out while we look."""
    nft.NFT_DEADLINE_S = SWITCH_S / 2
    limits.ANSWER_S, limits.PEER_FRESH_S, limits.PROVE_S = 3.0, 20.0, 15.0
    limits.FIRST_RETRY_S, limits.MAX_RETRY_S = 3.0, 6.0
    limits.OFFER_RETRY_S, limits.GRACE_S = 2.0, 4.0


class World:
    """Both hosts, their traffic, and what is in their way."""

    def __init__(self, switch: int, number: int, version: int) -> None:
        """Make hosts with this number and the next, joined by addresses of this family."""
        ability = probe_kernel()
        self.stations = Station(number, switch, ability, version), Station(number + 1, switch, ability, version)
        first, second = self.stations
        first.other, second.other = second, first
        self.traffic = Traffic([station.container for station in self.stations],
                               [f"10.32.0.{station.number}" for station in self.stations])
        self._stop = {station.number: trio.CancelScope() for station in self.stations}
        self._nursery: trio.Nursery

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have both hosts up, with traffic; what they leave in the kernel goes in the end."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.traffic.run)
            for station in self.stations:
                await self.start(station)
            yield
            nursery.cancel_scope.cancel()
        for station in self.stations:
            free_modules(station.host)

    async def start(self, station: Station) -> None:
        """Start the router of a host."""
        await self._nursery.start(self._run, station)
        for each in self.stations:
            if each.secure is not None and each.other.life:
                each.want()

    async def stop(self, station: Station) -> None:
        """End the router of a host, as a crash would: the kernel stays as it is."""
        self._stop[station.number].cancel()
        await until(lambda: station.secure is None, lambda: "the router does not end", SWITCH_S)
        station.other.want()

    async def _run(self, station: Station, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:
            self._stop[station.number] = scope
            async with station.running():
                await station.attach()
                task_status.started()
                await trio.sleep_forever()

    async def uses(self, mode: Mode | None) -> None:
        """Wait until both hosts use this tunnel and packets arrive by it, both ways."""
        await until(lambda: uses(self.stations, mode), self.describe, SWITCH_S)
        if mode is not None:
            await self.traffic.arrives(lambda: f"{mode.words} is used but carries nothing; {self.describe()}", SWITCH_S)

    def describe(self) -> str:
        return " | ".join(f"h{station.number}: {station.link()}" for station in self.stations
                          if station.secure is not None)

    def block(self, *kinds: str) -> None:
        """Have both hosts drop packets of these kinds."""
        rules = "".join(f"; add rule inet block in {kind} drop" for kind in kinds)
        for station in self.stations:
            run("nft", BLOCK + rules, where=station.host)

    def unblock(self) -> None:
        for station in self.stations:
            run("nft", "delete table inet block", where=station.host)

    def spis(self) -> set[str]:
        """Return the associations of the first host."""
        return spis(self.stations[0].host)


async def wireguard_comes_first(world: World) -> None:
    await world.uses(Mode.WIREGUARD)


async def a_session_outlives_looks_at_the_kernel(_: World) -> None:
    before = counts(CAPTURE, HANDSHAKES)
    await trio.sleep(2.5 * limits.TEND_INTERVAL_S)
    assert counts(CAPTURE, HANDSHAKES) == before, "sessions of WireGuard are begun anew though nothing changed"


async def a_restarted_router_loses_nothing(world: World) -> None:
    second = world.stations[1]
    before = world.traffic.now()
    await world.stop(second)
    await trio.sleep(QUIET_S)
    await world.start(second)
    await world.uses(Mode.WIREGUARD)
    await trio.sleep(QUIET_S)
    lost = world.traffic.lost(before)
    assert lost == 0, f"{lost} packets were lost over a restart"


async def a_blocked_port_leads_to_ipsec(world: World) -> None:
    world.block("udp dport 6785")
    await world.uses(Mode.IPSEC)
    assert "no vxlan+wireguard" in world.stations[0].link().words()


async def keys_are_replaced_and_nothing_is_lost(world: World) -> None:
    before, first = world.traffic.now(), world.stations[0].host
    for _ in range(2):
        seen = world.spis()
        await until(partial(has_other_keys, first, seen), lambda: "the old associations stay", SWITCH_S)
    await trio.sleep(QUIET_S)
    lost = world.traffic.lost(before)
    assert lost == 0, f"{lost} packets were lost while keys were replaced"


async def the_kernel_asks_for_new_keys_by_bytes(world: World) -> None:
    seen, first = world.spis(), world.stations[0].host
    kept, xfrm.SOFT_BYTES = xfrm.SOFT_BYTES, FEW_BYTES
    await until(partial(has_other_keys, first, seen), lambda: "the old associations stay", SWITCH_S)
    limits.REKEY_S = LONG_S
    await keys_are_replaced_and_nothing_is_lost(world)
    xfrm.SOFT_BYTES = kept


async def flushed_associations_come_back(world: World) -> None:
    for station in world.stations:
        run("ip", "xfrm", "state", "flush", where=station.host)
        run("ip", "xfrm", "policy", "flush", where=station.host)
    await until(lambda: len(world.spis()) >= 2, lambda: "no associations", SWITCH_S)
    await world.uses(Mode.IPSEC)


async def dropped_esp_leaves_no_tunnel_but_a_reason(world: World) -> None:
    world.unblock()
    world.block("udp dport 6785", "meta l4proto esp")
    await world.uses(None)
    assert "firewall or NAT" in world.stations[0].link().words(), world.describe()


async def the_best_tunnel_is_used_again(world: World) -> None:
    world.unblock()
    await world.uses(Mode.WIREGUARD)
    await until(lambda: not world.spis(), lambda: f"associations stay: {world.spis()}", SWITCH_S)


async def missing_modules_are_named(_: World) -> None:
    with without_modules(MODULES):
        ability = probe_kernel()
    for why_not, module in zip((ability.wireguard, ability.esp4, ability.esp6), MODULES, strict=True):
        assert f"the module {module} cannot be loaded" in why_not, ability


async def nothing_was_in_the_clear(_: World) -> None:
    assert MARK not in CAPTURE.read_bytes(), "payload of containers was on the wire in the clear"  # noqa: ASYNC240 - nobody waits
    plain = matching(CAPTURE, PLAIN)
    assert not plain, f"VXLAN or probes were on the wire in the clear: {plain}"
    sealed = counts(CAPTURE, *(f"{family} and {what}" for family in ("ip", "ip6") for what in ("udp port 6785", "esp")))
    assert min(sealed) > 20, sealed


CHECKS: tuple[Check, ...] = (
    wireguard_comes_first,
    a_session_outlives_looks_at_the_kernel,
    a_restarted_router_loses_nothing,
    a_blocked_port_leads_to_ipsec,
    keys_are_replaced_and_nothing_is_lost,
    the_kernel_asks_for_new_keys_by_bytes,
    flushed_associations_come_back,
    dropped_esp_leaves_no_tunnel_but_a_reason,
    the_best_tunnel_is_used_again,
)
OVER_IPV6: tuple[Check, ...] = (
    wireguard_comes_first,
    a_blocked_port_leads_to_ipsec,
    keys_are_replaced_and_nothing_is_lost,
)
AFTERWARDS: tuple[Check, ...] = (missing_modules_are_named, nothing_was_in_the_clear)


async def main() -> bool:
    """Run all checks; say whether all held."""
    print(f"imported ({time.monotonic() - STARTED_AT:.0f} s)", flush=True)
    configure("warning", "text")
    relax()
    switch = namespace()
    run("ip", "link", "add", "lan", "up", "type", "bridge", "forward_delay", "0", where=switch)
    worlds = World(switch, 1, 4), World(switch, 3, 6)
    good = []
    with captured(switch, "lan", CAPTURE):
        for world, checks, where in zip(worlds, (CHECKS, OVER_IPV6), ("", " over IPv6"), strict=True):
            limits.REKEY_S = REKEY_S
            async with world.running():
                good += [await attempt(check, world, where) for check in checks]
    good += [await attempt(check, worlds[1]) for check in AFTERWARDS]
    return all(good)


if __name__ == "__main__":
    sys.exit(0 if trio.run(main) else 1)
