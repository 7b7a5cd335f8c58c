"""What CNI asks beyond the table of `tests.conformance.cni`: capabilities, chains, failures, and a router that is down.

    h1   router <- weave-net (the script), as a runtime calls it
    h2   router, to see what others learn
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cni.plugin import Container, Plugin, container, nothing_leaks, sweep_namespaces
from tests.conformance.cni.plugins import REFERENCE, SHIM, install_program
from tests.lab.world import LAB, Box, World, world
from weave.lab import kernel
from weave.lab.names import SWITCH, UNDERLAY, namespace
from weave.router.spool import DIRECTORY, file_name

pytestmark = LAB
VERSION = "1.1.0"
OUTSIDE = UNDERLAY.network_address + 252
"""An address of the underlay that knows nothing of containers."""
WHO_IS_THERE = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000))
server.settimeout(20)
print("ready", flush=True)
print(server.accept()[1][0], flush=True)
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[World]:
    sweep_namespaces()
    with world("cni", 2, ("--no-masq-local",)) as made:
        yield made


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("cni-bin")
    for name in ("weave-net", "weave-ipam"):
        (place / name).symlink_to(SHIM)
    (place / "c").mkdir()
    install_program(place / "c" / "weave-net")
    return place


def held_on(hosts: World) -> dict[str, list[str]]:
    owned = hosts.lab.client("h1").value("GET", "ip")
    assert isinstance(owned, dict)
    return {row["containerid"]: row["addrs"] for row in owned["owned"] if row["containerid"] != "weave:expose"}


@pytest.fixture
def plugin(hosts: World, programs: Path) -> Plugin:
    return make(hosts, programs, "weave-net")


def make(hosts: World, programs: Path, kind: str, **conf: Any) -> Plugin:
    return Plugin(
        name=kind, program=programs / kind, configuration={"name": "pods", "type": kind, **conf},
        host=namespace(hosts.lab.name, "h1"), path=f"{programs}:{REFERENCE}",
        environment={"WEAVE_SOCKET": str(hosts.lab.socket("h1"))},
        held=lambda: sum(map(len, held_on(hosts).values())))


@contextmanager
def added(plugin: Plugin, cni_args: str = "", **extra: Any) -> Iterator[Container]:
    with container(plugin, VERSION, args=cni_args, extra=extra) as made:
        made.add()
        yield made


# -- what a runtime may ask for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "extra"), [
    ("", {"runtimeConfig": {"ips": ["10.40.77.1/12"], "mac": "02:42:AC:11:00:02"}}),
    ("MAC=02:42:ac:11:00:02", {"args": {"cni": {"ips": ["10.40.77.1"]}}}),
    ("IgnoreUnknown=1;IP=10.40.77.1;MAC=02:42:ac:11:00:02", {}),
], ids=["capabilities", "args", "CNI_ARGS"])
def test_address_and_mac_can_be_chosen(plugin: Plugin, args: str, extra: dict[str, Any]) -> None:
    with nothing_leaks(plugin), added(plugin, args, **extra) as made:
        assert made.addresses() == ["10.40.77.1/12"]
        assert made.result["interfaces"][2]["mac"] == "02:42:ac:11:00:02"
        with container(plugin, VERSION, args=args, extra=extra) as other:
            assert "10.40.77.1" in other.call("ADD").check_failure(100).value["msg"]


def test_a_pod_is_known_by_its_labels_and_names_everywhere(plugin: Plugin, hosts: World) -> None:
    args = "K8S_POD_UID=12-ab;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c0ffee"
    extra = {"runtimeConfig": {"aliases": ["shopfront", "deep.name"]}, "podNames": True, "weaveDNS": True}
    with added(plugin, args, **extra) as made:
        labels = {"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop",
                  "io.kubernetes.pod.uid": "12-ab"}
        address = made.result["ips"][0]["address"].partition("/")[0]
        names = {"shopfront.weave.local.", "deep.name.weave.local.", "web-0.shop.weave.local."}
        hosts.wait("h2", lambda seen: any(row["Labels"] == labels for row in seen["Endpoints"]), "labels of the pod")
        hosts.wait("h2", lambda seen: names <= {row["Hostname"] for row in seen["DNS"]["Entries"]
                                                if row["Address"] == address}, "names of the pod")
        server = made.result["ips"][0]["gateway"]
        assert made.result["dns"] == {"nameservers": [server], "domain": "weave.local", "search": ["weave.local"]}
        answer = kernel.run(*kernel.inside(str(made.netns), "dig", "+short", f"@{server}", "shopfront.weave.local"))
        assert answer.strip() == address


def hairpin(made: Container) -> bool:
    near = made.result["interfaces"][1]["name"]
    [port] = json.loads(kernel.run("bridge", "-n", made.plugin.host, "-d", "-j", "link", "show", "dev", near))
    return bool(port["hairpin"])


def test_mtu_gateway_and_routes_are_those_of_the_configuration(plugin: Plugin) -> None:
    ipam = {"subnet": "10.40.0.0/16", "gateway": "10.40.255.1",
            "routes": [{"dst": "192.0.2.0/24"}, {"dst": "198.18.0.0/15", "gw": "10.40.255.2"}]}
    with added(plugin, ipam=ipam, mtu=1300, hairpinMode=False, dns={"nameservers": ["192.0.2.53"]}) as made:
        routes = {route["dst"]: route.get("gateway") for route in json.loads(made.ip("-j", "route"))}
        assert routes == {"10.40.0.0/16": None, "192.0.2.0/24": "10.40.255.1", "198.18.0.0/15": "10.40.255.2"}
        assert [link["mtu"] for link in json.loads(made.ip("-j", "link", "show", "eth0"))] == [1300]
        assert made.result["ips"][0]["gateway"] == "10.40.255.1"
        assert made.result["dns"] == {"nameservers": ["192.0.2.53"]}
        assert not hairpin(made)
        made.later("CHECK").check_success()
    with added(plugin) as usual:
        assert hairpin(usual)


def test_bandwidth_is_limited_both_ways_or_refused(plugin: Plugin, hosts: World) -> None:
    rates = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 2_147_483_647}
    with added(plugin, runtimeConfig={"bandwidth": rates}) as made:
        inside = json.loads(made.ip("-j", "-d", "link", "show", "eth0"))[0]
        assert inside["qdisc"] == "tbf"
        host = namespace(hosts.lab.name, "h1")
        near = made.result["interfaces"][1]["name"]
        shown = json.loads(kernel.run("tc", "-n", host, "-j", "qdisc", "show", "dev", near))[0]
        assert (shown["kind"], shown["options"]["rate"], shown["options"]["burst"]) == ("tbf", 1_000_000, 100_000)
    with container(plugin, VERSION, extra={"runtimeConfig": {"bandwidth": {"ingressRate": 1000}}}) as half:
        assert "ingressBurst" in half.call("ADD").check_failure(7).value["msg"]


def measured(client: Box, server: str, *, reverse: bool) -> float:
    """Return how many bits a second TCP carries to a server, or from it."""
    said = client.run("iperf3", "--json", "-c", server, "-t", "2", *(["--reverse"] if reverse else []))
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"])


@pytest.mark.skipif(shutil.which("iperf3") is None, reason="the machine has no iperf3, which measures")
def test_a_limited_container_sends_and_gets_as_much_as_it_may(plugin: Plugin, hosts: World) -> None:
    rates = {"ingressRate": 40_000_000, "egressRate": 20_000_000, "ingressBurst": 400_000, "egressBurst": 400_000}
    with added(plugin, runtimeConfig={"bandwidth": rates}) as limited, added(plugin) as free, \
            hosts.box("h2", "far") as far:
        server = hosts.attach("h2", far)[0].partition("/")[0]
        hosts.wait("h1", lambda seen: any(row["ContainerID"] == far.netns for row in seen["Endpoints"]), "endpoint")
        with far.running("iperf3", "-s", "--forceflush") as serving:
            assert serving.stdout is not None
            hosts.until(serving.stdout.readline, lambda line: "listening" in line, "iperf3 does not listen")
            sent, got = (measured(Box(str(limited.netns)), server, reverse=way) for way in (False, True))
            freely = min(measured(Box(str(free.netns)), server, reverse=way) for way in (False, True))
    assert freely > 3 * rates["ingressRate"], "this machine is too slow to tell"
    assert 0.4 < sent / rates["egressRate"] < 1.2
    assert 0.4 < got / rates["ingressRate"] < 1.2


def test_another_bridge_and_impossible_values_are_refused(plugin: Plugin) -> None:
    for extra, word in (({"bridge": "cni0"}, "bridge"), ({"mtu": 9999}, "9999"), ({"mtu": "big"}, "mtu"),
                        ({"ipam": {"subnet": "172.16.0.0/16"}}, "range"), ({"ipam": {"type": "../x"}}, "ipam.type"),
                        ({"ipam": {"type": "no-such-plugin"}}, "no-such-plugin"),
                        ({"runtimeConfig": {"ips": ["203.0.113.9"]}}, "prefix length")):
        with nothing_leaks(plugin), container(plugin, VERSION, extra=extra) as made:
            assert word in made.call("ADD").check_failure().value["msg"]
            assert not made.has_interface()


# -- with other plugins --------------------------------------------------------------------------------------------


def test_what_came_before_in_the_chain_is_passed_on(plugin: Plugin) -> None:
    before = {"cniVersion": VERSION, "dns": {"domain": "example.com"},
              "interfaces": [{"name": "first0", "sandbox": "/run/netns/x", "mac": "02:00:00:00:00:01"}],
              "ips": [{"address": "192.0.2.1/24", "interface": 0}],
              "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.254"}]}
    with added(plugin, prevResult=before) as made:
        result = made.result
        assert result["interfaces"][0] == before["interfaces"][0]
        assert [item["interface"] for item in result["ips"]] == [0, 3]
        assert result["interfaces"][3]["name"] == "eth0"
        assert result["routes"] == before["routes"], "a default route was there already"
        assert result["dns"] == before["dns"]


def test_portmap_works_behind_us(plugin: Plugin, hosts: World, outside: str) -> None:
    with added(plugin) as made:
        kept_for(made, hosts)
        portmap = Plugin("portmap", REFERENCE / "portmap", {
            "name": "pods", "type": "portmap", "capabilities": {"portMappings": True}, "snat": True,
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 7000, "protocol": "tcp"}]},
            "prevResult": {**made.result, "cniVersion": "1.0.0"}}, plugin.host, plugin.held)
        chained = Container(portmap, "1.0.0", made.ident, made.netns)
        said = chained.call("ADD")
        if "iptables" in said.stdout:
            pytest.skip("the host has no iptables, which portmap needs")
        assert said.check_success().value["ips"] == made.result["ips"]
        address = made.result["ips"][0]["address"].partition("/")[0]
        host = str(UNDERLAY.network_address + 1)
        assert seen_by(Box(str(made.netns)), address, outside, (host, 8080)) == str(OUTSIDE)
        chained.call("DEL").check_success()


def test_a_failure_after_delegation_leaves_nothing(plugin: Plugin, tmp_path: Path) -> None:
    ipam = {"type": "host-local", "subnet": "10.74.0.0/24", "dataDir": str(tmp_path)}
    with container(plugin, "1.0.0", extra={"ipam": ipam}) as made:  # the newest that host-local knows
        made.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
        made.call("ADD").check_failure()
        assert [path.name for path in (tmp_path / "pods").glob("10.*")] == []
        made.ip("link", "delete", "eth0")
        made.add()
        made.call("ADD").check_failure(100)
        assert len(list((tmp_path / "pods").glob("10.*"))) == 1, "a refused ADD released the address that is in use"


def test_ipam_alone_gives_checks_collects_and_releases(hosts: World, programs: Path) -> None:
    ipam = make(hosts, programs, "weave-ipam", ipam={"type": "weave-ipam"})
    with nothing_leaks(ipam), container(ipam, VERSION) as kept, container(ipam, VERSION) as stale:
        assert set(kept.add()) == {"cniVersion", "ips", "dns"}
        assert kept.add()["ips"] == kept.result["ips"], "asked again, another address"
        stale.add()
        kept.later("CHECK").check_success()
        conf = ipam.conf(VERSION, **{"cni.dev/valid-attachments": [{"containerID": kept.ident, "ifname": "eth0"}]})
        ipam.call({"CNI_COMMAND": "GC", "CNI_PATH": ipam.path}, json.dumps(conf)).check_success()
        assert f"{stale.ident}/eth0" not in held_on(hosts)
        stale.later("CHECK").check_failure(101)
        kept.later("CHECK").check_success()


@pytest.fixture
def outside(hosts: World) -> Iterator[str]:
    """Give a place on the underlay that sends by h1 to containers."""
    switch = namespace(hosts.lab.name, SWITCH)
    address = f"{OUTSIDE}/{UNDERLAY.prefixlen}"
    kernel.run("ip", "-n", switch, "address", "add", address, "dev", "br0")
    kernel.run("ip", "-n", switch, "route", "add", "10.32.0.0/12", "via", str(UNDERLAY.network_address + 1))
    yield switch
    kernel.run("ip", "-n", switch, "address", "del", address, "dev", "br0")


def seen_by(box: Box, address: str, client: str, door: tuple[str, int] | None = None) -> str:
    """Connect to a container, by another door where one is given, and return who it says is there."""
    with box.running(sys.executable, "-ISc", WHO_IS_THERE, address) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        connect = f"import socket; socket.create_connection({door or (address, 7000)!r}, 10).close()"
        kernel.run(*kernel.inside(client, sys.executable, "-ISc", connect))
        return server.stdout.readline().strip()


def kept_for(made: Container, hosts: World) -> str:
    """Wait until a container sees its clients' addresses; return its own."""
    address: str = made.result["ips"][0]["address"].partition("/")[0]
    shown = kernel.inside(made.plugin.host, "nft", "list", "table", "inet", "weave_nat")
    hosts.until(lambda: kernel.run(*shown), lambda text: f" {address} " in text, "clients' addresses are not kept")
    return address


