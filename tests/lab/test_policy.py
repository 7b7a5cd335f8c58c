"""Policy enforced by real controllers on two hosts, judged by packets.

      h1: router, controller       h2: router, controller
        web   shop                   far              app labels are the names
"""

import contextlib
import select
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.policy import HEAR, PULL, PUSH, SHOUT, Controllers, controllers, from_app, policy
from tests.lab.world import LAB
from weave.lab.probes import ECHO, STREAM, background

pytestmark = LAB
PYTHON = ("/usr/bin/env", "python3", "-ISuc")
PORT = "80"
BOTH = ("net:10.32.0.0/12", "net:fd00:77::/64")
HOSTS = {"web": "h1", "shop": "h1", "far": "h2"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controllers]:
    with controllers("npc", 2, tmp_path_factory.mktemp("policies")) as made:
        yield made


@pytest.fixture(scope="module")
def addresses(running: Controllers) -> dict[str, str]:
    found = {name: running.world.container(host, name, *BOTH, "--label", f"app={name}") for name, host in HOSTS.items()}
    for host in ("h1", "h2"):
        running.until(host, lambda status: status["pods"] >= len(found), "does not know the containers")
    return found


@pytest.fixture
def open_network(running: Controllers, addresses: dict[str, str]) -> Iterator[Controllers]:
    running.set()
    yield running
    for host in ("h1", "h2"):
        if host not in running.processes:
            running.start(host)
    running.set()


@contextlib.contextmanager
def program(running: Controllers, place: str, script: str, *words: str,
            first_line: bool = True) -> Iterator["subprocess.Popen[str]"]:
    with background(running.world.lab, place, *PYTHON, script, *words) as process:
        if first_line:
            assert process.stdout is not None
            assert process.stdout.readline(), process.communicate()
        yield process


def has_heard(process: "subprocess.Popen[str]") -> bool:
    return bool(select.select([process.stdout], [], [], 0)[0])


def reached(running: Controllers, addresses: dict[str, str], target: str) -> dict[str, bool]:
    return {name: running.world.reaches(name, addresses[target]) for name in addresses if name != target}


def test_policy_holds_within_and_across_hosts(open_network: Controllers, addresses: dict[str, str]) -> None:
    assert reached(open_network, addresses, "web") == {"shop": True, "far": True}
    open_network.set(policy("web", "web", ingress=[from_app("far")]))
    assert reached(open_network, addresses, "web") == {"shop": False, "far": True}
    open_network.set(policy("web", "web", ingress=[from_app("shop")]), policy("far", "far", egress=[]))
    assert reached(open_network, addresses, "web") == {"shop": True, "far": False}
    assert reached(open_network, addresses, "far") == {"web": True, "shop": True}


def test_a_host_always_reaches_its_own_containers(open_network: Controllers, addresses: dict[str, str]) -> None:
    open_network.set(*(policy(name, name, ingress=[], egress=[]) for name in HOSTS))
    assert open_network.world.reaches("h1", addresses["web"])
    assert open_network.world.reaches("h2", addresses["far"])
    assert not open_network.world.reaches("web", addresses["shop"])


@pytest.mark.parametrize("client", ["shop", "far"])
def test_a_connection_that_becomes_forbidden_falls_silent(open_network: Controllers, addresses: dict[str, str],
                                                          client: str) -> None:
    with program(open_network, "web", PUSH, PORT, first_line=False):
        open_network.world.until(
            lambda: open_network.world.lab.execute(
                client, *PYTHON, f"import socket; socket.create_connection(('{addresses['web']}', {PORT}), 2)"
            ).returncode, lambda code: code == 0, "the service does not answer")
        with program(open_network, client, PULL, addresses["web"], PORT) as process:
            open_network.set(policy("web", "web", ingress=[]))
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "silence"


