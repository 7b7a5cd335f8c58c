"""The words and shapes of `weave status`."""

from collections.abc import Callable

import pytest

from tests.unit.api.fake import ME, YOU, report
from weave.api.render import PARTS, render_overview, render_part, short_id
from weave.api.report import Report

OVERVIEW = """\
        Version: 3.0.0

        Service: router
       Protocol: weave 3..3
           Name: 7a:9f:eb:b6:0c:6e(h1)
     Encryption: enabled
  PeerDiscovery: enabled
        Targets: 2
    Connections: 2 (1 established, 1 failed)
          Peers: 2 (with 2 established connections)
 TrustedSubnets: none

        Service: ipam
         Status: ready
          Range: 10.32.0.0/12
  DefaultSubnet: 10.32.0.0/12

        Service: dns
         Domain: weave.local.
       Upstream: 192.0.2.53
            TTL: 1
        Entries: 3

        Service: bridge
         Device: weave
            MTU: 1450
      Addresses: 10.32.0.1/12
          Links: 1 (1 vxlan)
      Endpoints: 2
"""
GOLDEN = {
    "targets": "10.0.0.9\n10.0.0.10\n",
    "connections": """\
-> 10.0.0.9:6783         established encrypted   vxlan  7e:01:02:03:04:05(h2) encrypted=true mtu=1450
-> 10.0.0.10:6783        failed      connection refused, retry in 3 s
""",
    "peers": """\
7a:9f:eb:b6:0c:6e(h1)
   -> 10.0.0.9:6783         7e:01:02:03:04:05(h2)                 established
7e:01:02:03:04:05(h2)
   <- 10.0.0.1:40000        7a:9f:eb:b6:0c:6e(h1)                 established
""",
    "dns": """\
c1           10.32.0.9       c0ffee       7a:9f:eb:b6:0c:6e
c1           10.32.0.10      c0ffee       7a:9f:eb:b6:0c:6e
c2           10.40.0.1       beefbeefbeef 7e:01:02:03:04:05 - unreachable!
""",
    "ipam": """\
7a:9f:eb:b6:0c:6e(h1)                   524288 IPs (50.0% of total) (2 active)
7e:01:02:03:04:05(h2)                   524288 IPs (50.0% of total) - unreachable!
""",
    "endpoints": """\
02:00:00:00:00:01 10.32.0.9/12,10.32.0.10/12 c0ffee       ethwe 7a:9f:eb:b6:0c:6e(h1) local app=web
02:00:00:00:00:02 10.40.0.1/12               beefbeefbeef eth0  7e:01:02:03:04:05(h2)
""",
    "links": "7e:01:02:03:04:05(h2)                 vxlan  10.0.0.9        mtu=1450\n",
}


def test_overview() -> None:
    assert render_overview(report()) == OVERVIEW


def test_overview_leaves_out_what_is_off() -> None:
    text = render_overview(report(IPAM=None, DNS=None))
    assert [line for line in text.splitlines() if "Service" in line] == [
        "        Service: router", "        Service: bridge"]


@pytest.mark.parametrize("name", PARTS)
def test_part(name: str) -> None:
    assert render_part(report(), name) == GOLDEN[name]


def turned(given: Report) -> Report:
    """Return the same report with all its lists the other way round."""
    def turn(value: object) -> object:
        match value:
            case dict():
                return {key: turn(inner) for key, inner in reversed(value.items())}
            case list():
                return [turn(item) for item in reversed(value)]
            case _:
                return value

    return turn(given)  # type: ignore[return-value]


@pytest.mark.parametrize("name", [name for name in PARTS if name != "endpoints"])
def test_order_of_the_report_does_not_show(name: str) -> None:
    assert render_part(turned(report()), name) == GOLDEN[name]


def test_peers_without_connections() -> None:
    one = report()
    one["Router"]["Peers"] = [{"Name": ME, "NickName": "h1", "UID": 1, "Version": 1, "Reachable": False,
                               "Connections": []}]
    one["Router"]["Connections"] = []
    assert render_part(one, "peers") == f"{ME}(h1) - unreachable!\n"
    assert "    Connections: 0\n          Peers: 1\n" in render_overview(one)


def test_addresses_of_ipv6_widen_their_column() -> None:
    one = report()
    one["Router"]["Connections"][0]["Address"] = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:6783"
    first, second = render_part(one, "connections").splitlines()
    assert first.index("established") == second.index("failed") == 49