def test_containers_here_see_clients_outside_and_those_elsewhere_see_the_host(
        plugin: Plugin, hosts: World, outside: str) -> None:
    with added(plugin) as here, hosts.box("h2", "there") as there:
        address = kept_for(here, hosts)
        assert seen_by(Box(str(here.netns)), address, outside) == str(OUTSIDE)
        remote = hosts.attach("h2", there)[0].partition("/")[0]
        hosts.wait("h1", lambda seen: any(row["ContainerID"] == there.netns for row in seen["Endpoints"]), "endpoint")
        gateway = here.result["ips"][0]["gateway"]
        assert seen_by(there, remote, outside) == gateway


# -- many, and none ------------------------------------------------------------------------------------------------


def test_a_hundred_at_once_get_what_they_ask_for(plugin: Plugin) -> None:
    with nothing_leaks(plugin), ExitStack() as stack, ThreadPoolExecutor(100) as pool:
        made = [stack.enter_context(container(plugin, VERSION)) for _ in range(100)]
        results = list(pool.map(Container.add, made))
        assert len({result["ips"][0]["address"] for result in results}) == 100
        assert len({result["interfaces"][2]["mac"] for result in results}) == 100
        list(pool.map(lambda each: each.delete().check_success(), made))


def test_deletion_while_the_router_is_down_is_done_when_it_is_back(plugin: Plugin, hosts: World) -> None:
    """Of the script's deletion and of the C program's, and the router knows both files by their names."""
    program = replace(plugin, program=plugin.program.parent / "c" / "weave-net")
    with added(plugin) as gone, added(program) as returning:
        hosts.lab.kill("h1")
        try:
            assert gone.call("ADD").check_failure(11).value["cniVersion"] == VERSION
            for made in (gone, gone, returning):
                assert made.delete().check_success().stdout == ""
            spool = hosts.lab.socket("h1").parent / DIRECTORY
            assert {path.name for path in spool.iterdir()} == {
                file_name("weave-net", made.ident, "eth0") for made in (gone, returning)}
            assert sorted(path.stat().st_mode & 0o777 for path in spool.iterdir()) == [0o600, 0o600]
        finally:
            hosts.lab.start("h1")
        assert not gone.has_interface()
        assert f"{gone.ident}/eth0" not in held_on(hosts)
        assert list(spool.iterdir()) == []
        returning.add()
        returning.later("CHECK").check_success()


