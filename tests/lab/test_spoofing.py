"""A container sends from its own MAC and addresses; what claims to be from another never reaches the segment."""

from collections.abc import Iterator

import pytest

from tests.lab.world import LAB, World

pytestmark = LAB
GRATUITOUS_ARP = """
import socket, sys
mine, stolen = bytes.fromhex(sys.argv[1].replace(":", "")), socket.inet_aton(sys.argv[2])
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("ethwe", 0))
arp = bytes.fromhex("0001080006040001") + mine + stolen + bytes(6) + stolen
raw.send(b"\\xff" * 6 + mine + b"\\x08\\x06" + arp)
"""


@pytest.fixture
def neighbours(shared: World) -> Iterator[tuple[World, str, str]]:
    """Give containers good and bad on one host, and other on another: the lab, and addresses of good and other."""
    with shared.containers("h1", "good", "bad") as [good, _], shared.containers("h2", "other") as [other]:
        shared.until(lambda: shared.reaches("bad", other) and shared.reaches("bad", good), bool, "no connection")
        yield shared, good, other


def drops(world: World) -> int:
    """Return how many packets the guard of h1 dropped, by the kernel's own count."""
    listed = world.inside("h1", "nft", "list", "chain", "bridge", "weave_ports", "guard")
    return sum(int(line.partition("packets ")[2].split()[0]) for line in listed.splitlines() if "packets" in line)


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
    mac = world.inside("good", "cat", "/sys/class/net/ethwe/address").strip()
    own = world.inside("bad", "cat", "/sys/class/net/ethwe/address").strip()
    world.inside("bad", "ip", "link", "set", "ethwe", "address", mac)
    assert not world.reaches("bad", other)
    assert world.reaches("good", other)
    world.inside("bad", "ip", "link", "set", "ethwe", "address", own)
    world.until(lambda: world.reaches("bad", other), bool, "the container does not come back with its own MAC")


def test_arp_for_an_address_of_another_is_not_heard(neighbours: tuple[World, str, str]) -> None:
    world, good, _ = neighbours
    before = drops(world)
    own = world.inside("bad", "cat", "/sys/class/net/ethwe/address").strip()
    world.python("bad", GRATUITOUS_ARP, own, good)
    world.until(lambda: drops(world), lambda seen: seen > before, "the stolen ARP was not dropped")


def test_an_address_that_is_added_later_may_send(neighbours: tuple[World, str, str]) -> None:
    world, _, other = neighbours
    netns = world.lab.execute("bad", "true").args  # the words that enter the container
    container = netns[netns.index("exec") + 1]
    [extra] = world.weave("h1", "attach", "net:10.33.7.0/24", container).split()
    world.inside("other", "ip", "route", "add", "10.33.7.0/24", "dev", "ethwe")
    assert world.lab.execute("bad", "ping", "-c1", "-W2", "-I", extra, other).returncode == 0
