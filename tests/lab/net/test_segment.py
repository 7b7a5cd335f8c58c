"""Containers on several hosts talk as on one cable; what the kernel can answer itself never reaches the wire."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_interface

import pytest
import trio

from weave.net import Datapath

from .hosts import LAB, Host, Place, Underlay, eventually, output_with, request, underlay

pytestmark = LAB


@asynccontextmanager
async def segment(net: Underlay, *, version: int = 4, known: bool = True, mtu: int = 1500, ipv6: bool = False,
                  forbidden: bool = False, inside6: bool = True) -> AsyncIterator[
        tuple[list[Host], list[Datapath], list[Place]]]:
    """Two hosts with a container each: 10.32.0.N and, `inside6`, fd00::N; `forbidden`: new devices get no IPv6."""
    hosts = [net.host(1, mtu=mtu), net.host(2, mtu=mtu)]
    inside = [net.place(), net.place()]
    if forbidden:
        for host in hosts:
            host.place.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    async with AsyncExitStack() as stack:
        paths = [await stack.enter_async_context(
            Datapath.open(replace(host.config, ipv6=ipv6), netns=host.place.descriptor)) for host in hosts]
        made = [await path.attach(request(place, f"c{n}", f"10.32.0.{n}/12", *[f"fd00::{n}/64"] * inside6))
                for n, (path, place) in enumerate(zip(paths, inside, strict=True), 1)]
        for here, there in ((0, 1), (1, 0)):
            await paths[here].set_remotes([hosts[there].remote(version)])
            await paths[here].set_endpoints([hosts[there].endpoint(made[there])] if known else [])
        yield hosts, paths, inside


class Capture:
    """What tcpdump sees on a host's underlay."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def lines(self) -> list[str]:
        self._process.terminate()
        assert self._process.stdout is not None
        return [line for line in self._process.stdout.read().splitlines() if " > " in line or "ARP" in line]


@asynccontextmanager
async def captured(host: Host) -> AsyncIterator[Capture]:
    with host.place.running("tcpdump", "-nlei", "u0", "--immediate-mode", "-T", "vxlan", "udp port 6784") as process:
        await output_with(process, "listening on")
        yield Capture(process)


@pytest.fixture
def net() -> Iterator[Underlay]:
    with underlay() as made:
        yield made


@pytest.mark.parametrize("version", [4, 6])
def test_containers_on_two_hosts_reach_each_other(net: Underlay, version: int) -> None:
    async def main() -> None:
        async with segment(net, version=version) as (_, _, (one, two)):
            assert await one.reaches("10.32.0.2")
            assert await two.reaches("fd00::1")
            assert await one.reaches("10.32.0.2", "-s", "1402", "-M", "do"), "as large as the underlay carries"

    trio.run(main)


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_carries_data_even_where_the_underlay_is_smaller_than_promised(net: Underlay, version: int) -> None:
    async def main() -> None:
        async with segment(net, version=version) as (_, _, (one, two)):
            with two.running("iperf3", "-s", "-1", "--forceflush") as server:
                await output_with(server, "listening")
                answer = await one.run_async("iperf3", "-c", "10.32.0.2", "-n", "20M", "--connect-timeout", "2000")
            assert "receiver" in answer

    trio.run(main)


@pytest.mark.parametrize("mtu", [1500, 1300])
def test_an_ipv6_range_is_served_whatever_the_host_allows(net: Underlay, mtu: int) -> None:
    async def main() -> None:
        async with segment(net, mtu=mtu, ipv6=True, forbidden=True) as (_, paths, (one, _)):
            assert {path.mtu for path in paths} == {max(mtu - 70, 1280)}
            assert await one.reaches("10.32.0.2", "-s", str(paths[0].mtu - 28), "-M", "dont")
            assert await one.reaches("fd00::2", "-s", str(paths[0].mtu - 48), "-M", "do")

    trio.run(main)


@pytest.mark.parametrize(("mtu", "forbidden"), [(1500, True), (1300, False)])
def test_a_bridge_without_ipv6_serves_ipv4_to_peers_that_have_both(
        net: Underlay, mtu: int, forbidden: bool) -> None:
    async def main() -> None:
        async with segment(net, mtu=mtu, forbidden=forbidden, inside6=False) as (hosts, paths, (one, _)):
            both = replace(hosts[1].endpoint((await paths[1].attachments())[0]), addresses=(
                ip_interface("10.32.0.2/12"), ip_interface("fd00::2/64")))
            await paths[0].set_endpoints([both])
            assert await one.reaches("10.32.0.2")
            assert paths[0].counters()["neighbours"] == 2

    trio.run(main)


def test_known_addresses_cause_no_arp_and_no_flooding_on_the_wire(net: Underlay) -> None:
    async def main() -> None:
        third = net.host(3)
        async with segment(net) as (hosts, paths, (one, _)):
            await paths[0].set_remotes([hosts[1].remote(), third.remote()])
            async with captured(hosts[0]) as wire, captured(third) as elsewhere:
                assert await one.reaches("10.32.0.2")
                assert await one.reaches("fd00::2")
                seen, flooded = wire.lines(), elsewhere.lines()
        assert any("VXLAN" in line for line in seen)
        assert not [line for line in seen if "ARP" in line or "neighbor sol" in line]
        assert not [line for line in flooded if "ARP" in line or "10.32." in line or "fd00::" in line]

    trio.run(main)


