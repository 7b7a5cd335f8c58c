"""The story of the routers: two of them, every mode, what may go wrong, and keys that are replaced."""

from pathlib import Path

import trio

from tests.vm.network import (
    DEADLINE_S,
    IPSEC,
    NO_WIREGUARD,
    QUIET_S,
    SLEEVE,
    WIREGUARD,
    Check,
    World,
    require_nothing_in_the_clear,
    story,
)
from tests.vm.world import MODULES, counts, free_modules, has_other_keys, last_handshake, spis, until, without_modules

CAPTURE = Path("/tmp/weave-vm-routers.pcap")


async def two_routers_come_to_wireguard(world: World) -> None:
    await world.uses(WIREGUARD)


async def wireguard_agrees_on_new_keys_and_nothing_is_lost(world: World) -> None:
    host = world.namespace("h1")
    before = last_handshake(host)
    async with world.undisturbed():
        await until(lambda: last_handshake(host) > before, lambda: "there is no new handshake", DEADLINE_S)


async def a_blocked_port_leads_to_ipsec(world: World) -> None:
    world.nft(NO_WIREGUARD)
    await world.uses(IPSEC)


async def pacts_are_renewed_and_nothing_is_lost(world: World) -> None:
    host = world.namespace("h1")
    before = spis(host)
    async with world.undisturbed():
        await until(lambda: has_other_keys(host, before), lambda: "the old keys stay", DEADLINE_S)


async def dropped_esp_leads_to_the_sleeve(world: World) -> None:
    world.nft("add rule inet block in meta l4proto esp drop")
    await world.uses(SLEEVE)
    assert "firewall or NAT" in await world.link("h1", "h2")


async def they_come_back_to_wireguard(world: World) -> None:
    world.nft("delete table inet block")
    await world.uses(WIREGUARD)


async def a_killed_router_takes_nothing_along(world: World) -> None:
    async with world.undisturbed():
        await world.kill("h2")
        await trio.sleep(QUIET_S)
        await world.restart("h2")
        await world.uses(WIREGUARD)


async def without_wireguard_ipsec_is_used(world: World) -> None:
    await _start_without(world, MODULES[:1], IPSEC)


async def without_both_the_sleeve_is_used(world: World) -> None:
    await _start_without(world, MODULES, SLEEVE)


async def _start_without(world: World, modules: tuple[str, ...], mode: str) -> None:
    """Have routers start with a kernel that lacks modules; they use this mode, and name what lacks."""
    for host in world.hosts:
        await world.kill(host)
        free_modules(world.namespace(host))
    with without_modules(modules):
        for host in world.hosts:
            await world.restart(host)
        await world.uses(mode)
        words = await world.link("h1", "h2")
    for module in {*modules} - {"esp6"}:
        assert f"the module {module} cannot be loaded" in words, words


async def over_ipv6_alone_they_come_to_wireguard(world: World) -> None:
    await world.move_to_ipv6()
    await world.uses(WIREGUARD)


async def over_ipv6_a_blocked_port_leads_to_ipsec(world: World) -> None:
    await a_blocked_port_leads_to_ipsec(world)


async def nothing_was_in_the_clear(world: World) -> None:
    require_nothing_in_the_clear(CAPTURE, world.addresses)
    over_ipv6 = counts(CAPTURE, "ip6 and udp port 6785", "ip6 and esp")
    assert min(over_ipv6) >= 10, over_ipv6


CHECKS: tuple[Check, ...] = (
    two_routers_come_to_wireguard,
    wireguard_agrees_on_new_keys_and_nothing_is_lost,
    a_blocked_port_leads_to_ipsec,
    pacts_are_renewed_and_nothing_is_lost,
    dropped_esp_leads_to_the_sleeve,
    they_come_back_to_wireguard,
    a_killed_router_takes_nothing_along,
    without_wireguard_ipsec_is_used,
    without_both_the_sleeve_is_used,
    over_ipv6_alone_they_come_to_wireguard,
    over_ipv6_a_blocked_port_leads_to_ipsec,
)

if __name__ == "__main__":
    story(2, CHECKS, (nothing_was_in_the_clear,), CAPTURE)
