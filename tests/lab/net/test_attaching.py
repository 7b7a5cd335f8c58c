"""A container gets its interface, all of it or nothing, and loses it without a trace."""

import errno
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
import trio.testing

from weave.errors import EnvironmentFailure, LocalError
from weave.net import Datapath, Grant, attaching, limits
from weave.netlink.connection import Netlink, NetlinkFailure

from .hosts import DEADLINE_S, LAB, Host, Place, Underlay, request, underlay

pytestmark = LAB


@pytest.fixture
def net() -> Iterator[Underlay]:
    with underlay() as made:
        yield made


def with_datapath(net: Underlay, body: Callable[[Datapath, Host], Awaitable[None]]) -> None:
    async def main() -> None:
        host = net.host(1)
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await body(path, host)

    trio.run(main)


def names(place: Place) -> list[str]:
    return sorted(item["ifname"] for item in json.loads(place.run("ip", "-j", "link")))


def link(place: Place, name: str) -> dict[str, object]:
    found: list[dict[str, object]] = json.loads(place.run("ip", "-j", "-d", "link", "show", "dev", name))
    return found[0]


def addresses(place: Place, name: str) -> list[str]:
    info = json.loads(place.run("ip", "-j", "addr", "show", "dev", name))[0]["addr_info"]
    return [f"{item['local']}/{item['prefixlen']}" for item in info if item["scope"] == "global"]


def setting(place: Place, name: str) -> str:
    return place.run("cat", f"/proc/sys/net/{name}").strip()


