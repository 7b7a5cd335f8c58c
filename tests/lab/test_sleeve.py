"""A mesh with a password and no trusted subnet: containers talk all the same, and nobody on the underlay can read it.

                     underlay 198.51.100.0/24
            ┌───────────────┬───────────────┐
           h1              h2              h3         each: router, sleeve (UDP 6783), containers
           c1              c2              c3
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.world import LAB, SECRET, World, fresh, names_of
from weave.lab import kernel, probes
from weave.lab.names import SWITCH, namespace
from weave.net.sleeve.messages import Keys, Reader, Status, frame

pytestmark = LAB

MARK = "the quick brown fox jumps over the lazy dog"
RECOVERY_S = 2.0
PING_INTERVAL_S = 0.02
HOSTS = ("h1", "h2", "h3")

LISTEN = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 5555))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
             struct.pack("4s4s", socket.inet_aton("239.1.2.3"), socket.inet_aton(sys.argv[1])))
s.settimeout(10)
print("ready", flush=True)
print(s.recv(1000).decode(), flush=True)
"""
SHOUT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(sys.argv[2].encode(), (sys.argv[1], 5555))
"""
TRANSFER = """
import socket, sys
c = socket.create_connection((sys.argv[1], 7000), timeout=20)
c.settimeout(20)
block = (sys.argv[2] * 100).encode()
total = 0
for _ in range(200):
    c.sendall(block)
    total += len(c.recv(len(block), socket.MSG_WAITALL))
print(total)
"""
GARBAGE = """
import os, random, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
rng = random.Random(1)
kinds = bytes(range(8))
for number in range(20000):
    size = rng.choice((0, 1, 15, 16, 17, 60, 76, 136, 1000, 1472))
    data = os.urandom(size)
    if size and number % 2:
        data = bytes([rng.choice(kinds)]) + data[1:]
    s.sendto(data, (sys.argv[1], 6783))
print("sent")
"""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    with fresh("sleeve") as made:
        made.lab.up(3, options=SECRET)
        made.connected(*HOSTS)
        for number in (1, 2, 3):
            made.container(f"h{number}", f"c{number}")
        sleeved(made)
        yield made


def sleeved(world: World, *hosts: str) -> None:
    """Wait until every pair of hosts has an encrypted way."""
    names = hosts or HOSTS
    for host in names:
        others = set(names) - {host}
        world.wait(host, lambda seen, others=others: others <= up(seen), "has no sleeve to all others")  # type: ignore[misc]


def up(report) -> set[str]:
    return {row["NickName"] for row in report["Links"]
            if row["Mode"] == "sleeve" and row["Quality"] is not None and "no answer" not in row["Reason"]}


def sleeve_pid(world: World, host: str) -> int:
    """Return the process id of a host's sleeve."""
    [pid] = sleeve_pids(world, host)
    return pid


def sleeve_pids(world: World, host: str) -> list[int]:
    """Return the process ids of a host's sleeves."""
    return [pid for pid in kernel.pids_in(namespace(world.lab.name, host))
            if b"weave.net.sleeve.main" in command_of(pid)]


