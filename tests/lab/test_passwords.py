"""Who has which password gets in or not, and where nobody trusts the underlay no container's packet is on it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.world import LAB, SECRET, TRUSTED, World, fresh, names_of
from weave.lab import probes
from weave.lab.names import UNDERLAY, underlay_address
from weave.mesh.reasons import Reason

pytestmark = LAB
WRONG = ("--password", "guessed")
NO_NAMES = ("--no-dns",)
"""Hosts that never get in need no name server."""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """h1 and h2 trust the underlay, h3 does not; all have the same password, and a container each."""
    with fresh("passwords") as made:
        made.lab.up(2, options=TRUSTED)
        made.lab.up(3, options=SECRET)
        made.connected("h1", "h2", "h3")
        for number in (1, 2, 3):
            made.container(f"h{number}", f"c{number}")
        made.agreed("h1", "h2", "h3")
        yield made


def failures(net: World, host: str, other: int) -> list[str]:
    """Return what a host says of failed connections with the host of that number."""
    rows = net.lab.report(host)["Router"]["Connections"]
    return [row["Info"] for row in rows if row["Address"].startswith(f"{underlay_address(other)}")
            and row["State"] in ("failed", "retrying")]


@pytest.mark.parametrize(("number", "options", "here", "there"), [
    (4, WRONG, Reason.WRONG_PASSWORD, Reason.WRONG_PASSWORD),
    (5, (), Reason.PASSWORD_MISSING_HERE, Reason.PASSWORD_MISSING_THERE),
], ids=["wrong", "missing"])
def test_a_stranger_is_refused_and_both_ends_say_why(net: World, number: int, options: tuple[str, ...], here: Reason,
                                                      there: Reason) -> None:
    host = f"h{number}"
    net.lab.up(number, options=(*options, *NO_NAMES))
    net.until(lambda: failures(net, host, 1), lambda said: any(here.sentence in line for line in said),
              f"{host} does not say why it is refused")
    net.until(lambda: failures(net, "h1", number), lambda said: any(there.sentence in line for line in said),
              f"h1 does not say why it refuses {host}")
    assert there.sentence in net.weave("h1", "status", "connections")
    assert host not in net.weave("h1", "status", "peers")
    assert here.name.lower() in net.weave(host, "report", "-f", "Router.Refused")
    net.lab.kill(host)
    net.connected("h1", "h2", "h3")


def test_an_open_router_refuses_one_with_a_password(net: World) -> None:
    net.lab.up(6, options=NO_NAMES)
    net.until(lambda: failures(net, "h6", 1), lambda said: any(Reason.PASSWORD_MISSING_HERE.sentence in line
                                                               for line in said), "h6 does not say why")
    assert "no password" in net.weave("h6", "status")
    net.lab.kill("h6")


def test_links_follow_the_trust_of_both_ends(net: World) -> None:
    net.connected("h1", "h2", "h3")
    links = {row["NickName"]: row for row in net.report("h1")["Links"]}
    assert links["h2"]["Mode"] == "vxlan"
    assert (links["h3"]["Mode"], "of that peer" in links["h3"]["Reason"]) == ("sleeve", True)
    for row in net.report("h3")["Links"]:
        if row["NickName"] in ("h1", "h2"):
            assert (row["Mode"], "of this host" in row["Reason"]) == ("sleeve", True)
    assert " sleeve " in net.weave("h3", "status", "connections")


def test_no_frame_of_a_container_is_plain_on_the_wire_where_one_end_does_not_trust_it(net: World) -> None:
    addresses = names_of(net.report("h1"))
    plain = "udp and not port 6783"
    with probes.capture(net.lab, "h1", "eth0", plain) as here, probes.capture(net.lab, "h3", "eth0", plain) as there:
        net.until(lambda: net.reaches("c1", addresses["c3"]), bool, "c3 is not reached")
        assert net.reaches("c3", addresses["c1"])
        net.lab.execute("c3", "ping", "-b", "-c1", "-W1", "10.47.255.255")
        net.lab.execute("c1", "ping", "-b", "-c1", "-W1", "10.47.255.255")
        assert net.reaches("c1", addresses["c2"])
    assert there.lines == [], "nothing leaves h3 or comes to it in plain"
    assert any(addresses["c2"] in line for line in here.lines), "the trusting pair talks"
    assert net.inside("c3", "dig", "+short", "c1.weave.local.").split() == [addresses["c1"]], "names work all the same"


FORGE = """
import socket, struct, sys
vxlan = struct.pack(">II", 0x08000000, 6784 << 8)
arp = "0001080006040001" "0a0000000bad" "0a2f0001" "000000000000" "0a2f0001"
frame = bytes.fromhex("ffffffffffff" "0a0000000bad" "0806" + arp)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(20):
    s.sendto(vxlan + frame, (sys.argv[1], 6784))
print("sent")
"""


def test_vxlan_packets_of_strangers_are_dropped(net: World) -> None:
    with probes.capture(net.lab, "h1", "weave", "arp") as seen:
        net.inside("h3", "nft", "delete", "table", "inet", "weave_links")  # who forges does not mind his own gate
        assert net.python("h3", FORGE, str(underlay_address(1))).strip() == "sent"
        assert net.python("h2", FORGE, str(underlay_address(1))).strip() == "sent"
    forged = [line for line in seen.lines if "10.47.0.1" in line]
    assert len(forged) == 20, f"what h2 sends comes in, what h3 sends does not: {len(forged)}"


def test_passwords_change_without_an_outage(net: World, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text(f"{SECRET[1]}\n")
    new.write_text("another battery staple\n")
    addresses = names_of(net.report("h1"))
    steps = ([f"--password-file={old}", f"--accept-password-file={new}"],
             [f"--password-file={new}", f"--accept-password-file={old}"],
             [f"--password-file={new}"])
    with probes.background(net.lab, "c1", "ping", "-q", "-i", "0.02", "-w", "60", addresses["c2"]) as ping:
        for step in steps:
            for host in ("h1", "h2"):
                net.lab.kill(host, signal.SIGTERM)
                net.lab.start(host, options=[*step, f"--trusted-subnets={UNDERLAY}"])
                net.connected("h1", "h2")
        ping.send_signal(signal.SIGINT)
        assert " 0% packet loss" in ping.communicate(timeout=30)[0]
    net.wait("h1", lambda seen: probes.established(seen) == {"h2"}, "is connected to one with the old password")
    net.lab.kill("h3")
    net.lab.start("h3", options=[f"--password-file={new}"])
    net.connected("h1", "h2", "h3")


def test_a_password_is_not_in_the_list_of_processes(net: World) -> None:
    net.weave("h2", "stop")
    words = ["launch", "--nickname", "h2", "--state-dir", str(net.state("h2")), "--password", "another battery staple",
             f"--trusted-subnets={UNDERLAY}", str(underlay_address(1))]
    net.weave("h2", *words)
    net.connected("h1", "h2")
    seen = net.inside("h2", "ps", "axww", "-o", "args")
    assert "weave.router" in seen
    assert "staple" not in seen
    assert "staple" not in (net.state("h2") / "router.log").read_text()
