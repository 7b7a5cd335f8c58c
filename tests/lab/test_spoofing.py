"""A container sends from its own MAC and addresses; what claims to be from another never reaches the segment."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.world import LAB, TRUSTED, Box, World, world
from weave.lab import probes
from weave.lab.names import underlay_address

pytestmark = LAB
GRATUITOUS_ARP = """
import socket, sys
mine, stolen = bytes.fromhex(sys.argv[1].replace(":", "")), socket.inet_aton(sys.argv[2])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("ethwe", 0))
arp = bytes.fromhex("0001080006040001") + mine + stolen + bytes(6) + stolen
raw.send(b"\\xff" * 6 + mine + b"\\x08\\x06" + arp)
"""
FORGED = """
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
sent, source_mac, victim_mac, source, victim, between = sys.argv[1:]
udp = struct.pack(">4H", 7777, 7777, 14, 0) + b"forged"
ends = socket.inet_aton(source) + socket.inet_aton(victim)
head = struct.pack(">BBHHHBBH", 0x45, 0, 34, 1, 0, 64, 17, 0)
head = head[:10] + struct.pack(">H", checksum(head + ends)) + ends
macs = bytes.fromhex((victim_mac + source_mac).replace(":", ""))
if sent == "vxlan":  # with an ordinary socket, to this host
    frame = struct.pack(">B3xI", 8, 6784 << 8) + macs + b"\\x08\\x00" + head + udp
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(frame, (between, 6784))
else:  # with these octets between MACs and type
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("ethwe", 0))
    raw.send(macs + bytes.fromhex(between) + b"\\x08\\x00" + head + udp)
"""
ADVERTISEMENT = """
import socket, struct, sys
source_mac, victim_mac, source, victim, target, how = sys.argv[1:]
ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, victim)
says = bytes.fromhex("8800000060000000") + socket.inet_pton(socket.AF_INET6, target)
says += b"\\2\\1" + bytes.fromhex(source_mac.replace(":", ""))
total = sum(struct.unpack(">36H", ends + struct.pack(">2I", len(says), 58) + says))
while total >> 16:
    total = (total & 0xFFFF) + (total >> 16)
says = says[:2] + struct.pack(">H", ~total & 0xFFFF) + says[4:]
options = bytes.fromhex("3a00010400000000")
def fragment(at, more):
    return struct.pack(">BBHI", 58, 0, at | more, 7)
packets = {
    "openly": [(58, says)],
    "behind options of each hop": [(0, options + says)],
    "behind options of the destination": [(60, options + says)],
    "in one fragment": [(44, fragment(0, 0) + says)],
    "in fragments": [(44, fragment(0, 1) + says[:8]), (44, fragment(8, 0) + says[8:])],
}
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("ethwe", 0))
for kind, body in packets[how]:
    head = struct.pack(">IHBB", 6 << 28, len(body), kind, 255) + ends
    raw.send(bytes.fromhex((victim_mac + source_mac).replace(":", "")) + b"\\x86\\xdd" + head + body)
"""
SAY = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 7777))
"""
HEAR = """
import socket, sys
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard.bind(("", 7777))
print("ready", flush=True)
word = ""
while word != "goodbye":
    word = heard.recv(100).decode()
    print(word, flush=True)
"""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """Two hosts, with addresses of both families."""
    with world("spoofing", 2, (*TRUSTED, "--ipalloc-range=10.32.0.0/12,fd00:32::/64")) as made:
        yield made


@pytest.fixture
def neighbours(net: World) -> Iterator[tuple[World, str, str]]:
    """Give containers good and bad on one host, and other on another: the lab, and addresses of good and other."""
    with net.containers("h1", "good", "bad") as [good, _], net.containers("h2", "other") as [other]:
        net.until(lambda: net.reaches("bad", other) and net.reaches("bad", good), bool, "no connection")
        yield net, good, other


