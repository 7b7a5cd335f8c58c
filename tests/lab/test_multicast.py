"""What is sent to a multicast group goes to the hosts with members, once that is known; everything else to all.

    c1 (h1) sends to groups    c2 (h2), c3 (h3) are members of some
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from subprocess import Popen

import pytest

from tests.lab.world import LAB, World, names_of, world
from weave.lab import probes

pytestmark = LAB

GROUP, LINK_GROUP, GROUP6 = "239.1.2.3", "224.0.0.251", "ff15::8123:4567"
MAC, MAC6 = "01:00:5e:01:02:03", "33:33:81:23:45:67"

MEMBER = """
import socket, struct, sys
group = sys.argv[1]
six = ":" in group
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((group, 5555, 0, socket.if_nametoindex("ethwe")) if six else (group, 5555))
if six:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                 socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", socket.if_nametoindex("ethwe")))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                 struct.pack("=4s4xI", socket.inet_aton(group), socket.if_nametoindex("ethwe")))
print("member", flush=True)
while True:
    print(s.recv(1000).decode(), flush=True)
"""
SEND = """
import socket, sys
for group in sys.argv[2:]:
    six = ":" in group
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(sys.argv[1].encode(), (group, 5555, 0, socket.if_nametoindex("ethwe")) if six else (group, 5555))
"""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    with world("multicast", 3, ("--ipalloc-range=10.32.0.0/12,fd00:32::/64",)) as made:
        for number in (1, 2, 3):
            made.container(f"h{number}", f"c{number}")
        made.agreed("h1", "h2", "h3")
        yield made


@contextmanager
def member(net: World, place: str, group: str) -> Iterator["Popen[str]"]:
    """Have a member of a group while the block runs."""
    with probes.background(net.lab, place, sys.executable, "-ISc", MEMBER, group) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "member\n"
        yield process


def hosts_served(net: World, mac: str) -> list[str]:
    """Return where h1 sends copies of what is for a group; nothing: to all."""
    lines = net.inside("h1", "bridge", "fdb", "show", "dev", "vxlan-6784").splitlines()
    return sorted(line.split()[2] for line in lines if line.startswith(mac))


def served(net: World, mac: str, *hosts: int) -> None:
    """Wait until h1 sends copies to these hosts alone."""
    wanted = [f"198.51.100.{number}" for number in hosts]
    net.until(lambda: hosts_served(net, mac), lambda seen: seen == wanted, f"copies go elsewhere than to {wanted}")


def heard(process: "Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(("group", "mac"), [(GROUP, MAC), (GROUP6, MAC6)])
def test_hosts_without_members_get_nothing_and_a_late_member_does(net: World, group: str, mac: str) -> None:
    with member(net, "c2", group) as two:
        served(net, mac, 2)
        with ExitStack() as stack:
            wires = {host: stack.enter_context(probes.capture(net.lab, host, "eth0", "udp port 6784"))
                     for host in ("h2", "h3")}
            for number in range(20):
                net.python("c1", SEND, f"message {number}", group)
                assert heard(two) == f"message {number}"
        assert sum(f"{group}.5555" in line for line in wires["h2"].lines) == 20
        assert not [line for line in wires["h3"].lines if f"{group}.5555" in line]
        with member(net, "c3", group) as three:
            served(net, mac)
            net.python("c1", SEND, "to both", group)
            assert [heard(two), heard(three)] == ["to both", "to both"]
    served(net, mac)


def test_groups_of_the_link_and_groups_nobody_joined_go_to_all(net: World) -> None:
    with member(net, "c2", LINK_GROUP), member(net, "c2", GROUP), \
            probes.capture(net.lab, "h3", "eth0", "udp port 6784") as wire:
        served(net, MAC, 2)
        net.python("c1", SEND, "hello", LINK_GROUP, "239.9.9.9", GROUP)
        net.until(lambda: net.reaches("c1", names_of(net.report("h1"))["c3"]), bool, "c3 is not reached")
    seen = "\n".join(wire.lines)
    assert f"{LINK_GROUP}.5555" in seen
    assert "239.9.9.9.5555" in seen
    assert f"{GROUP}.5555" not in seen


def test_a_fresh_group_reaches_all_who_join_it_at_once(net: World) -> None:
    for number in range(5):
        group = f"239.7.7.{number + 1}"
        with member(net, "c2", group) as two, member(net, "c3", group) as three:
            net.python("c1", SEND, "at once", group)
            assert [heard(two), heard(three)] == ["at once", "at once"]


def test_a_group_with_members_on_one_host_alone_stays_there(net: World) -> None:
    with net.containers("h1", "c4"), member(net, "c4", GROUP) as four:
        net.until(lambda: hosts_served(net, MAC), lambda seen: seen == ["127.0.0.1"], "copies go to other hosts")
        with probes.capture(net.lab, "h2", "eth0", "udp port 6784") as wire:
            net.python("c1", SEND, "here", GROUP)
            assert heard(four) == "here"
        assert not [line for line in wire.lines if f"{GROUP}.5555" in line]
    served(net, MAC)


@contextmanager
def without(net: World, host: str, number: int = signal.SIGKILL) -> Iterator[None]:
    """Have the router of a host ended by a signal while the block runs."""
    net.lab.kill(host, number)
    try:
        yield
    finally:
        net.lab.start(host)
    net.connected("h1", "h2", "h3")


def test_nothing_is_held_back_while_the_router_is_away(net: World) -> None:
    with member(net, "c2", GROUP):
        served(net, MAC, 2)
        with without(net, "h1", signal.SIGTERM):
            assert hosts_served(net, MAC) == []
            with member(net, "c3", GROUP) as three:
                net.python("c1", SEND, "still", GROUP)
                assert heard(three) == "still"


def test_a_host_whose_router_is_dead_gets_everything(net: World) -> None:
    with member(net, "c2", GROUP):
        served(net, MAC, 2)
        with without(net, "h3"):
            served(net, MAC)
            with member(net, "c3", GROUP) as three:
                net.python("c1", SEND, "though", GROUP)
                assert heard(three) == "though"
