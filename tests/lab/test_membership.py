"""Hosts join, fall silent, are cut off and come back; every status page on every host tells the same story."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.lab.world import LAB, SILENCE_S, TRUSTED, World, names_of, own_name, peer, view_of, world
from weave.api.report import Report
from weave.lab import probes

pytestmark = LAB
HOSTS = ("h1", "h2", "h3")
HALF_WAY_S, NOTICED_S = 5.0, 10.0
"""To when a host that is silent is known to be gone, and when it is."""


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """Three hosts with a container each: c1 on h1 and so on."""
    with world("membership", 3) as made:
        for host in HOSTS:
            made.container(host, f"c{host[1]}")
        for host in HOSTS:  # dials that crossed are over
            made.wait(host, lambda seen: len(seen["Router"]["Connections"]) == 2, "has not two connections")
        yield made


def test_status_pages_of_every_host_tell_of_all_three(net: World) -> None:
    net.agreed(*HOSTS)
    addresses = names_of(net.report("h1"))
    for host in HOSTS:
        others = sorted(set(HOSTS) - {host})
        overview = net.weave(host, "status")
        assert "Connections: 2 (2 established)" in overview, overview
        assert "Peers: 3 (with 6 established connections)" in overview
        assert f"({host})" in overview
        lines = net.weave(host, "status", "connections").splitlines()
        assert all("established unencrypted vxlan" in line for line in lines), "of container traffic, that is"
        assert sorted(nickname_in(line) for line in lines) == others
        links = net.weave(host, "status", "links").splitlines()
        assert sorted(nickname_in(line) for line in links) == others
        assert all("both ends trust this underlay" in line for line in links)
        names = net.weave(host, "status", "dns").splitlines()
        assert {line.split()[0]: line.split()[1] for line in names} == addresses
        assert len(net.weave(host, "status", "targets").split()) == 2


def nickname_in(line: str) -> str:
    return line.partition("(")[2].partition(")")[0]


def test_hosts_with_new_addresses_find_each_other() -> None:
    """The two that move know each other's new address from the third alone."""
    with world("readdressed", 3) as made:
        for host in HOSTS[1:]:
            device = made.inside(host, "ip", "-o", "route", "get", "198.51.100.1").split()[2]
            made.inside(host, "ip", "address", "del", f"198.51.100.{host[1]}/24", "dev", device)
            made.inside(host, "ip", "address", "add", f"198.51.100.{host[1]}0/24", "dev", device)
        made.wait("h3", lambda seen: any(
            row["NickName"] == "h2" and row["State"] == "established" and "198.51.100.20:" in row["Address"]
            for row in seen["Router"]["Connections"]), "does not find h2 again", deadline_s=90.0)
        made.wait("h3", lambda seen: any(row["NickName"] == "h2" and row["Address"] == "198.51.100.20"
                                         for row in seen["Links"]), "sends to the old address", deadline_s=45.0)


def test_peers_ipam_and_endpoints_add_up(net: World) -> None:
    net.agreed(*HOSTS)
    for host in HOSTS:
        peers = net.weave(host, "status", "peers")
        assert [nickname_in(line) for line in sorted(peers.splitlines()) if not line.startswith(" ")] == [
            peer["NickName"] for peer in sorted(net.report(host)["Router"]["Peers"], key=lambda peer: peer["Name"])]
        assert peers.count("established") == 6
        ipam = net.weave(host, "status", "ipam").splitlines()
        assert sorted(nickname_in(line) for line in ipam) == list(HOSTS)
        assert ipam[0].endswith("(2 active)"), "the container and the bridge come first, and only ours are counted"
        assert sum(int(line.partition("IPs")[0].split()[-1]) for line in ipam) == 1 << 20
        endpoints = net.weave(host, "status", "endpoints").splitlines()
        assert len(endpoints) == 6
        assert [line for line in endpoints if line.endswith(f"({host}) local")] == [
            line for line in endpoints if f"({host})" in line]


def test_a_path_into_the_report_prints_one_value(net: World) -> None:
    report = json.loads(net.weave("h2", "report"))
    assert view_of(report) == view_of(net.report("h2"))
    assert net.weave("h2", "report", "-f", "Router.NickName").strip() == "h2"
    assert net.weave("h2", "report", "-f", "{{.Router.Name}}").strip() == own_name(report)
    assert net.weave("h2", "report", "-f", "IPAM.Entries.0.Token").strip() == "10.32.0.0"
    assert "no 'Moon' there" in net.refused("h2", "report", "-f", "Router.Moon")