@pytest.fixture
def six(neighbours: tuple[World, str, str]) -> dict[str, str]:
    """Give the IPv6 addresses of good, bad and other, who know each other by them."""
    net, *_ = neighbours
    found = {}
    for container in ("good", "bad", "other"):
        [link] = json.loads(net.inside(container, "ip", "-6", "-j", "address", "show", "ethwe", "scope", "global"))
        found[container] = str(link["addr_info"][0]["local"])
    for place, to in (("good", "bad"), ("other", "good"), ("other", "bad")):
        net.until(lambda place=place, to=to: net.reaches(place, found[to]), bool,  # type: ignore[misc]
                  f"{place} does not reach {to}")
    return found


def drops(world: World) -> int:
    """Return how many packets the guard of h1 dropped, by the kernel's own count."""
    listed = world.inside("h1", "nft", "list", "chain", "bridge", "weave_ports", "guard")
    return sum(int(line.partition("packets ")[2].split()[0]) for line in listed.splitlines() if "packets" in line)


def drops_of_vxlan(world: World, host: str, chain: str) -> int:
    """Return how many packets a chain of the guard of VXLAN dropped."""
    listed = world.inside(host, "nft", "list", "chain", "inet", "weave", chain)
    return sum(int(line.partition("packets ")[2].split()[0]) for line in listed.splitlines() if "packets" in line)


@contextmanager
def heard(world: World, other: str) -> Iterator[list[str]]:
    """Give what the container other hears while the block runs; afterwards good says goodbye to it."""
    said: list[str] = []
    with probes.background(world.lab, "other", sys.executable, "-ISc", HEAR) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield said
        world.python("good", SAY, other, "goodbye")
        said += process.communicate(timeout=10)[0].split()


@contextmanager
def lodger(world: World) -> Iterator[Box]:
    """Have a container of somebody else's on h1, to which h1 lends its address."""
    with world.box("h1", "lodger") as box:
        try:
            world.inside("h1", "ip", "link", "add", "lodging", "type", "veth", "peer", "name", "eth0",
                         "netns", box.netns)
            world.inside("h1", "ip", "address", "add", "172.31.9.1/24", "dev", "lodging")
            world.inside("h1", "ip", "link", "set", "lodging", "up")
            box.run("ip", "address", "add", "172.31.9.2/24", "dev", "eth0")
            box.run("ip", "link", "set", "eth0", "up")
            box.run("ip", "route", "add", "default", "via", "172.31.9.1")
            world.inside("h1", "sysctl", "-qw", "net.ipv4.ip_forward=1")
            world.inside("h1", "nft", "add table ip lodging; add chain ip lodging out { type nat hook postrouting "
                         "priority 100; }; add rule ip lodging out ip saddr 172.31.9.0/24 masquerade")
            yield box
        finally:
            world.inside("h1", "nft", "add table ip lodging; delete table ip lodging")


def mac_of(world: World, container: str) -> str:
    return world.inside(container, "cat", "/sys/class/net/ethwe/address").strip()


def forged_vxlan(world: World, source: str, victim: str) -> tuple[str, ...]:
    """Return the words by which FORGED sends VXLAN to h2."""
    return "vxlan", "02:00:00:00:00:ee", mac_of(world, "other"), source, victim, str(underlay_address(2))


def test_a_stolen_address_sends_nothing(neighbours: tuple[World, str, str]) -> None:
    world, good, other = neighbours
    before = drops(world)
    world.inside("bad", "ip", "address", "add", f"{good}/12", "dev", "ethwe")
    assert world.lab.execute("bad", "ping", "-c1", "-W1", "-I", good, other).returncode != 0
    assert drops(world) > before
    assert world.reaches("good", other)
    assert world.reaches("bad", other)


def test_a_stolen_mac_sends_nothing(neighbours: tuple[World, str, str]) -> None:
    world, _, other = neighbours
    mac = mac_of(world, "good")
    own = mac_of(world, "bad")
    world.inside("bad", "ip", "link", "set", "ethwe", "address", mac)
    assert not world.reaches("bad", other)
    assert world.reaches("good", other)
    world.inside("bad", "ip", "link", "set", "ethwe", "address", own)
    world.until(lambda: world.reaches("bad", other), bool, "the container does not come back with its own MAC")