def test_known_addresses_of_the_same_host_cause_no_arp_on_the_wire(net: Underlay) -> None:
    async def main() -> None:
        async with segment(net) as (hosts, paths, (one, _)):
            neighbour = net.place()
            await paths[0].attach(request(neighbour, "c9", "10.32.0.9/12"))
            async with captured(hosts[0]) as wire:
                assert await one.reaches("10.32.0.9")
                seen = wire.lines()
        assert [line for line in seen if "ARP" in line] == []

    trio.run(main)


def test_unknown_addresses_are_found_by_flooding(net: Underlay) -> None:
    async def main() -> None:
        async with segment(net, known=False) as (_, _, (one, _)):
            assert await one.reaches("10.32.0.2")

    trio.run(main)


def test_a_stranger_cannot_inject_packets(net: Underlay) -> None:
    async def main() -> None:
        async with segment(net) as (hosts, paths, (one, _)):
            stranger, outsider = net.host(3), net.place()
            async with Datapath.open(stranger.config, netns=stranger.place.descriptor) as third:
                await third.set_remotes([hosts[0].remote()])
                await third.attach(request(outsider, "evil", "10.32.0.66/12"))
                assert not await outsider.reaches("10.32.0.1")
                await paths[0].reconcile()
                assert paths[0].counters()["guard_dropped_total"] > 0
                await paths[0].set_remotes([hosts[1].remote(), stranger.remote()])
                await eventually(lambda: outsider.reaches("10.32.0.1"))
                assert await one.reaches("10.32.0.2")

    trio.run(main)


def test_a_host_that_lies_on_the_way_passes_the_vxlan_of_others_on(net: Underlay) -> None:
    async def main() -> None:
        between = net.host(3)
        between.place.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
                          "net.ipv4.conf.u0.send_redirects=0")
        async with segment(net) as (hosts, _, (one, _)), \
                Datapath.open(between.config, netns=between.place.descriptor) as path:
            await path.expose(request(one, "x", "10.32.0.100/12").addresses[0])
            await path.set_remotes([hosts[0].remote()])
            for host, other in zip(hosts, reversed(hosts), strict=True):
                host.place.run("ip", "route", "add", str(other.address()), "via", str(between.address()))
            async with captured(between) as wire:
                assert await one.reaches("10.32.0.2")
                assert [line for line in wire.lines() if "VXLAN" in line]

    trio.run(main)


def test_the_bridge_takes_part_once_it_is_exposed(net: Underlay) -> None:
    async def main() -> None:
        outside = net.host(7)
        async with segment(net) as (hosts, paths, (one, _)):
            address = request(one, "x", "10.32.0.100/12").addresses[0]
            await paths[0].expose(address)
            assert await hosts[0].place.reaches("10.32.0.1")
            assert await hosts[0].place.reaches("10.32.0.2")
            await one.run_async("ip", "route", "add", "default", "via", "10.32.0.100")
            assert await one.reaches(str(outside.address())), "masqueraded as the host"
            await paths[0].expose(address, masquerade=False)
            assert not await one.reaches(str(outside.address()))
            await paths[0].hide(address)
            assert not await hosts[0].place.reaches("10.32.0.1")
            assert paths[0].bridge_state().addresses == ()

    trio.run(main)


def test_a_container_that_moves_is_reached_at_its_new_host(net: Underlay) -> None:
    async def main() -> None:
        third = net.host(3)
        async with segment(net) as (hosts, paths, (one, two)), Datapath.open(
                third.config, netns=third.place.descriptor) as path:
            assert await one.reaches("10.32.0.2")
            await paths[1].detach("c2", "ethwe")
            await paths[0].set_endpoints([])
            moved = await path.attach(request(two, "c2", "10.32.0.2/12"))
            first = (await paths[0].attachments())[0]
            await path.set_remotes([hosts[0].remote()])
            await path.set_endpoints([hosts[0].endpoint(first)])
            await paths[0].set_remotes([hosts[1].remote(), third.remote()])
            await paths[0].set_endpoints([third.endpoint(moved)])
            with trio.fail_after(4):
                assert await one.reaches("10.32.0.2"), "told at once, not when its neighbour entry times out"

    trio.run(main)


def test_underlay_addresses_are_those_other_hosts_can_use(net: Underlay) -> None:
    async def main() -> None:
        async with segment(net) as (hosts, paths, _):
            await paths[0].add_bridge_address(request(Place(0), "x", "10.32.0.100/12").addresses[0])
            assert paths[0].underlay_addresses() == (hosts[0].address(4), hosts[0].address(6))
            assert paths[0].mtu == 1430
            assert paths[0].underlay_mtu == 1500

    trio.run(main)