def command_of(pid: int) -> bytes:
    """Return how a process was started; nothing where it has ended meanwhile, as the short-lived ones do."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@contextmanager
def dump(world: World, host: str, tmp_path: Path) -> Iterator[Path]:
    """Write whole packets of the underlay to a file while the block runs, each as soon as it was seen."""
    path = tmp_path / f"{host}.pcap"
    words = kernel.inside(namespace(world.lab.name, host), "tcpdump", "-i", "eth0", "--immediate-mode", "-U", "-s0",
                          "-Z", "root", "-w", str(path))
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        while "listening on" not in process.stderr.readline():
            assert process.poll() is None, "tcpdump did not start"
        yield path
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def pinging(world: World, place: str, address: str) -> Iterator[list[float]]:
    """Ping all the while; afterwards the list holds how long each outage was, in seconds."""
    outages: list[float] = []
    words = ("ping", "-O", "-n", "-i", str(PING_INTERVAL_S), "-w", "60", address)
    with probes.background(world.lab, place, *words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        yield outages
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=30)[0]
    missed = 0
    for line in text.splitlines():
        if "no answer yet" in line:
            missed += 1
        elif "bytes from" in line and missed:
            outages.append(missed * PING_INTERVAL_S)
            missed = 0
    if missed:
        outages.append(missed * PING_INTERVAL_S)


def test_tcp_and_ping_between_all_hosts_and_nothing_readable_on_the_wire(net: World, tmp_path: Path) -> None:
    addresses = names_of(net.report("h1"))
    with dump(net, "h2", tmp_path) as wire, probes.background(net.lab, "c2", sys.executable, "-ISc", probes.ECHO,
                                                              "7000"):
        for place in ("c1", "c3"):
            net.until(lambda place=place: net.lab.execute(  # type: ignore[misc]
                place, sys.executable, "-ISc", TRANSFER, addresses["c2"], MARK), lambda done: done.returncode == 0,
                f"{place} has no TCP to c2")
            assert net.reaches(place, addresses["c2"])
            net.python(place, SHOUT, addresses["c2"], MARK)
    data = wire.read_bytes()
    assert len(data) > 2 * 200 * 100 * len(MARK), "the capture saw the traffic"
    assert MARK.encode() not in data
    assert not re.search(rb"\x08\x06\x00\x01\x08\x00\x06\x04\x00.{7}\x0a", data, re.DOTALL), "no ARP of containers"
    for address in addresses.values():
        assert bytes(int(part) for part in address.split(".")) + b"\x0a" not in data


@pytest.mark.parametrize("target", ["10.47.255.255", "239.1.2.3"])
def test_broadcast_and_multicast_reach_every_host(net: World, target: str) -> None:
    addresses = names_of(net.report("h1"))
    with probes.background(net.lab, "c2", sys.executable, "-ISc", LISTEN, addresses["c2"]) as two, \
            probes.background(net.lab, "c3", sys.executable, "-ISc", LISTEN, addresses["c3"]) as three:
        for listener in (two, three):
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
        net.python("c1", SHOUT, target, MARK)
        assert [listener.communicate(timeout=15)[0].strip() for listener in (two, three)] == [MARK, MARK]


def test_status_shows_the_way_and_why_it_is_no_better_one(net: World) -> None:
    row = next(line for line in net.weave("h1", "status", "links").splitlines() if "(h2)" in line)
    for word in ("sleeve", "198.51.100.2:6783", "mtu=1450", "rtt_ms=", "loss=", "sent=", "received=",
                 "not in --trusted-subnets of this host"):
        assert word in row
    assert "encrypted=true" in net.weave("h1", "status", "connections") or "encrypted " in net.weave(
        "h1", "status", "connections")


def test_secrets_are_not_in_the_list_of_processes(net: World) -> None:
    arguments = Path(f"/proc/{sleeve_pid(net, 'h1')}/cmdline").read_bytes()
    assert b"staple" not in arguments
    assert not re.search(rb"[0-9a-f]{64}", arguments)
    assert net.lab.socket("h1").with_name("weave-sleeve.sock").stat().st_mode & 0o777 == 0o600


def test_containers_talk_again_within_two_seconds_when_the_sleeve_is_killed(net: World) -> None:
    addresses = names_of(net.report("h1"))
    with pinging(net, "c1", addresses["c2"]) as outages:
        before = sleeve_pid(net, "h2")
        os.kill(before, signal.SIGKILL)
        net.until(lambda: sleeve_pids(net, "h2"), lambda found: len(found) == 1 and found != [before], "no new sleeve")
        sleeved(net, "h1", "h2")
    assert max(outages, default=0.0) < RECOVERY_S


def readdress(host: str, old: str, new: str) -> None:
    """Give a host another underlay address."""
    kernel.run("ip", "-n", host, "address", "delete", f"{old}/24", "dev", "eth0")
    kernel.run("ip", "-n", host, "address", "add", f"{new}/24", "dev", "eth0")


def test_a_device_that_somebody_removes_comes_back(net: World) -> None:
    addresses = names_of(net.report("h1"))
    kernel.run("ip", "-n", namespace(net.lab.name, "h2"), "link", "delete", "weave-sleeve")
    net.until(lambda: "weave-sleeve" in kernel.device_names(namespace(net.lab.name, "h2")), bool, "no new device")
    net.until(lambda: net.reaches("c1", addresses["c2"]), bool, "c2 is not reached")
    sleeved(net)


def test_containers_do_not_notice_that_the_router_is_killed_and_returns(net: World) -> None:
    addresses = names_of(net.report("h1"))
    before = sleeve_pid(net, "h2")
    with pinging(net, "c1", addresses["c2"]) as outages:
        net.lab.kill("h2")
        assert net.reaches("c2", addresses["c3"])
        net.lab.start("h2")
        net.connected(*HOSTS)
        sleeved(net)
    assert sleeve_pid(net, "h2") == before
    assert sum(outages) < 0.2
    assert net.reaches("c2", addresses["c3"])


def test_garbage_on_the_port_harms_nobody(net: World) -> None:
    addresses = names_of(net.report("h1"))
    before = sleeve_pid(net, "h1")
    with pinging(net, "c1", addresses["c2"]) as outages:
        assert net.python("h3", GARBAGE, "198.51.100.1", timeout=60.0).strip() == "sent"
        assert net.reaches("c1", addresses["c2"])
    assert sleeve_pid(net, "h1") == before
    assert sum(outages) < 1.0


@contextmanager
def lone_sleeve(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Have a sleeve in a network namespace of its own, and the socket where it waits for a router."""
    path = tmp_path / "s"
    words = [sys.executable, "-m", "weave.net.sleeve.main", "--socket", str(path), "--device", "weave-sleeve",
             "--port", "6783", "--most", "1472"]
    with subprocess.Popen(["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *words]) as process:
        try:
            probes.wait_for(path.exists, bool, "the sleeve does not listen", 20.0)
            yield process, path
        finally:
            process.terminate()


def test_a_sleeve_that_no_router_told_its_keys_costs_nothing(tmp_path: Path) -> None:
    with lone_sleeve(tmp_path) as (process, _):
        inside = ["nsenter", "--net", f"--target={process.pid}"]
        subprocess.run([*inside, "ip", "link", "set", "weave-sleeve", "up"], check=True)
        subprocess.run([*inside, sys.executable, "-ISc", "import socket; socket.socket(socket.AF_INET, "
                        "socket.SOCK_DGRAM).sendto(b'hello', ('127.0.0.1', 6783))"], check=True)
        before = processor_ticks(process.pid)
        time.sleep(1.0)
        assert processor_ticks(process.pid) - before < 5


def test_a_router_with_another_identity_is_served_too(tmp_path: Path) -> None:
    """Its state may have been removed while the sleeve went on."""
    with lone_sleeve(tmp_path) as (process, path):
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as router:
                router.settimeout(20.0)
                router.connect(str(path))
                router.sendall(frame(Keys(os.urandom(32), (os.urandom(32),))))
                reader, said = Reader(), []
                while not any(isinstance(message, Status) for message in said):
                    data = router.recv(65536)
                    assert data, "the sleeve hung up"
                    said += reader.feed(data)
        assert process.poll() is None


def processor_ticks(pid: int) -> int:
    """Return how long a process has run, in hundredths of a second."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def test_a_host_whose_address_changes_stays_reachable(net: World) -> None:
    addresses = names_of(net.report("h1"))
    host = namespace(net.lab.name, "h3")
    with pinging(net, "c1", addresses["c3"]) as outages:
        readdress(host, "198.51.100.3", "198.51.100.77")
        net.wait("h1", lambda seen: any(row["NickName"] == "h3" and "198.51.100.77" in row["Address"]
                                        for row in seen["Links"]), "h3 is not seen at its new address")
        net.until(lambda: net.reaches("c1", addresses["c3"]), bool, "c3 is not reached")
        readdress(host, "198.51.100.77", "198.51.100.3")
        net.until(lambda: net.reaches("c1", addresses["c3"]), bool, "c3 is not reached at its old address")
    assert max(outages, default=0.0) < 3.0
    net.connected(*HOSTS, deadline_s=30.0)


def test_two_hosts_behind_address_translators_find_each_other_through_a_third(net: World) -> None:
    addresses = names_of(net.report("h1"))
    hosts = {number: namespace(net.lab.name, f"h{number}") for number in (2, 3)}
    try:
        for number, host in hosts.items():
            kernel.run("ip", "netns", "exec", host, "nft", "-f", "-", stdin=TRANSLATOR.format(number=number))
        for number in hosts:
            os.kill(sleeve_pid(net, f"h{number}"), signal.SIGKILL)
        for here, there in ((2, 3), (3, 2)):
            net.wait(f"h{here}", lambda seen, there=there: any(  # type: ignore[misc]
                row["NickName"] == f"h{there}" and row["Address"] == f"198.51.100.{there}:4000{there}"
                for row in seen["Links"]), f"has not found h{there}", deadline_s=30.0)
        net.until(lambda: net.reaches("c2", addresses["c3"]), bool, "c3 is not reached")
        net.until(lambda: net.reaches("c1", addresses["c3"]), bool, "c3 is not reached from the third host")
    finally:
        for host in hosts.values():
            kernel.run("ip", "netns", "exec", host, "nft", "delete table ip translator")
    sleeved(net)
    net.until(lambda: net.reaches("c2", addresses["c3"]), bool, "c3 is not reached without translators")


def test_traffic_goes_through_a_third_host_where_two_cannot_reach_each_other(net: World) -> None:
    addresses = names_of(net.report("h1"))

    def way(report) -> str:
        return next(row["Address"] for row in report["Links"] if row["NickName"] == "h3")

    net.lab.cut("h1", "h3")
    try:
        net.wait("h1", lambda seen: way(seen) == "via h2", "does not reach h3 through h2", deadline_s=30.0)
        net.until(lambda: net.reaches("c1", addresses["c3"]), bool, "c3 is not reached through h2")
        with probes.background(net.lab, "c3", sys.executable, "-ISc", probes.ECHO, "7000"):
            net.until(lambda: net.lab.execute("c1", sys.executable, "-ISc", TRANSFER, addresses["c3"], MARK),
                      lambda done: done.returncode == 0, "no TCP through h2")
    finally:
        net.lab.heal()
    net.wait("h1", lambda seen: way(seen) == "198.51.100.3:6783", "does not reach h3 directly again", deadline_s=30.0)
    net.until(lambda: net.reaches("c1", addresses["c3"]), bool, "c3 is not reached directly")
    net.connected(*HOSTS, deadline_s=30.0)


def test_traffic_goes_through_a_third_host_while_the_direct_way_is_bad(net: World) -> None:
    addresses = names_of(net.report("h1"))
    switch = namespace(net.lab.name, SWITCH)

    def reaches(host: str, other: str, address: str) -> None:
        net.wait(host, lambda seen: [row["Address"] for row in seen["Links"] if row["NickName"] == other] == [address],
                 f"does not reach {other} at {address}", deadline_s=CHANGES_S)

    with pinging(net, "c1", addresses["c3"]) as outages_on_the_change:
        kernel.run("ip", "netns", "exec", switch, "nft", "-f", "-", stdin=LOSE)
        try:
            for host, other in (("h1", "h3"), ("h3", "h1")):
                reaches(host, other, "via h2")
            with pinging(net, "c3", addresses["c1"]) as outages:
                for host, other in (("h1", "h3"), ("h3", "h1")):
                    row = net.until(lambda host=host, other=other: next(  # type: ignore[misc]
                        line for line in net.weave(host, "status", "links").splitlines() if f"({other})" in line),
                        lambda line: "directly" in line, "it is not said why it does not go directly")
                    said = re.search(r"sleeve +via h2 .*directly (\d+)% of round trips are lost.*via h2 (\d+)%", row)
                    assert said, row
                    assert int(said[1]) > int(said[2])
            assert sum(outages) < 0.2, "hardly anything is lost through h2"
        finally:
            kernel.run("ip", "netns", "exec", switch, "nft", "delete", "table", "bridge", "lossy")
        reaches("h1", "h3", "198.51.100.3:6783")
        reaches("h3", "h1", "198.51.100.1:6783")
    assert max(outages_on_the_change, default=0.0) < RECOVERY_S
    net.connected(*HOSTS, deadline_s=30.0)


CHANGES_S = 60.0
"""A way must be bad for some seconds, and good again for some 20 more."""
LOSE = """
table bridge lossy {
  chain forward {
    type filter hook forward priority 0;
    ip saddr { 198.51.100.1, 198.51.100.3 } ip daddr { 198.51.100.1, 198.51.100.3 } numgen random mod 100 < 30 drop
  }
}
"""
TRANSLATOR = """
table ip translator {{
  chain leaving {{
    type nat hook postrouting priority 100;
    oifname "eth0" udp sport 6783 snat to 198.51.100.{number}:4000{number}
  }}
  chain entering {{
    type filter hook input priority 0;
    iifname "eth0" udp dport {{ 6783, 40000-40009 }} ct state new drop
  }}
}}
"""
"""What is sent from port 6783 leaves from another one, and nobody who was not written to gets in."""


def test_connections_live_when_trust_changes(net: World, tmp_path: Path) -> None:
    addresses = names_of(net.report("h1"))
    trusting = [*SECRET, "--trusted-subnets=198.51.100.0/24"]
    with dump(net, "h2", tmp_path) as wire, \
            probes.background(net.lab, "c2", sys.executable, "-ISc", probes.ECHO, "7001"), \
            probes.background(net.lab, "c1", sys.executable, "-ISc", LONG, addresses["c2"]) as talk:
        assert talk.stdout is not None
        assert talk.stdout.readline() == "talking\n"
        for options, mode in ((trusting, "vxlan"), (list(SECRET), "sleeve")):
            for host in ("h1", "h2"):
                net.lab.kill(host, signal.SIGTERM)
                net.lab.start(host, options=options)
            for host, other in (("h1", "h2"), ("h2", "h1")):
                net.wait(host, lambda seen, other=other, mode=mode: any(  # type: ignore[misc]
                    row["NickName"] == other and row["Mode"] == mode for row in seen["Links"]), f"is not {mode}")
        sleeved(net, "h1", "h2")
        quiet = wire.stat().st_size
        net.until(lambda: net.reaches("c1", addresses["c2"]), bool, "c2 is not reached")
        assert talk.poll() is None, "the connection broke"
        net.until(lambda: wire.stat().st_size, lambda size: size > quiet + 2000, "the capture saw the traffic")
        tail = wire.read_bytes()[quiet:]
        assert MARK.encode() not in tail, "after trust is gone nothing is plain"
    assert talk.returncode == -signal.SIGKILL


LONG = f"""
import socket, sys, time
while True:
    try:
        c = socket.create_connection((sys.argv[1], 7001), timeout=30)
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
c.settimeout(30)
print("talking", flush=True)
while True:
    c.sendall({MARK!r}.encode())
    assert len(c.recv({len(MARK)}, socket.MSG_WAITALL)) == {len(MARK)}
    time.sleep(0.01)
"""