def test_arp_for_an_address_of_another_is_not_heard(neighbours: tuple[World, str, str]) -> None:
    world, good, _ = neighbours
    before = drops(world)
    own = mac_of(world, "bad")
    world.python("bad", GRATUITOUS_ARP, own, good)
    world.until(lambda: drops(world), lambda seen: seen > before, "the stolen ARP was not dropped")


def test_an_address_that_is_added_later_may_send(neighbours: tuple[World, str, str]) -> None:
    world, _, other = neighbours
    netns = world.lab.execute("bad", "true").args  # the words that enter the container
    container = netns[netns.index("exec") + 1]
    [extra] = world.weave("h1", "attach", "net:10.33.7.0/24", container).split()
    world.inside("other", "ip", "route", "add", "10.33.7.0/24", "dev", "ethwe")
    assert world.lab.execute("bad", "ping", "-c1", "-W2", "-I", extra, other).returncode == 0


def test_a_container_sends_no_vxlan_as_if_it_were_its_host(neighbours: tuple[World, str, str]) -> None:
    world, good, other = neighbours
    try:
        world.inside("bad", "ip", "route", "add", "default", "via", world.weave("h1", "expose").split()[0])
        assert world.reaches("bad", str(underlay_address(2))), "as its host, which lends it its address"
        before = drops_of_vxlan(world, "h1", "passing")
        with heard(world, other) as said:
            world.python("bad", FORGED, *forged_vxlan(world, good, other))
        assert said == ["goodbye"]
        assert drops_of_vxlan(world, "h1", "passing") == before + 1
    finally:
        world.weave("h1", "hide")


def test_a_container_of_somebody_else_sends_no_vxlan_as_if_it_were_its_host(
        neighbours: tuple[World, str, str]) -> None:
    world, good, other = neighbours
    with lodger(world) as box:
        box.run("ping", "-c1", "-W5", str(underlay_address(2)))
        before = drops_of_vxlan(world, "h2", "guard")
        with heard(world, other) as said:
            box.run(sys.executable, "-ISc", FORGED, *forged_vxlan(world, good, other))
        assert said == ["goodbye"]
        assert drops_of_vxlan(world, "h2", "guard") > before, "it came with its own address, a stranger's"


@pytest.mark.parametrize(("tags", "is_looked_into"), [
    ("81000000", True), ("88a80000", True), ("8100000081000000", True), ("88a8000081000000", True),
    ("91000000", False), ("92000000", False),
])
def test_a_stolen_address_behind_a_tag_sends_nothing(neighbours: tuple[World, str, str], tags: str,
                                                     is_looked_into: bool) -> None:
    world, good, other = neighbours
    before = drops(world)
    with heard(world, other) as said:
        world.python("bad", FORGED, "tagged", mac_of(world, "bad"), mac_of(world, "other"), good, other, tags)
    assert said == ["goodbye"]
    assert drops(world) == before + is_looked_into, "of the rest, no receiver looks behind the tag"


@pytest.mark.parametrize("source", ["", "fe80::bad"])
@pytest.mark.parametrize("how", ["openly", "behind options of each hop", "behind options of the destination",
                                 "in one fragment", "in fragments"])
def test_an_advertisement_for_an_address_of_another_is_not_heard(net: World, six: dict[str, str], source: str,
                                                                 how: str) -> None:
    # as if the fragments were put together on the way, which the kernel of a host does when it filters bridges
    net.inside("other", "sysctl", "-qw", "net.ipv6.conf.ethwe.suppress_frag_ndisc=0")
    before = drops(net)
    net.python("bad", ADVERTISEMENT, mac_of(net, "bad"), mac_of(net, "other"), source or six["bad"], six["other"],
               six["good"], how)
    assert mac_of(net, "good") in net.inside("other", "ip", "neighbour", "show", six["good"])
    assert drops(net) == before + 1
    assert net.reaches("other", six["good"])


def test_fragments_of_what_is_no_advertisement_are_sent(net: World, six: dict[str, str]) -> None:
    assert net.lab.execute("bad", "ping", "-c1", "-W5", "-s4000", six["other"]).returncode == 0