@pytest.mark.parametrize(("told", "word"), [(True, "encrypted"), (False, "unencrypted"), (None, "-")])
def test_a_connection_tells_in_a_word_how_container_traffic_goes(told: bool | None, word: str) -> None:
    one = report()
    up = next(connection for connection in one["Router"]["Connections"] if connection["Name"] is not None)
    up["Attrs"] = {"mode": "vxlan", **({} if told is None else {"encrypted": told})}
    first, _ = render_part(one, "connections").splitlines()
    assert first.split()[3] == word
    assert first.index("vxlan") == 49


def change_encryption(one: Report) -> None:
    one["Router"]["Encryption"] = False


def change_warnings(one: Report) -> None:
    one["Router"]["Warnings"] = ["clock is late; look at it"]


def change_states(one: Report) -> None:
    for connection, state in zip(one["Router"]["Connections"], ["waiting", "odd"], strict=True):
        connection["State"] = state


def change_ipam(one: Report) -> None:
    assert one["IPAM"] is not None
    one["IPAM"]["Status"] = "awaiting consensus (quorum: 2, known: 1)"


@pytest.mark.parametrize(("change", "line"), [
    (change_encryption, "     Encryption: disabled (no password: whoever can connect may join)\n"),
    (change_warnings, "\n        WARNING: clock is late; look at it\n"),
    (change_states, "    Connections: 2 (1 waiting, 1 odd)\n"),
    (change_ipam, "         Status: awaiting consensus (quorum: 2, known: 1)\n"),
])
def test_overview_says(change: Callable[[Report], None], line: str) -> None:
    one = report()
    change(one)
    assert line in render_overview(one)


def test_ipam_tells_what_is_waited_for_and_what_conflicts() -> None:
    one = report()
    assert one["IPAM"] is not None
    one["IPAM"]["PendingAllocates"] = ["c2 10.32.0.0/12", "c1 10.32.0.0/12"]
    one["IPAM"]["PendingClaims"] = [{"Ident": "c3", "CIDR": "10.40.0.1/12"}]
    one["IPAM"]["Conflicts"] = [f"10.40.0.0 is ours and {YOU}'s"]
    assert render_part(one, "ipam").splitlines()[2:] == [
        "waiting for an address: c1 10.32.0.0/12",
        "waiting for an address: c2 10.32.0.0/12",
        "waiting to claim: c3 10.40.0.1/12",
        f"conflict: 10.40.0.0 is ours and {YOU}'s",
    ]


@pytest.mark.parametrize(("status", "has_vote", "line"), [
    ("idle", True, ["status: idle (quorum: 2, known: 1)"]), ("idle", False, ["status: idle"]),
    ("awaiting consensus (quorum: 2, known: 1)", True, ["status: awaiting consensus (quorum: 2, known: 1)"]),
    ("ready", False, []), ("conflict: h2 runs another ring", False, ["status: conflict: h2 runs another ring"]),
])
def test_ipam_tells_what_a_ring_waits_for_that_is_not_divided(status: str, has_vote: bool, line: list[str]) -> None:
    """`weave prime` points here."""
    one = report()
    assert one["IPAM"] is not None
    one["IPAM"].update(Status=status, Owners=[],
                       Paxos={"Elector": True, "KnownNodes": 1, "Quorum": 2} if has_vote else None)
    assert render_part(one, "ipam").splitlines() == line
    one["IPAM"]["Conflicts"] = ["h2 runs another ring"]
    assert render_part(one, "ipam").splitlines()[-1] == "conflict: h2 runs another ring"
    assert render_part(one, "ipam").count("another ring") == 1


def test_ipam_tells_two_rings_apart() -> None:
    one = report()
    assert one["IPAM"] is not None
    one["IPAM6"] = {**one["IPAM"], "Range": "fd00:32::/64"}
    lines = render_part(one, "ipam").splitlines()
    assert (lines[0], lines[3]) == ("10.32.0.0/12:", "fd00:32::/64:")


@pytest.mark.parametrize(("container", "short"), [
    ("c0ffee" * 8, "c0ffeec0ffee"), ("lab-h1-a-long-name", "lab-h1-a-long-name"), ("weave:expose", "weave:expose"),
])
def test_short_id_cuts_only_ids_of_runtimes(container: str, short: str) -> None:
    assert short_id(container) == short