def test_nothing_changes_while_a_controller_is_killed_and_starts_again(
        open_network: Controllers, addresses: dict[str, str]) -> None:
    world = open_network.world
    open_network.set(policy("web", "web", ingress=[from_app("far")]))
    with (program(open_network, "web", HEAR, "81") as heard,
          program(open_network, "shop", SHOUT, addresses["web"], "81"),
          program(open_network, "web", ECHO, PORT, first_line=False)):
        world.until(lambda: world.lab.execute(
            "far", *PYTHON, f"import socket; socket.create_connection(('{addresses['web']}', {PORT}), 2)").returncode,
            lambda code: code == 0, "the service does not answer")
        with program(open_network, "far", STREAM, addresses["web"], PORT, "4", first_line=False) as allowed:
            open_network.kill("h1")
            assert not world.reaches("shop", addresses["web"])
            open_network.start("h1")
            assert not world.reaches("shop", addresses["web"])
            sent, complaint = allowed.communicate()
            assert allowed.returncode == 0, complaint
            assert int(sent) > 0
        assert not has_heard(heard)
        open_network.set()
        assert heard.stdout is not None
        assert heard.stdout.readline().strip() == addresses["shop"]


def test_rules_that_somebody_flushed_are_put_back(open_network: Controllers, addresses: dict[str, str]) -> None:
    open_network.set(policy("web", "web", ingress=[from_app("far")]))
    before = open_network.status("h1")["kernel"]["repairs"]
    open_network.world.inside("h1", "nft", "flush", "ruleset")
    open_network.until("h1", lambda status: status["kernel"]["repairs"] > before and status["kernel"]["intact"],
                       "did not repair its rules")
    assert reached(open_network, addresses, "web") == {"shop": False, "far": True}
    open_network.world.inside("h1", "nft", "flush", "chain", "inet", "weave-npc", "stage-ingress")
    open_network.until("h1", lambda status: status["kernel"]["repairs"] > before + 1 and status["kernel"]["intact"],
                       "did not repair its chain")
    assert not open_network.world.reaches("shop", addresses["web"])


@pytest.mark.parametrize("is_alive", [True, False], ids=["controller runs", "controller is dead"])
def test_a_new_container_is_closed_before_its_first_packet(
        open_network: Controllers, addresses: dict[str, str], is_alive: bool) -> None:
    world = open_network.world
    open_network.set(policy("secret", "secret", ingress=[]))
    if not is_alive:
        open_network.kill("h1")
    address = "10.32.77.1" if is_alive else "10.32.77.2"
    with world.box("h1", "late") as box, box.running(*PYTHON, HEAR, PORT) as heard:
        assert heard.stdout is not None
        assert heard.stdout.readline().strip() == "listening"
        with program(open_network, "shop", SHOUT, address, PORT):
            world.lab.client("h1").value("PUT", "attachment", box.netns, body={
                "netns": str(box.path), "addresses": [f"{address}/12"], "labels": ["app=secret"]})
            if is_alive:
                open_network.until("h1", lambda status: status["pods"] >= len(HOSTS) + 1, "does not know it")
            assert not world.reaches("shop", address)
            assert not has_heard(heard)
            if not is_alive:
                open_network.start("h1")
                assert not world.reaches("shop", address)
                assert not has_heard(heard)
            open_network.set()
            assert heard.stdout.readline().strip() == addresses["shop"]


def test_a_refusal_is_logged_with_its_policy_and_counted(open_network: Controllers, addresses: dict[str, str]) -> None:
    open_network.set(policy("quiet", "web", ingress=[]))
    assert not open_network.world.reaches("shop", addresses["web"])
    open_network.world.until(
        lambda: open_network.log("h1"), lambda log: "policy=default/quiet protocol=ICMP" in log
        and f"source={addresses['shop']}" in log, "the refusal is not logged")
    figures = open_network.world.inside("h1", "curl", "-s", "http://127.0.0.1:6781/metrics")
    assert 'weavenpc_blocked_connections_total{dport="0",protocol="icmp"}' in figures
    assert "inet refused-ingress" in figures


def test_what_cannot_be_understood_is_told_and_closed(open_network: Controllers, addresses: dict[str, str]) -> None:
    unclear = policy("unclear", "web", ingress=[{"from": [{"ipBlock": {"cidr": "not a block"}}]}])
    open_network.set(unclear)
    [problem] = open_network.status("h1")["problems"]
    assert problem["object"] == "NetworkPolicy default/unclear"
    assert reached(open_network, addresses, "web") == {"shop": False, "far": False}


