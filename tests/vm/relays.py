"""The story of three hosts: two that are cut off from each other talk through the third, and one moves behind NAT.

           switch                                       switch
      │       │       │                            │       │      198.51.100.254
      h1      h2      h3        and later          h1      h2      gateway that masquerades
      │               │                            │               │ 192.168.7.1
      c1              c3                           c1              h3 192.168.7.2 ── c3
"""

from pathlib import Path

from tests.vm.network import (
    IPSEC,
    NO_WIREGUARD,
    SLEEVE,
    WIREGUARD,
    Check,
    World,
    require_nothing_in_the_clear,
    story,
)
from tests.vm.world import counts, wireguard
from weave.lab import kernel, names
from weave.net.crypt.limits import KEEPALIVE_S

CAPTURE = Path("/tmp/weave-vm-relays.pcap")
NEAR, CROSS, FAR = ("h1", "h2"), ("h1", "h3"), ("h2", "h3")
OUTSIDE = "198.51.100.254"
INSIDE = "192.168.7.1", "192.168.7.2"
MASQUERADE = "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; " \
             "add rule ip nat post oifname eth0 masquerade"


async def three_routers_come_to_wireguard(world: World) -> None:
    await world.uses(WIREGUARD)


async def two_that_are_cut_off_talk_through_the_third_beside_wireguard(world: World) -> None:
    world.lab.cut(*CROSS)
    await _relayed(world, WIREGUARD)


async def so_they_do_beside_ipsec(world: World) -> None:
    world.nft(NO_WIREGUARD)
    await _relayed(world, IPSEC)


async def _relayed(world: World, mode: str) -> None:
    """Wait until the two talk through the third, which has links of this mode to both."""
    await world.links({NEAR: mode, FAR: mode, CROSS: SLEEVE})
    for here, there in (CROSS, CROSS[::-1]):
        assert (words := await world.link(here, there)).startswith("sleeve via h2: "), words


async def healed_they_return_to_wireguard(world: World) -> None:
    world.lab.heal()
    world.nft("delete table inet block")
    await world.uses(WIREGUARD)


async def behind_nat_wireguard_is_used_and_kept_alive(world: World) -> None:
    await world.kill("h3")
    move_behind_nat(world)
    await world.restart("h3")
    await world.uses(WIREGUARD)
    for host in CROSS:
        alive = {peer.keepalive_s for peer in wireguard(world.namespace(host)).peers}
        assert KEEPALIVE_S in alive, f"{host} keeps no session through NAT alive: {alive}"


def move_behind_nat(world: World) -> None:
    """Give the third host, whose router is down, another network, and a gateway from there to the switch."""
    host, gateway = (names.namespace(world.lab.name, *parts) for parts in (("h3",), (names.SWITCH, "gw")))
    kernel.add_namespace(gateway)
    kernel.plug(world.switch, gateway, port="gw", mac="02:1a:b0:01:00:01", address=f"{OUTSIDE}/24")
    for where, words in (
        (host, "link delete eth0"),
        (gateway, f"link add inside up type veth peer name eth0 netns {host}"),
        (gateway, f"address add {INSIDE[0]}/24 dev inside"),
        (host, f"address add {INSIDE[1]}/24 dev eth0"),
        (host, "link set eth0 up"),
        (host, f"route add default via {INSIDE[0]}"),
    ):
        kernel.run("ip", "-n", where, *words.split())
    kernel.run(*kernel.inside(gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
    kernel.run(*kernel.inside(gateway, "nft", MASQUERADE))


async def through_nat_ipsec_is_not_chosen_and_both_say_why(world: World) -> None:
    world.nft(NO_WIREGUARD)
    await world.links({NEAR: IPSEC, FAR: SLEEVE, CROSS: SLEEVE})
    for here, there in (CROSS, CROSS[::-1]):
        assert "no vxlan+ipsec: the addresses of the two hosts are translated" in await world.link(here, there)


async def nothing_was_in_the_clear(world: World) -> None:
    require_nothing_in_the_clear(CAPTURE, world.addresses)
    assert counts(CAPTURE, f"esp and host {OUTSIDE}") == [0], "ESP was sent through NAT"


CHECKS: tuple[Check, ...] = (
    three_routers_come_to_wireguard,
    two_that_are_cut_off_talk_through_the_third_beside_wireguard,
    so_they_do_beside_ipsec,
    healed_they_return_to_wireguard,
    behind_nat_wireguard_is_used_and_kept_alive,
    through_nat_ipsec_is_not_chosen_and_both_say_why,
)

if __name__ == "__main__":
    story(3, CHECKS, (nothing_was_in_the_clear,), CAPTURE)