def test_a_fourth_host_joins_leaves_and_returns(net: World) -> None:
    net.lab.up(4, options=TRUSTED)
    net.container("h4", "c4")
    everybody = (*HOSTS, "h4")
    net.connected(*everybody)
    before = net.agreed(*everybody)
    assert len(before["peers"]) == 4

    net.weave("h4", "stop")
    for host in HOSTS:
        seen = net.wait(host, lambda seen: not peer(seen, "h4")["Reachable"], "still thinks that h4 is there")
        assert "c4" not in names_of(seen), "names of a peer that is gone are withheld"
        assert [row for row in seen["Endpoints"] if row["NickName"] == "h4"], "its containers are still reached"
        assert "h4) - unreachable!" in net.weave(host, "status", "peers")
        assert "no address is known" in net.refused(host, "dns-lookup", "c4")
    net.agreed(*HOSTS)
    assert net.reaches("c1", address_in(before, "c4")), "containers of a stopped router go on"

    net.lab.start("h4")
    assert net.agreed(*everybody) == before


def address_in(view: object, name: str) -> str:
    assert isinstance(view, dict)
    [address] = [row[1] for row in view["names"] if row[0].startswith(f"{name}.")]
    return str(address)


def test_cuts_are_bridged_or_shown_until_they_heal(net: World) -> None:
    """h1 and h2 are cut off from each other, h4 from everybody.

                 h1 ──── h3 ──── h2        h4
    """
    net.connected(*HOSTS, "h4")
    before = net.agreed(*HOSTS, "h4")
    for pair in (("h1", "h2"), ("h1", "h4"), ("h2", "h4"), ("h3", "h4")):
        net.lab.cut(*pair)
    for here, there in (("h1", "h2"), ("h2", "h1")):
        bridged_by_the_third(net, here, there)
    for here, there in (("h1", "h4"), ("h2", "h4"), ("h3", "h4"), ("h4", "h1")):
        shown_as_unreachable(net, here, there)
    assert net.weave("h4", "dns-lookup", "c4").split() == [address_in(before, "c4")], "our own names stay"
    net.weave("h1", "dns-add", "192.0.2.77", "-h", "over-the-third.weave.local")
    net.wait("h2", lambda seen: names_of(seen).get("over-the-third") == "192.0.2.77", "does not hear of h1")
    net.weave("h1", "dns-remove", "192.0.2.77", "-h", "over-the-third.weave.local")
    net.lab.heal()
    net.connected(*HOSTS, "h4", deadline_s=SILENCE_S)
    assert net.agreed(*HOSTS, "h4") == before


def bridged_by_the_third(net: World, here: str, there: str) -> None:
    seen = net.wait(here, lambda seen: there not in probes.established(seen), f"did not notice the cut to {there}")
    assert peer(seen, there)["Reachable"]
    assert f"c{there[1]}" in names_of(seen)


def shown_as_unreachable(net: World, here: str, there: str) -> None:
    seen = net.wait(here, lambda seen: not peer(seen, there)["Reachable"], f"still thinks that {there} is there")
    assert f"c{there[1]}" not in names_of(seen)
    assert [row for row in seen["Endpoints"] if row["NickName"] == there], "its containers are still reached"
    assert f"{there}) - unreachable!" in net.weave(here, "status", "peers")
    assert "unreachable!" in net.weave(here, "status", "ipam")


def test_a_cut_is_noticed_in_time_though_something_is_said_meanwhile(net: World) -> None:
    """What waits for its acknowledgement keeps the kernel from asking for a sign of life."""
    net.connected(*HOSTS)
    net.lab.cut("h1", "h2")
    began = time.monotonic()

    def say_late() -> Report:
        if time.monotonic() - began > HALF_WAY_S:
            for verb in ("dns-add", "dns-remove"):
                net.weave("h1", verb, "192.0.2.78", "-h", "said-late.weave.local")
        return net.report("h1")

    net.until(say_late, lambda seen: "h2" not in probes.established(seen), "did not notice the cut", NOTICED_S)
    net.lab.heal()
    net.connected(*HOSTS, deadline_s=SILENCE_S)
