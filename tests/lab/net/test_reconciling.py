"""What is there is adopted, what differs is repaired, what is as wanted is left alone."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_interface

import pytest
import trio

from weave.errors import EnvironmentFailure
from weave.net import Datapath, DatapathConfig, Endpoint, Remote, nft
from weave.net.namespace import run_there
from weave.net.sleeve import tap

from .hosts import LAB, Host, Place, Underlay, request, underlay

pytestmark = LAB
NETLINK_NETFILTER = 12
NFTABLES_GROUP = 1 << 6
ALL_ROUTE_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400
QUIET_S = 0.3


@pytest.fixture
def net() -> Iterator[Underlay]:
    with underlay() as made:
        yield made


class Monitor:
    """Hears every change of links, addresses, routes, neighbours, forwarding entries and nftables in a namespace."""

    def __init__(self, place: Place) -> None:
        self._sockets = [
            run_there(place.descriptor, partial(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, protocol))
            for protocol in (socket.NETLINK_ROUTE, NETLINK_NETFILTER)]
        for listener, groups in zip(self._sockets, (ALL_ROUTE_GROUPS, NFTABLES_GROUP), strict=True):
            listener.bind((0, groups))
            listener.settimeout(QUIET_S)

    def drain(self) -> list[int]:
        """Return the types of all messages until it has been quiet for a while."""
        heard = []
        for listener in self._sockets:
            while True:
                try:
                    heard.append(int.from_bytes(listener.recv(65536)[4:6], sys.byteorder))
                except TimeoutError:
                    break
        return heard

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


@contextmanager
def monitor(place: Place) -> Iterator[Monitor]:
    made = Monitor(place)
    try:
        while made.drain():
            continue
        yield made
    finally:
        made.close()


def endpoints(host: Host, count: int) -> list[Endpoint]:
    return [Endpoint(f"02:99:00:00:{n >> 8:02x}:{n & 255:02x}", (ip_interface(f"10.40.{n >> 8}.{n & 255}/12"),),
                     f"r{n}", "eth0", host.config.peer) for n in range(count)]


def state(place: Place) -> str:
    """Everything of ours, as text."""
    return "".join(place.run(*words.split()) for words in (
        "bridge fdb show br weave", "ip neigh show dev weave proto 119", "ip -br link", "ip -br addr",
        "nft list ruleset"))


@pytest.mark.parametrize("nft_version", ["nftables v1.0.2 (Lester Gooch)", None])
def test_doing_everything_twice_changes_nothing(net: Underlay, nft_version: str | None,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    async def version() -> str:
        return str(nft_version)

    if nft_version is not None:
        monkeypatch.setattr(nft, "version", version)

    async def main() -> None:
        host, other, third, inside = net.host(1), net.host(2), net.host(3), net.place()

        async def wish(path: Datapath) -> None:
            await path.set_remotes([other.remote(), third.remote(6)])
            await path.set_endpoints(endpoints(other, 300))
            await path.expose(ip_interface("10.32.0.100/12"))
            await path.attach(request(inside, "c1", "10.32.0.1/12", "fd00::1/64"))
            await path.reconcile()

        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await wish(path)
            with monitor(host.place) as ears:
                await path.reconcile()
                await wish(path)
                assert ears.drain() == []
        with monitor(host.place) as ears:
            async with Datapath.open(host.config, netns=host.place.descriptor) as path:
                await wish(path)
            assert ears.drain() == []

    trio.run(main)


def test_a_look_after_our_own_changes_lists_no_tables(net: Underlay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        host, other, inside = net.host(1), net.host(2), net.place()
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.set_remotes([other.remote()])
            await path.expose(ip_interface("10.32.0.100/12"))
            await path.attach(request(inside, "c1", "10.32.0.1/12"))
            await path.set_remotes([])
            with monkeypatch.context() as without:
                without.setattr(nft, "raw_listing", None)
                await path.reconcile(listing=False)
            path.counters()
            monkeypatch.setattr(nft, "raw_listing", None)
            with pytest.raises(TypeError):
                await path.reconcile(listing=False)

    trio.run(main)


def test_a_monitor_does_hear_changes(net: Underlay) -> None:
    host = net.host(1)
    with monitor(host.place) as ears:
        host.place.run("ip", "neigh", "add", "192.0.2.9", "lladdr", "02:00:00:00:00:09", "dev", "u0")
        host.place.run("nft", "add", "table", "inet", "x")
        assert len(ears.drain()) >= 2


def test_a_router_that_returns_adopts_everything_without_losing_a_packet(net: Underlay) -> None:
    async def main() -> None:
        one, two, inside = net.host(1), net.host(2), [net.place(), net.place()]
        async with Datapath.open(one.config, netns=one.place.descriptor) as here, Datapath.open(
                two.config, netns=two.place.descriptor) as there:
            first = await here.attach(request(inside[0], "c1", "10.32.0.1/12", "fd00::1/64"))
            second = await there.attach(request(inside[1], "c2", "10.32.0.2/12"))
            await here.set_remotes([two.remote()])
            await here.set_endpoints([two.endpoint(second)])
            await there.set_remotes([one.remote()])
            await there.set_endpoints([one.endpoint(first)])
        with inside[0].running("ping", "-i", "0.005", "-c", "200", "10.32.0.2") as ping:
            async with Datapath.open(one.config, netns=one.place.descriptor) as again:
                assert await again.attachments() == [first]
                await again.reconcile()
                await again.set_remotes([two.remote()])
                await again.set_endpoints([two.endpoint(second)])
                assert ping.stdout is not None
                assert "200 received, 0% packet loss" in await trio.to_thread.run_sync(ping.stdout.read)

    trio.run(main)


def test_a_subnet_is_masqueraded_while_an_address_wants_it_and_over_a_restart(net: Underlay) -> None:
    first, second, third = (ip_interface(f"10.32.0.{number}/12") for number in (100, 101, 102))

    async def main() -> None:
        host = net.host(1)
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.expose(first)
            await path.expose(second)
            await path.expose(third, masquerade=False)
            table = masquerading(host)
            await path.hide(second)
            assert masquerading(host) == table != ""
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            with monitor(host.place) as ears:
                await path.restore_exposed([first, third], [first])
                assert ears.drain() == []
            await path.expose(second, masquerade=False)
            assert masquerading(host) == table
            await path.hide(first)
            assert masquerading(host) == ""

    trio.run(main)


def test_the_bridge_is_given_back_only_what_is_ours(net: Underlay) -> None:
    ours, by_hand = ip_interface("10.32.0.100/12"), ip_interface("10.32.0.99/12")

    async def main() -> None:
        host = net.host(1)
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.expose(ours)
            host.place.run("ip", "addr", "add", str(by_hand), "dev", "weave")
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            assert set(path.bridge_addresses()) == {ours, by_hand}
            await path.restore_exposed([ours], [ours])
            assert (path.bridge_addresses(), set(path.bridge_state().addresses)) == ([ours], {ours, by_hand})
            host.place.run("ip", "addr", "flush", "dev", "weave")
            await path.reconcile()
            assert path.bridge_state().addresses == (ours,)

    trio.run(main)


def masquerading(host: Host) -> str:
    return host.place.run("nft", "list", "table", "inet", "weave_nat", check=False)


def test_what_an_earlier_router_knew_goes_when_the_new_one_knows_better(net: Underlay) -> None:
    async def main() -> None:
        host, other, third = net.host(1), net.host(2), net.host(3)
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            empty = state(host.place)
            await path.set_remotes([other.remote(), third.remote(6)])
            await path.set_endpoints([*endpoints(other, 20), *endpoints(third, 30)[20:]])
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            assert path.counters()["remote_endpoints"] == 30
            await path.set_remotes([])
            await path.set_endpoints([])
            host.place.run("ip", "link", "delete", "vxlan6-6784")
            assert state(host.place) == empty

    trio.run(main)


@pytest.mark.parametrize("damage", [
    "ip link delete vxlan-6784", "ip link delete weave", "ip link set weave down", "ip link set vxlan-6784 nomaster",
    "ip link set weave mtu 1300", "ip link set vxlan-6784 type bridge_slave learning on neigh_suppress off",
    "ip addr flush dev weave", "nft flush ruleset", "nft delete element inet weave vteps4 { 192.0.2.2 }",
    "bridge fdb del 02:99:00:00:00:03 dev vxlan-6784 self", "bridge fdb del 02:99:00:00:00:03 dev vxlan-6784 master",
    "bridge fdb append 00:00:00:00:00:00 dev vxlan-6784 dst 192.0.2.66", "ip neigh flush dev weave nud permanent",
])
def test_damage_is_repaired(net: Underlay, damage: str) -> None:
    async def main() -> None:
        host, other, inside = net.host(1), net.host(2), net.place()
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.set_remotes([other.remote()])
            await path.set_endpoints(endpoints(other, 8))
            await path.expose(ip_interface("10.32.0.100/12"))
            await path.attach(request(inside, "c1", "10.32.0.1/12"))
            await path.reconcile()
            host.place.run(*damage.split())
            await path.reconcile(listing=False)
            assert await inside.reaches("10.32.0.100")
            neighbours = host.place.run("ip", "neigh", "show", "dev", "weave", "proto", "119")
            assert neighbours.count("PERMANENT") == 9
            forwards = host.place.run("bridge", "fdb", "show", "dev", "vxlan-6784")
            assert (forwards.count("192.0.2.2"), forwards.count("extern_learn"), forwards.count(".66")) == (9, 8, 0)
            assert "192.0.2.2" in host.place.run("nft", "list", "table", "inet", "weave")
            with monitor(host.place) as ears:
                await path.reconcile()
                assert ears.drain() == []

    trio.run(main)


def test_changes_behind_our_back_do_not_stop_the_next_one(net: Underlay) -> None:
    async def main() -> None:
        host, other, third = net.host(1), net.host(2), net.host(3)
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.set_remotes([other.remote()])
            await path.set_endpoints(endpoints(other, 8))
            host.place.run("nft", "delete", "table", "inet", "weave")
            host.place.run("ip", "link", "delete", "vxlan-6784")
            await path.set_remotes([other.remote(), third.remote()])
            assert (path.counters()["remote_hosts"], path.counters()["remote_endpoints"]) == (2, 8)
            assert host.place.run("bridge", "fdb", "show", "dev", "vxlan-6784").count("extern_learn") == 8
            assert "192.0.2.3" in host.place.run("nft", "list", "table", "inet", "weave")

    trio.run(main)


@pytest.mark.parametrize("delay", [0, 0.001, 0.004, 0.008])
def test_a_cancelled_change_is_completed_by_the_next(net: Underlay, delay: float) -> None:
    async def main() -> None:
        host, other = net.host(1), net.host(2)
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.set_remotes([other.remote()])
            with trio.move_on_after(delay):
                await path.set_endpoints(endpoints(other, 1000))
            await path.set_endpoints(endpoints(other, 700))
            assert host.place.run("bridge", "fdb", "show", "dev", "vxlan-6784").count("extern_learn") == 700
            assert host.place.run("ip", "neigh", "show", "dev", "weave", "proto", "119").count("PERMANENT") == 700

    trio.run(main)


def test_a_device_of_an_older_layout_is_replaced(net: Underlay) -> None:
    async def main() -> None:
        host = net.host(1)
        host.place.run("ip", "link", "add", "vxlan-6784", "type", "vxlan", "id", "6784", "dstport", "6784")
        async with Datapath.open(host.config, netns=host.place.descriptor):
            info = json.loads(host.place.run("ip", "-j", "-d", "link", "show", "vxlan-6784"))[0]
            assert info["master"] == "weave"
            assert not info["linkinfo"]["info_data"]["learning"]

    trio.run(main)


async def refused(host: Host, config: DatapathConfig | None = None) -> str:
    with pytest.raises(EnvironmentFailure) as caught:
        async with Datapath.open(config or host.config, netns=host.place.descriptor):
            pass
    return str(caught.value)


def test_a_foreign_device_under_our_name_is_left_alone(net: Underlay) -> None:
    host = net.host(1)
    host.place.run("ip", "link", "add", "weave", "type", "veth", "peer", "name", "x")
    said = trio.run(refused, host)
    assert "choose another name with --bridge" in said
    assert "ip link delete weave" in said
    assert "veth" in host.place.run("ip", "-d", "link", "show", "weave")
    said = trio.run(refused, host, replace(host.config, bridge="x"))
    assert "choose another name with --bridge" in said
    assert "delete" not in said, "a name that a person gave may be that of the way to the world"


@pytest.mark.parametrize(("options", "words"), [
    ("udp6zerocsumrx", "A VXLAN device with the specified VNI already exists"), ("", "another overlay network"),
])
def test_a_port_in_use_by_another_overlay_is_said(net: Underlay, options: str, words: str) -> None:
    host = net.host(1)
    host.place.run(*f"ip link add flannel.1 up type vxlan id 6784 dstport 6784 {options}".split())
    assert words in trio.run(refused, host)


def forwards(host: Host, device: str) -> int:
    """How many endpoints are behind a device."""
    return host.place.run("bridge", "fdb", "show", "dev", device, check=False).count("extern_learn")


def test_a_peer_whose_device_cannot_be_made_stops_no_other(net: Underlay) -> None:
    async def main() -> None:
        host, other, third = net.host(1), net.host(2), net.host(3)
        holder = run_there(host.place.descriptor, partial(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM))
        with holder:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            holder.bind(("::", 6784))
            async with Datapath.open(host.config, netns=host.place.descriptor) as path:
                for _ in range(2):
                    await path.set_remotes([other.remote(), third.remote(6)])
                    await path.set_endpoints([*endpoints(other, 20), *endpoints(third, 30)[20:]])
                    assert (forwards(host, "vxlan-6784"), forwards(host, "vxlan6-6784")) == (20, 0)
                    assert "vxlan6-6784" in str(path.hindrance)
                await path.reconcile()
                holder.close()
                await path.set_remotes([other.remote(), third.remote(6)])
                assert (forwards(host, "vxlan-6784"), forwards(host, "vxlan6-6784")) == (20, 10)
                assert path.hindrance is None

    trio.run(main)


def test_a_host_whose_tap_devices_fail_serves_peers_by_vxlan(net: Underlay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        host, other, third = net.host(1), net.host(2), net.host(3)
        remotes = [other.remote(), Remote(third.config.peer, None)]
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            with monkeypatch.context() as broken:
                broken.setattr(tap, "DEVICE", "/dev/null")
                for _ in range(2):
                    await path.set_remotes(remotes)
                    await path.set_endpoints([*endpoints(other, 20), *endpoints(third, 30)[20:]])
                    assert (forwards(host, "vxlan-6784"), path.counters()["remote_endpoints"]) == (20, 20)
                    assert "TAP" in str(path.hindrance)
            await path.set_remotes([other.remote()])
            assert path.hindrance is None
            if tap.has_tap():
                await path.set_remotes(remotes)
                assert path.counters()["remote_endpoints"] == 30

    trio.run(main)


def test_a_host_without_nft_is_told_what_to_install(net: Underlay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    host = Host(Place(0), 1, 1500)
    assert "apt install nftables" in trio.run(refused, host)


def names(place: Place) -> set[str]:
    """The devices of a place."""
    return {item["ifname"] for item in json.loads(place.run("ip", "-j", "link"))}


def test_a_wipe_leaves_nothing(net: Underlay) -> None:
    async def main() -> None:
        host, other, inside = net.host(1), net.host(2), net.place()
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.set_remotes([other.remote(6)])
            await path.expose(ip_interface("10.32.0.100/12"))
            await path.attach(request(inside, "c1", "10.32.0.1/12"))
            await path.wipe()
        assert host.place.run("nft", "list", "ruleset") == ""
        assert (names(host.place), names(inside)) == ({"lo", "u0"}, {"lo"})

    trio.run(main)


def test_what_was_made_under_other_options_goes(net: Underlay) -> None:
    async def main() -> None:
        host, other, inside = net.host(1), net.host(2), net.place()
        exposed = ip_interface("10.32.0.100/12")
        foreign, former = ("ip link add vxlan-4789 type vxlan id 7 dstport 4789",
                           "ip link add vxlan-6784 master other type vxlan id 6784 dstport 6784")
        host.place.run(*foreign.split())
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.set_remotes([other.remote(), other.remote(6)])
            await path.expose(exposed)
            await path.attach(request(inside, "c1", "10.32.0.1/12"))
        config = replace(host.config, bridge="other", port=7000)
        async with Datapath.open(config, netns=host.place.descriptor) as path:
            assert not {"weave", "vxlan-6784", "vxlan6-6784"} & names(host.place)
            assert {"other", "vxlan-7000", "vxlan-4789"} <= names(host.place)
            assert path.routes_into(exposed.network) == []
            assert [item.container for item in await path.attachments()] == ["c1"]
            await path.expose(exposed)
            assert await host.place.reaches("10.32.0.1")
        host.place.run(*former.split())
        async with Datapath.open(config, netns=host.place.descriptor) as path:
            host.place.run(*former.split())
            await path.wipe()
            assert names(host.place) == {"lo", "u0", "vxlan-4789"}

    trio.run(main)


CHURN = """
import sys, trio
from pathlib import Path
from functools import partial
from ipaddress import ip_interface
from weave.net import AttachRequest, Datapath, DatapathConfig
from weave.names import PeerName
host, inside = int(sys.argv[1]), Path(f"/proc/self/fd/{sys.argv[2]}")
async def main():
    async with Datapath.open(DatapathConfig(PeerName("02:00:00:00:00:01")), netns=host) as path:
        print("open", flush=True)
        for n in range(1, 250):
            await path.attach(AttachRequest(f"c{n}", inside, (ip_interface(f"10.32.1.{n}/12"),), interface=f"e{n}"))
            if n % 3 == 0:
                await path.detach(f"c{n}", f"e{n}")
trio.run(main)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_router_killed_at_any_moment_leaves_nothing_that_the_next_cannot_remove(net: Underlay, seed: int) -> None:
    host, inside = net.host(1), net.place()
    descriptors = host.place.descriptor, inside.descriptor
    with subprocess.Popen([sys.executable, "-c", CHURN, *map(str, descriptors)], pass_fds=descriptors,
                          stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(random.Random(seed).uniform(0, 0.3))
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)

    async def main() -> None:
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            for found in await path.attachments():
                await path.detach(found.container, found.interface)
            await path.set_remotes([])
            await path.set_endpoints([])
            assert path.counters()["neighbours"] == 0
            assert "vethwe" not in host.place.run("ip", "link")

    trio.run(main)