def test_a_container_that_went_without_a_word_is_forgotten(plugin: Plugin, hosts: World) -> None:
    with nothing_leaks(plugin), added(plugin) as made:
        kernel.delete_namespace(str(made.netns))
        hosts.until(lambda: held_on(hosts), lambda held: f"{made.ident}/eth0" not in held, "its address is still held")


@pytest.fixture
def controller(hosts: World) -> Iterator[str]:
    """Have the table of a policy controller that lets nobody in; give the namespace that it is in."""
    host = namespace(hosts.lab.name, "h1")
    table = "table bridge weave-npc { set admitted4 { type ipv4_addr; }; set admitted6 { type ipv6_addr; }; }"
    kernel.run(*kernel.inside(host, "nft", "-f", "-"), stdin=table)
    yield host
    kernel.run(*kernel.inside(host, "nft", "delete table bridge weave-npc"))


def endpoint_of(hosts: World, made: Container) -> str:
    """Wait for the endpoint of a container that is being added; return its address with prefix length."""
    seen = hosts.wait("h1", lambda report: any(row["ContainerID"] == made.ident for row in report["Endpoints"]),
                      "the new endpoint")
    [endpoint] = [row for row in seen["Endpoints"] if row["ContainerID"] == made.ident]
    return str(endpoint["Addresses"][0])