def test_rules_stand_while_the_router_starts_again(open_network: Controllers, addresses: dict[str, str]) -> None:
    world = open_network.world
    open_network.set(policy("web", "web", ingress=[from_app("far")]))
    world.lab.kill("h1")
    open_network.until("h1", lambda status: status["router"]["trouble"], "does not miss its router")
    assert reached(open_network, addresses, "web") == {"shop": False, "far": True}
    world.lab.start("h1")
    open_network.until("h1", lambda status: not status["router"]["trouble"], "does not find its router")
    assert reached(open_network, addresses, "web") == {"shop": False, "far": True}


def test_ipv6_is_judged_as_ipv4_is(open_network: Controllers, addresses: dict[str, str]) -> None:
    world = open_network.world
    inside = {row["ContainerID"]: row["Addresses"] for row in world.report("h1")["Endpoints"]}
    [six] = [address.partition("/")[0] for owner, found in inside.items() if addresses["web"] in str(found)
             for address in found if ":" in address]
    assert world.reaches("shop", six)
    world.inside("h1", "ip", "address", "add", "fd00:77::ffff/64", "dev", "weave", "nodad")
    assert world.reaches("h1", six)
    open_network.set(policy("web", "web", ingress=[from_app("far")]))
    assert (world.reaches("shop", six), world.reaches("far", six)) == (False, True)
    open_network.set(policy("web", "web", ingress=[{"from": [{"ipBlock": {"cidr": "::/0"}}]}]))
    assert (world.reaches("shop", six), world.reaches("shop", addresses["web"])) == (True, False)
    assert world.reaches("h1", six)


SERVICE = "10.200.0.1"
NAT = """
table ip service {{
  chain there {{ type nat hook prerouting priority dstnat; ip daddr {service} tcp dport 80 dnat to {web}:80; }}
  chain back {{ type nat hook postrouting priority srcnat; ip saddr {web} ip daddr {web} masquerade; }}
}}
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 80), 2)"


@pytest.fixture
def service(open_network: Controllers, addresses: dict[str, str]) -> Iterator[str]:
    """A service address that h1 translates, as a service proxy would; web and shop send it to their gateway."""
    world = open_network.world
    [gateway] = [row["Addresses"][0].partition("/")[0] for row in world.report("h1")["Endpoints"]
                 if row["ContainerID"] == "weave:expose" and row["Local"]]
    world.inside("h1", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    world.inside("h1", "sh", "-c", f"nft -f - <<E\n{NAT.format(service=SERVICE, web=addresses['web'])}\nE")
    for name in ("web", "shop"):
        world.inside(name, "ip", "route", "add", SERVICE, "via", gateway)
    with program(open_network, "web", ECHO, PORT, first_line=False):
        yield SERVICE
    for name in ("web", "shop"):
        world.inside(name, "ip", "route", "del", SERVICE)
    world.inside("h1", "nft", "delete", "table", "ip", "service")


def test_a_service_is_judged_by_the_pod_behind_it(open_network: Controllers, service: str) -> None:
    world = open_network.world

    def connects(name: str) -> bool:
        return world.lab.execute(name, *PYTHON, CONNECT, service).returncode == 0

    world.until(lambda: connects("shop"), bool, "the service does not answer")
    to_web = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 80}]}
    to_service = {"to": [{"ipBlock": {"cidr": f"{service}/32"}}]}
    open_network.set(policy("shop", "shop", egress=[to_web]))
    assert connects("shop")
    open_network.set(policy("shop", "shop", egress=[to_service]))
    assert not connects("shop")
    open_network.set(policy("web", "web", ingress=[], egress=[]))
    assert not connects("shop")
    assert connects("web"), "a pod reaches itself by its service"


def test_a_bridge_that_hides_its_packets_is_set_right(open_network: Controllers, addresses: dict[str, str]) -> None:
    world = open_network.world
    open_network.set(policy("web", "web", ingress=[]))
    world.inside("h1", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
    world.until(lambda: world.inside("h1", "sysctl", "-n", "net.bridge.bridge-nf-call-iptables").strip(),
                lambda value: value == "1", "nobody set the sysctl")
    assert not world.reaches("shop", addresses["web"])
