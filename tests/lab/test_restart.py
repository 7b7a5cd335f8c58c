"""Routers die, stop and start again; whoever talks meanwhile does not notice, and nothing is forgotten."""

import hashlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.schema import PAGE_BYTES
from tests.lab.world import LAB, TRUSTED, World, names_of, own_name, peer, world
from weave.lab import kernel, probes
from weave.lab.names import underlay_address

pytestmark = LAB
HOSTS = ("h1", "h2", "h3")
PING_INTERVAL_S = "0.02"
ECHO_PORT = "7"
KNOCK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)"


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """Three hosts with a container each: c1 on h1 and so on."""
    with world("restart", 3) as made:
        for host in HOSTS:
            made.container(host, f"c{host[1]}")
        made.agreed(*HOSTS)
        yield made


@pytest.fixture
def stopped(net: World) -> Iterator[World]:
    """The same with the router of h3 stopped by `weave stop`; it runs again afterwards."""
    before = net.agreed(*HOSTS)
    net.weave("h3", "stop")
    yield net
    net.lab.execute("h3", "weave", "stop")
    net.lab.start("h3")
    net.connected(*HOSTS)
    assert net.agreed(*HOSTS) == before


def launch_words(net: World, host: str, *options: str) -> list[str]:
    others = [str(underlay_address(int(other[1]))) for other in HOSTS if other != host]
    return ["launch", "--nickname", host, "--state-dir", str(net.state(host)), *TRUSTED, *options, *others]


@contextmanager
def pinging(net: World, place: str, address: str) -> Iterator[None]:
    """Ping all the while the block runs; no packet may be lost."""
    with probes.background(net.lab, place, "ping", "-i", PING_INTERVAL_S, address) as ping:
        assert ping.stdout is not None
        net.until(ping.stdout.readline, lambda line: "bytes from" in line, f"{place} does not reach {address}")
        yield
        ping.send_signal(signal.SIGINT)
        said = ping.communicate(timeout=30)[0]
        assert " 0% packet loss" in said, f"{place} to {address}: {said[-300:]}"


def test_no_packet_is_lost_while_a_router_is_killed_and_returns(net: World) -> None:
    addresses = names_of(net.report("h1"))
    before = net.agreed(*HOSTS)
    with pinging(net, "c1", addresses["c3"]), pinging(net, "c3", addresses["c2"]), streaming(net, "c1", "c2"):
        net.lab.kill("h2")
        net.wait("h1", lambda seen: not peer(seen, "h2")["Reachable"], "still thinks that h2 is there")
        net.lab.start("h2")
        net.connected(*HOSTS)
    assert net.agreed(*HOSTS) == before


@contextmanager
def streaming(net: World, client: str, server: str) -> Iterator[None]:
    """Have a TCP connection that is in use all the while the block runs; it must not break."""
    address = names_of(net.report("h1"))[server]
    with probes.background(net.lab, server, sys.executable, "-ISc", probes.ECHO, ECHO_PORT):
        net.until(lambda: net.lab.execute(client, sys.executable, "-ISc", KNOCK, address, ECHO_PORT).returncode,
                  lambda status: status == 0, "the echo server does not listen")
        with probes.background(net.lab, client, sys.executable, "-ISc", probes.STREAM, address, ECHO_PORT,
                               "4") as stream:
            yield
            said, failed = stream.communicate(timeout=30)
            assert stream.returncode == 0, failed
            assert int(said) > 100


def test_all_routers_can_die_at_once_and_return_one_by_one(net: World) -> None:
    addresses = names_of(net.report("h1"))
    before = net.agreed(*HOSTS)
    with pinging(net, "c1", addresses["c3"]), pinging(net, "c2", addresses["c1"]):
        for host in HOSTS:
            net.lab.kill(host)
        for host in HOSTS:
            net.lab.start(host)
        net.connected(*HOSTS)
    assert net.agreed(*HOSTS) == before


def test_a_router_that_returns_keeps_the_ways_to_one_that_is_still_down(net: World) -> None:
    addresses = names_of(net.report("h1"))
    with pinging(net, "c1", addresses["c3"]):
        net.lab.kill("h3")
        net.lab.kill("h1")
        net.lab.start("h1")
        net.connected("h1", "h2")
        assert net.lab.execute("c1", "ping", "-c3", addresses["c2"]).returncode == 0
        net.lab.start("h3")
        net.connected(*HOSTS)


def test_a_container_that_went_while_the_router_was_down_is_forgotten(net: World) -> None:
    with net.box("h1", "brief") as box:
        net.weave("h1", "attach", "-h", "brief", box.netns)
        net.wait("h2", lambda seen: "brief" in names_of(seen), "does not hear of the container")
        net.lab.kill("h1")
        kernel.delete_namespace(box.netns)
        net.lab.start("h1")
        for host in HOSTS:
            net.wait(host, lambda seen: "brief" not in names_of(seen) and all(
                row["ContainerID"] != box.netns for row in seen["Endpoints"]), "still knows the container")
    net.connected(*HOSTS)