def test_an_add_waits_for_the_policy_controller(plugin: Plugin, hosts: World, controller: str) -> None:
    with container(plugin, VERSION) as made, ThreadPoolExecutor(1) as pool:
        adding = pool.submit(made.add)
        address = endpoint_of(hosts, made)
        assert not adding.done(), "the answer came before the controller let the container in"
        admit = f"add element bridge weave-npc admitted4 {{ {address.partition('/')[0]} }}"
        kernel.run(*kernel.inside(controller, "nft", admit))
        assert adding.result(timeout=20)["ips"][0]["address"] == address
        assert "policy for a container is not in place yet" not in hosts.log("h1")


@pytest.mark.usefixtures("controller")
def test_an_add_whose_runtime_gives_up_is_undone(plugin: Plugin, hosts: World) -> None:
    with nothing_leaks(plugin), container(plugin, VERSION) as made:
        process = subprocess.Popen([plugin.program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   env={**plugin.environment, **made.environment("ADD")})
        assert process.stdin is not None
        process.stdin.write(json.dumps(plugin.conf(VERSION)).encode())
        process.stdin.close()
        endpoint_of(hosts, made)
        process.kill()
        process.wait(10)
        hosts.until(lambda: held_on(hosts), lambda held: f"{made.ident}/eth0" not in held, "its address is still held")
        assert not made.has_interface()
