"""VXLAN leaves a host with a password only where it may, whatever becomes of everything else. On the real kernel."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.lab.net.hosts import LAB, Host, Underlay, eventually, underlay
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.service import CryptConfig, SecureLinks, wipe_links
from weave.net.namespace import run_there
from weave.noise.keys import KeyPair

pytestmark = LAB

UNABLE = KernelAbility("no WireGuard", "no ESP", "no ESP")
VXLAN_PORT, PROBE_PORT, OTHER_PORT = 6784, 6786, 5555
TABLE = ("table", "inet", "weave_links")


@pytest.fixture
def lan() -> Iterator[Underlay]:
    with underlay() as made:
        yield made


@asynccontextmanager
async def running(host: Host) -> AsyncIterator[SecureLinks]:
    """Have encrypted links on a host whose kernel can none of it: the gate remains."""
    config = CryptConfig(host.config, KeyPair.from_private(b"\1" * 32), 1, (b"p" * 32,), 1450, 1500, UNABLE)
    async with SecureLinks.open(config, netns=host.place.descriptor) as links, trio.open_nursery() as nursery:
        await nursery.start(links.run)
        yield links
        nursery.cancel_scope.cancel()


def leaves(host: Host, target: Host, port: int, version: int = 4) -> bool:
    """Say whether a datagram can be sent."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with run_there(host.place.descriptor, lambda: socket.socket(family, socket.SOCK_DGRAM)) as sock:
        try:
            sock.sendto(b"x", (str(target.address(version)), port))
        except PermissionError:
            return False
        return True


@pytest.mark.parametrize("version", [4, 6])
def test_vxlan_leaves_to_trusted_addresses_only(lan: Underlay, version: int) -> None:
    async def story() -> None:
        one, two, three = (lan.host(number) for number in (1, 2, 3))
        async with running(one) as links:
            await links.settle([two.address(version)])
            assert leaves(one, two, VXLAN_PORT, version)
            assert not leaves(one, three, VXLAN_PORT, version)
            assert leaves(one, three, OTHER_PORT, version)
            await links.settle([])
            assert not leaves(one, two, VXLAN_PORT, version)
    trio.run(story)


def test_it_is_closed_from_the_start_and_outlives_the_router(lan: Underlay) -> None:
    async def story() -> None:
        one, two = lan.host(1), lan.host(2)
        async with running(one):
            assert not leaves(one, two, VXLAN_PORT)
        assert not leaves(one, two, VXLAN_PORT)
        await wipe_links(one.config, netns=one.place.descriptor)
        assert leaves(one, two, VXLAN_PORT)
        assert "weave_links" not in one.place.run("nft", "list", "tables")
    trio.run(story)


def test_a_flushed_gate_is_closed_again(lan: Underlay) -> None:
    async def story() -> None:
        one, two = lan.host(1), lan.host(2)
        async with running(one) as links:
            one.place.run("nft", "delete", *TABLE)
            links.gate.doubt()

            async def closed() -> bool:
                return not leaves(one, two, VXLAN_PORT)
            await eventually(closed)
    trio.run(story)


def test_probes_from_the_underlay_do_not_come_in(lan: Underlay) -> None:
    async def story() -> None:
        one, two = lan.host(1), lan.host(2)
        async with running(one):
            assert leaves(two, one, PROBE_PORT)
            assert leaves(two, one, OTHER_PORT)
        counters = one.place.run("nft", "list", *TABLE)
        [line] = [line for line in counters.splitlines() if "probes outside tunnels" in line]
        assert "packets 1 " in line
    trio.run(story)


def test_nobody_speaks_from_an_inner_address_outside_wireguard(lan: Underlay) -> None:
    async def story() -> None:
        one, two = lan.host(1), lan.host(2)
        two.place.run("ip", "address", "add", "fd77:6561:7665::2/48", "dev", "u0", "nodad")
        one.place.run("ip", "address", "add", "fd77:6561:7665::1/48", "dev", "u0", "nodad")
        await eventually(lambda: two.place.reaches("fd77:6561:7665::1"))
        async with running(one):
            assert not await two.place.reaches("fd77:6561:7665::1")
    trio.run(story)