def test_an_interface_comes_up_with_all_that_was_asked_for(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        done = await path.attach(request(inside, "c1", "10.32.0.1/12", "fd00::1/64", interface="eth0", mtu=1400,
                                         mac="02:11:22:33:44:55", gateway=ip_address("10.32.0.254")))
        assert (done.mac, done.mtu, done.addresses) == ("02:11:22:33:44:55", 1400, request(
            inside, "c1", "10.32.0.1/12", "fd00::1/64").addresses)
        far, near = link(inside, "eth0"), link(host.place, done.host_interface)
        assert (far["address"], far["mtu"], far["operstate"]) == ("02:11:22:33:44:55", 1400, "UP")
        assert addresses(inside, "eth0") == ["10.32.0.1/12", "fd00::1/64"]
        assert (near["ifalias"], near["master"], near["operstate"]) == ("c1 eth0", "weave", "UP")
        port = near["linkinfo"]["info_slave_data"]  # type: ignore[index]
        assert (port["hairpin"], port["learning"]) == (True, True)
        routes = {(item["dst"], item.get("gateway")) for item in json.loads(inside.run("ip", "-j", "route"))}
        assert routes >= {("default", "10.32.0.254"), ("224.0.0.0/4", None)}
        assert await inside.reaches("127.0.0.1"), "lo is up"

    with_datapath(net, body)


def test_a_container_believes_no_advertised_router_and_forgets_neighbours_soon(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        inside.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        await path.attach(request(inside, "c1", "10.32.0.1/12", "fd00::1/64", interface="eth0"))
        assert addresses(inside, "eth0") == ["10.32.0.1/12", "fd00::1/64"], "IPv6 is switched on where it is needed"
        assert setting(inside, "ipv6/conf/eth0/accept_ra") == setting(host.place, "ipv6/conf/weave/accept_ra") == "0"
        assert setting(inside, "ipv4/neigh/eth0/base_reachable_time_ms") == "5000"
        assert setting(inside, "ipv4/neigh/eth0/ucast_solicit") == "1"

    with_datapath(net, body)


def test_asking_twice_changes_nothing_and_answers_the_same(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        wish = request(net.place(), "c1", "10.32.0.1/12", gateway=ip_address("10.32.0.254"))
        first = await path.attach(wish)
        before = link(host.place, first.host_interface)["ifindex"]
        assert await path.attach(wish) == first
        assert link(host.place, first.host_interface)["ifindex"] == before

    with_datapath(net, body)


def test_more_addresses_are_added_and_taken_away_again(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        await path.attach(request(inside, "c1", "10.32.0.1/12"))
        both = await path.attach(request(inside, "c1", "10.32.0.2/12"))
        assert addresses(inside, "ethwe") == ["10.32.0.1/12", "10.32.0.2/12"] == list(map(str, both.addresses))
        await path.remove_addresses("c1", "ethwe", inside.path, both.addresses[:1])
        await path.remove_addresses("c1", "ethwe", inside.path, both.addresses[:1])
        assert addresses(inside, "ethwe") == ["10.32.0.2/12"]
        assert [list(map(str, found.addresses)) for found in await path.attachments()] == [["10.32.0.2/12"]]

    with_datapath(net, body)


def test_what_a_container_gave_itself_is_not_its_own(net: Underlay) -> None:
    """Neither when it is asked for something else, nor at a look, nor for the next router, which has the record."""
    async def main() -> None:
        host, inside, victim = net.host(1), net.place(), net.place()
        async with Datapath.open(host.config, netns=host.place.descriptor) as path:
            await path.attach(request(victim, "c2", "10.32.0.2/12"))
            first = await path.attach(request(inside, "c1", "10.32.0.1/12"))
            inside.run("ip", "link", "set", "ethwe", "address", "02:00:00:00:00:99")
            inside.run("ip", "addr", "add", "10.32.0.2/12", "dev", "ethwe")
            assert await path.attach(request(inside, "c1", "10.32.0.1/12")) == first
            await path.reconcile()
            before = sources(host), neighbours(host)
        grants = {("c1", "ethwe"): Grant(first.mac, first.addresses)}
        async with Datapath.open(host.config, netns=host.place.descriptor, grants=grants) as path:
            assert (await path.attachments())[0] == first
            await path.reconcile()
            assert (sources(host), neighbours(host)) == before

    trio.run(main)


def sources(host: Host) -> str:
    """Return what containers may send from."""
    return host.place.run("nft", "-s", "list", "table", "bridge", "weave_ports")


def neighbours(host: Host) -> list[str]:
    """Return whom the bridge answers for."""
    return sorted(host.place.run("ip", "neigh", "show", "dev", "weave", "proto", "119").splitlines())


def test_an_address_is_taken_from_a_container_whose_namespace_is_found_again(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        done = await path.attach(request(inside, "c1", "10.32.0.1/12", "10.32.0.2/12"))
        with inside.running("sleep", "60"):
            await path.remove_addresses("c1", "ethwe", None, done.addresses[1:])
        assert addresses(inside, "ethwe") == ["10.32.0.1/12"]
        await path.remove_addresses("nobody", "ethwe", None, done.addresses)

    with_datapath(net, body)


def test_a_container_has_several_interfaces(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        one = await path.attach(request(inside, "c1", "10.32.0.1/12", interface="eth0"))
        two = await path.attach(request(inside, "c1", "10.33.0.1/16", interface="eth1"))
        assert one.mac != two.mac
        await path.detach("c1", "eth0")
        assert names(inside) == ["eth1", "lo"]
        assert [found.interface for found in await path.attachments()] == ["eth1"]

    with_datapath(net, body)


def test_the_hosts_own_namespace_is_refused(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        with pytest.raises(LocalError, match="host's own network namespace"):
            await path.attach(request(host.place, "c1", "10.32.0.1/12"))

    with_datapath(net, body)


@pytest.mark.parametrize("what", ["/proc/self/ns/mnt", "/etc/passwd", "/proc/99999999/ns/net", "fifo"])
def test_what_is_no_network_namespace_is_refused(net: Underlay, what: str, tmp_path: Path) -> None:
    async def body(path: Datapath, host: Host) -> None:
        where = Path(what) if what != "fifo" else tmp_path / "fifo"
        if what == "fifo":
            os.mkfifo(where)
        with pytest.raises(LocalError, match="network namespace"):
            await path.attach(replace(request(host.place, "c1", "10.32.0.1/12"), netns=where))

    with_datapath(net, body)


@pytest.mark.parametrize(("change", "words"), [
    ({"interface": "a/b"}, "cannot name an interface"), ({"container": "a b"}, "no container id"),
    ({"mac": "01:00:00:00:00:01"}, "no MAC"), ({"mtu": 9000}, "MTU of 9000"), ({"mtu": 100}, "MTU of 100"),
])
def test_what_cannot_be_is_refused_at_once(net: Underlay, change: dict[str, object], words: str) -> None:
    async def body(path: Datapath, host: Host) -> None:
        with pytest.raises(LocalError, match=words):
            await path.attach(replace(request(net.place(), "c1", "10.32.0.1/12"), **change))  # type: ignore[arg-type]
        assert names(host.place) == ["lo", "u0", "vxlan-6784", "weave"]

    with_datapath(net, body)


def test_a_taken_interface_name_is_refused_and_nothing_is_left(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        inside.run("ip", "link", "add", "eth0", "type", "bridge")
        with pytest.raises(LocalError, match="another interface of that name"):
            await path.attach(request(inside, "c1", "10.32.0.1/12", interface="eth0"))
        assert names(host.place) == ["lo", "u0", "vxlan-6784", "weave"]
        assert names(inside) == ["eth0", "lo"]

    with_datapath(net, body)


def test_a_failure_midway_leaves_nothing(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        inside.run("ip", "link", "add", "other", "up", "type", "bridge")
        inside.run("ip", "route", "add", "default", "dev", "other")
        wish = request(inside, "c1", "10.32.0.1/12", gateway=ip_address("10.32.0.254"))
        with pytest.raises(EnvironmentFailure, match=r"add a route to 0.0.0.0/0: File exists"):
            await path.attach(wish)
        assert names(host.place) == ["lo", "u0", "vxlan-6784", "weave"]
        assert names(inside) == ["lo", "other"]
        assert await path.attachments() == []

    with_datapath(net, body)


def test_a_failure_to_add_keeps_what_was_there(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        await path.attach(request(inside, "c1", "10.32.0.1/12"))
        inside.run("ip", "link", "add", "other", "up", "type", "bridge")
        inside.run("ip", "route", "add", "default", "dev", "other")
        with pytest.raises(EnvironmentFailure, match="File exists"):
            await path.attach(request(inside, "c1", "10.32.0.2/12", gateway=ip_address("10.32.0.254")))
        assert addresses(inside, "ethwe") == ["10.32.0.1/12"]

    with_datapath(net, body)


def test_a_container_restarted_under_its_id_gets_a_new_cable(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        old, new = net.place(), net.place()
        await path.attach(request(old, "c1", "10.32.0.1/12"))
        await path.attach(request(new, "c1", "10.32.0.1/12"))
        assert (names(old), names(new)) == (["lo"], ["ethwe", "lo"])

    with_datapath(net, body)


def test_a_renamed_interface_follows_the_mtu_of_the_segment(net: Underlay) -> None:
    async def body(path: Datapath, _: Host) -> None:
        inside = net.place()
        await path.attach(request(inside, "c1", "10.32.0.1/12"))
        inside.run("ip", "link", "set", "ethwe", "down")
        inside.run("ip", "link", "set", "ethwe", "name", "net0")
        inside.run("ip", "link", "add", "ethwe", "type", "bridge")
        with inside.running("sleep", "60"):  # by its process the namespace is found
            for mtu in (1200, 1400):
                await path.set_mtu(mtu)
                assert (link(inside, "net0")["mtu"], link(inside, "ethwe")["mtu"]) == (mtu, 1500)

    with_datapath(net, body)


def test_detaching_what_is_gone_succeeds(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        done = await path.attach(request(inside, "c1", "10.32.0.1/12"))
        host.place.run("ip", "link", "delete", done.host_interface)
        assert await path.attachments() == []
        await path.detach("c1", "ethwe")
        await path.detach("c1", "ethwe")
        await path.detach("never heard of", "")

    with_datapath(net, body)


def test_a_look_while_a_container_is_taken_off_does_not_bring_it_back(net: Underlay,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    remove, looked = attaching.remove, threading.Event()

    def remove_late(name: str, netlink: Netlink) -> bool:
        assert looked.wait(DEADLINE_S)
        return remove(name, netlink)

    async def body(path: Datapath, host: Host) -> None:
        before = path.counters()["neighbours"]
        await path.attach(request(net.place(), "c1", "10.32.0.1/12"))
        assert path.counters()["neighbours"] == before + 1
        monkeypatch.setattr(attaching, "remove", remove_late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(path.detach, "c1", "ethwe")
            await trio.testing.wait_all_tasks_blocked()
            assert len(await path.attachments()) == 1
            looked.set()
        assert path.counters()["neighbours"] == before

    with_datapath(net, body)


def test_a_container_that_cannot_be_taken_off_is_still_answered_for(net: Underlay,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise NetlinkFailure("remove it", errno.EBUSY)

    async def body(path: Datapath, host: Host) -> None:
        before = path.counters()["neighbours"]
        await path.attach(request(net.place(), "c1", "10.32.0.1/12"))
        monkeypatch.setattr(attaching, "remove", refuse)
        with pytest.raises(NetlinkFailure):
            await path.detach("c1", "ethwe")
        await path.attach(request(net.place(), "c2", "10.32.0.2/12"))
        assert path.counters()["neighbours"] == before + 2

    with_datapath(net, body)


def test_a_hundred_containers_come_and_go_without_a_trace(net: Underlay) -> None:
    async def body(path: Datapath, host: Host) -> None:
        inside = net.place()
        before = len(os.listdir("/proc/self/fd")), names(host.place), path.counters()["neighbours"]

        async def cycle(number: int) -> None:
            container, interface = f"c{number}", f"eth{number}"
            await path.attach(request(inside, container, f"10.32.1.{number}/12", interface=interface))
            await path.detach(container, interface)

        async with trio.open_nursery() as nursery:
            for number in range(1, 101):
                nursery.start_soon(cycle, number)
        assert names(inside) == ["lo"]
        for thread in threading.enumerate():
            if thread.name == "namespace job":
                await trio.to_thread.run_sync(thread.join)
        kept = min(len(os.listdir("/proc/self/fd")) - before[0], limits.KERNEL_JOBS)
        assert (len(os.listdir("/proc/self/fd")) - kept, names(host.place), path.counters()["neighbours"]) == before

    with_datapath(net, body)


@pytest.mark.parametrize("delay", [0, 0.0003, 0.001, 0.002, 0.005])
def test_a_cancelled_attach_happened_or_did_not(net: Underlay, delay: float) -> None:
    async def body(path: Datapath, host: Host) -> None:
        done = None
        with trio.move_on_after(delay):
            done = await path.attach(request(net.place(), "c1", "10.32.0.1/12"))
        assert len(await path.attachments()) == (done is not None)
        assert len(names(host.place)) == 4 + (done is not None)

    with_datapath(net, body)
