"""Strangers, containers, clients and peers that send nonsense: the router counts it, says so, and serves on."""

import os
import re
import socket
import sys
from collections.abc import Iterator

import pytest

from tests.lab.world import LAB, PASSWORD, TRUSTED, Report, World, names_of, world
from weave.lab import probes
from weave.lab.names import underlay_address

pytestmark = LAB
VICTIM = str(underlay_address(1))
RSS_GROWTH = 24 << 20
"""How much an attack may cost for good: buffers that the allocator keeps, pages of code used for the first time."""
STRANGER = """
import os, socket, sys, time
sizes = [0, 1, 7, 8, 9, 64, 4096, 1 << 20]
openings = [b"", b"weave", b"weave\\3\\3\\2", b"weave\\3\\3\\2\\1\\0\\40" + bytes(32), b"GET / HTTP/1.1\\r\\n\\r\\n"]
for opening in openings:
    for size in sizes:
        s = socket.create_connection((sys.argv[1], 6783), timeout=5)
        try:
            s.sendall(opening + os.urandom(size))
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError:
            pass
        s.close()
print("done")
"""
SILENT = """
import socket, sys, time
held = []
for _ in range(200):
    try:
        held.append(socket.create_connection((sys.argv[1], 6783), timeout=2))
    except OSError:
        pass
print(len(held), flush=True)
time.sleep(60)
"""
DNS_NOISE = """
import os, random, socket, struct, sys
dice = random.Random(3)
query = bytes.fromhex("12340100000100000000000002633105776561766505") + b"local" + bytes.fromhex("0000010001")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(3000):
    cut = dice.randrange(len(query))
    mutated = bytearray(query)
    mutated[cut] = dice.randrange(256)
    for datagram in (dice.randbytes(dice.randrange(600)), query[:cut], bytes(mutated)):
        u.sendto(datagram, (sys.argv[1], 53))
for number in range(40):
    t = socket.create_connection((sys.argv[1], 53), timeout=5)
    try:
        t.sendall([struct.pack(">H", 65535) + os.urandom(9000), struct.pack(">H", len(query)) + query[:5], b"\\0", b"",
                   (struct.pack(">H", 40) + os.urandom(40)) * 50][number % 5])
        t.shutdown(socket.SHUT_WR)
        while t.recv(65536):
            pass
    except OSError:
        pass
    t.close()
print("done")
"""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """h1, the victim, with c1; h2, a good peer, with c2; h3, where the intruder sits and no router runs."""
    with world("hostile", 3, TRUSTED) as made:
        made.container("h1", "c1")
        made.container("h2", "c2")
        made.agreed("h1", "h2", "h3")
        made.lab.kill("h3")
        for host in ("h1", "h2"):  # dials that crossed are over, and h3 is gone
            made.wait(host, lambda seen: len(live_connections(seen)) == 1, "has more than one connection")
        yield made


def live_connections(report: Report) -> list[str]:
    """Return whom a router is connected to, or about to be."""
    rows = report["Router"]["Connections"]
    return [row["NickName"] for row in rows if row["State"] in ("established", "pending")]


@pytest.fixture(autouse=True)
def unharmed(net: World) -> Iterator[None]:
    """Whatever a test does, the router serves as before when it is over, and has not grown."""
    pid, size, terminations = net.pid("h1"), memory_of(net), net.lab.report("h1")["Router"]["TerminationCount"]
    yield
    assert net.pid("h1") == pid
    net.wait("h1", lambda seen: "intruder" not in str(seen["Router"]["Connections"]), "still connected to the intruder")
    addresses = names_of(net.report("h1"))
    assert net.inside("c1", "dig", "+short", "c2.weave.local.").split() == [addresses["c2"]]
    assert net.reaches("c1", addresses["c2"])
    with net.box("h1", "after") as box:
        net.attach("h1", box)
    # both dial when they start, and one of the two connections goes a moment later
    seen = net.wait("h1", lambda seen: live_connections(seen) == ["h2"], "is not connected to h2 alone")["Router"]
    assert "Traceback" not in net.log("h1")
    assert memory_of(net) - size < RSS_GROWTH
    assert terminations <= seen["TerminationCount"] <= terminations + 1, "the connection of the good peer stayed up"


def memory_of(net: World) -> int:
    with open(f"/proc/{net.pid('h1')}/status", encoding="ascii") as status:
        [kilobytes] = re.findall(r"VmRSS:\s+(\d+) kB", status.read())
    return int(kilobytes) << 10


def refused(net: World) -> dict[str, int]:
    counts = net.lab.report("h1")["Router"]["Refused"]
    assert isinstance(counts, dict)
    return counts