def test_what_a_container_gave_itself_is_not_believed_after_a_restart(net: World) -> None:
    before = net.agreed(*HOSTS)
    stolen = names_of(net.report("h1"))["c2"]
    net.inside("c1", "ip", "address", "add", f"{stolen}/12", "dev", "ethwe")
    net.inside("h1", "ip", "address", "add", "10.47.0.9/12", "dev", "weave")
    try:
        net.lab.kill("h1")
        net.lab.start("h1")
        net.connected(*HOSTS)
        assert net.agreed(*HOSTS) == before
        assert stolen not in net.inside("h1", "nft", "list", "table", "bridge", "weave_ports")
        net.inside("h1", "ip", "address", "del", "10.47.0.9/12", "dev", "weave")
    finally:
        net.inside("c1", "ip", "address", "del", f"{stolen}/12", "dev", "ethwe")


def test_after_a_lost_state_the_addresses_in_use_are_claimed_again() -> None:
    with world("lost", 1) as made:
        made.container("h1", "c1")
        held = made.weave("h1", "expose").strip()
        before = names_of(made.report("h1"))["c1"]
        made.weave("h1", "stop")
        for left in made.state("h1").glob("weave.db*"):
            left.unlink()
        made.lab.start("h1")
        made.wait("h1", lambda seen: seen["IPAM"]["Entries"], "does not divide the range")
        made.until(lambda: made.weave("h1", "ps"), lambda seen: all(f"{each}/" in seen for each in (held, before)),
                   "does not own what is in use")
        made.until(lambda: made.weave("h1", "hide"), lambda seen: seen.strip() == "", "still hides")
        assert made.weave("h1", "expose").strip() == held
        assert made.inside("h1", "ip", "-br", "address", "show", "dev", "weave").count("10.") == 1


def test_what_was_exposed_stays_so_and_can_be_hidden(net: World) -> None:
    address = net.weave("h2", "expose", "-h", "gate").strip()
    net.lab.kill("h2")
    net.lab.start("h2")
    assert net.reaches("c1", address)
    assert "masquerade" in net.inside("h2", "nft", "list", "ruleset")
    net.connected(*HOSTS)
    net.wait("h1", lambda seen: names_of(seen).get("gate") == address, "the name did not come back")
    assert net.weave("h2", "hide").strip() == address
    assert "masquerade" not in net.inside("h2", "nft", "list", "ruleset")
    assert net.inside("c2", "dig", "+short", "c2.weave.local.").split(), "weave DNS goes on where it was"
    net.wait("h1", lambda seen: "gate" not in names_of(seen), "still knows the name")


def test_launch_starts_in_the_background_and_only_once(stopped: World) -> None:
    net = stopped
    assert "weave launch" in net.refused("h3", "status"), "the way out is named"
    before = [own_name(net.lab.report(host)) for host in ("h1", "h2")]
    name = net.weave("h3", *launch_words(net, "h3")).strip()
    assert name not in before
    assert name == own_name(net.report("h3"))
    assert "already running" in net.refused("h3", *launch_words(net, "h3"))
    net.connected(*HOSTS)
    assert "ready" in (net.state("h3") / "router.log").read_text()
    net.weave("h3", "stop")


def damaged(path: Path, how: str) -> bytes:
    """Damage a file and return what it contained; what is flipped begins the second page, that of the first table."""
    whole = path.read_bytes()
    begin, end = PAGE_BYTES, PAGE_BYTES + 64
    path.write_bytes({
        "garbage": b"\xa5" * 8192,
        "half": whole[:len(whole) // 2],
        "flipped": whole[:begin] + bytes(octet ^ 0xFF for octet in whole[begin:end]) + whole[end:],
    }[how])
    return whole


@pytest.mark.parametrize("how", ["garbage", "half", "flipped"])
def test_a_damaged_state_file_is_refused_with_advice_and_left_alone(stopped: World, how: str) -> None:
    path = stopped.state("h3") / "weave.db"
    whole = damaged(path, how)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        said = stopped.refused("h3", *launch_words(stopped, "h3"))
        assert str(path) in said
        assert "backup" in said
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    finally:
        path.write_bytes(whole)


def test_the_state_of_another_range_is_refused(stopped: World) -> None:
    said = stopped.refused("h3", *launch_words(stopped, "h3", "--ipalloc-range", "10.64.0.0/12"))
    assert "10.32.0.0/12" in said
    assert "10.64.0.0/12" in said


def test_a_second_router_on_the_same_state_is_refused(net: World) -> None:
    words = launch_words(net, "h1")
    done = net.lab.execute("h1", "env", f"WEAVE_SOCKET={net.state('h1')}/other.sock", "weave", *words)
    assert done.returncode == 1
    assert "in use" in done.stderr or "locked" in done.stderr or "another" in done.stderr, done.stderr
    net.connected(*HOSTS)


def test_wrong_options_say_so_before_anything_starts(stopped: World) -> None:
    for words, complaint in ((["--ipalloc-range", "10.32.0.0"], "10.32.0.0"), (["--dns-ttl", "-1"], "--dns-ttl"),
                             (["--trusted-subnets", "everybody"], "everybody"), (["--port", "70000"], "--port")):
        assert complaint in stopped.refused("h3", *launch_words(stopped, "h3", *words))