def intrude(net: World, deed: str) -> str:
    """Have the intruder do something on h3; return what became of its connection."""
    return net.inside("h3", sys.executable, "-m", "tests.lab.intruder", VICTIM, PASSWORD, deed, timeout=60.0).strip()


def test_strangers_at_the_port_of_the_mesh_are_counted_and_logged(net: World) -> None:
    before = refused(net)
    assert net.python("h3", STRANGER, VICTIM, timeout=60.0).strip() == "done"
    after = net.until(lambda: refused(net), lambda seen: sum(seen.values()) >= sum(before.values()) + 40,
                      "not every stranger was counted")
    assert after["not_weave"] > before.get("not_weave", 0)
    assert "reason=\"what is at the other end is not a weave router" in net.log("h1")


def test_strangers_that_say_nothing_hold_no_place_for_ever(net: World) -> None:
    before = refused(net)
    with probes.background(net.lab, "h3", sys.executable, "-ISc", SILENT, VICTIM) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 64
        after = net.until(lambda: refused(net), lambda seen: seen.get("timeout", 0) >= before.get("timeout", 0) + 64,
                          "silent strangers are not turned away")
        assert after["too many at once"] > before.get("too many at once", 0)


@pytest.mark.parametrize(("deed", "fate"), [
    ("random_records", "closed"),
    ("endless_message", "closed"),
    ("unknown_messages", "alive"),
])
def test_a_peer_that_talks_nonsense_harms_itself_at_most(net: World, deed: str, fate: str) -> None:
    assert intrude(net, deed) == fate


def test_messages_that_make_no_sense_are_counted(net: World) -> None:
    before = refused(net).get("malformed message", 0)
    assert intrude(net, "random_messages") == "alive"
    assert refused(net)["malformed message"] >= before + 50, "some of them may mean something"
    assert "message refused" in net.log("h1")


def test_nonsense_by_mail_is_counted(net: World) -> None:
    before = refused(net).get("malformed ipam message", 0)
    assert intrude(net, "flood_of_unicasts") == "alive"
    assert refused(net)["malformed ipam message"] >= before + 2000


def test_bad_entries_cost_no_link_and_are_counted_and_logged(net: World) -> None:
    before = net.agreed("h1", "h2")
    counts = refused(net)
    assert intrude(net, "bad_entries") == "alive"
    after = refused(net)
    for reason, least in (("bad endpoint", 49), ("malformed ipam entry", 4)):
        assert after[reason] >= counts.get(reason, 0) + least
    assert after["bad signature"] == counts.get("bad signature", 0) + 1
    assert "records refused" in net.log("h1")
    net.until(lambda: names_of(net.lab.report("h1")), lambda seen: set(seen) == {"c1", "c2"}, "a bad name is answered")
    assert net.agreed("h1", "h2")["ring"] == before["ring"]


def test_nobody_can_write_in_the_name_of_another(net: World) -> None:
    before = net.agreed("h1", "h2")
    counts = refused(net)
    assert intrude(net, "forged_entries") == "alive"
    after = refused(net)
    assert after["bad signature"] >= counts.get("bad signature", 0) + 2
    assert after["duplicate name"] >= counts.get("duplicate name", 0) + 2
    assert "bad signature" in net.log("h1")
    now = net.agreed("h1", "h2")
    assert (now["ring"], now["names"], now["endpoints"]) == (before["ring"], before["names"], before["endpoints"])


def test_a_peer_cannot_make_us_hold_all_it_says(net: World) -> None:
    assert intrude(net, "flood_of_entries") in ("alive", "closed")


def test_noise_at_the_name_server_is_counted(net: World) -> None:
    server = net.report("h1")["DNS"]["Address"].rpartition(":")[0]
    assert net.python("c1", DNS_NOISE, server, timeout=60.0).strip() == "done"
    counters = net.report("h1")["DNS"]["Counters"]
    assert counters["ignored"] > 0
    assert counters["replies_FORMERR"] > 0


def test_noise_at_the_control_socket(net: World) -> None:
    path = str(net.lab.socket("h1"))
    noises = [b"", b"\0" * 70000, os.urandom(4096), b"GET /report HTTP/1.1\r\n" + b"X: y\r\n" * 20000,
              b"PUT /attachment/x HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + bytes(1 << 20),
              b"PUT /attachment/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000,
              b"POST /stop HTTP/1.1\r\nContent-Length: 4\r\n\r\n{\"\"}", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    for noise in noises * 3:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            try:
                client.sendall(noise)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except OSError:
                continue
    held = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for client in held:
        client.connect(path)
    assert net.weave("h1", "status").count("Service")
    for client in held:
        client.close()
