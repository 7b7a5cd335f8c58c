"""Figures for Prometheus on port 6782 of every host, inside that host alone."""

from collections.abc import Mapping

from tests.lab.world import LAB, World

pytestmark = LAB
GET = """
import sys, urllib.request
with urllib.request.urlopen("http://127.0.0.1:6782" + sys.argv[1], timeout=5) as answer:
    print(answer.status, answer.headers["Content-Type"])
    print(answer.read().decode(), end="")
"""
POST = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:6782" + sys.argv[1], b"", timeout=5).status)
except urllib.error.HTTPError as exc:
    print(exc.code)
    exc.close()
"""
KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 6782), timeout=1)
    print("open")
except OSError as exc:
    print(type(exc).__name__)
"""


def figures(shared: World, host: str) -> Mapping[str, float]:
    head, _, body = shared.python(host, GET, "/metrics").partition("\n")
    assert head.startswith("200 text/plain; version=0.0.4")
    samples = [line.rpartition(" ") for line in body.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


def test_the_figures_are_there_and_right(shared: World) -> None:
    with shared.containers("h1", "m1", "m2"), shared.containers("h2", "m3"):
        shared.agreed("h1", "h2", "h3")
        seen, ipam = figures(shared, "h1"), shared.report("h1")["IPAM"]
        assert seen['weave_connections{encryption="",state="established",type="vxlan"}'] == 2
        assert (seen['weave_peers{reachable="true"}'], seen['weave_peers{reachable="false"}']) == (3, 0)
        assert seen["weave_ready"] == 1
        assert seen['weave_ips{state="local-used"}'] == ipam["ActiveIPs"] == 3, "two containers and the bridge"
        assert seen["weave_max_ips"] == ipam["RangeNumIPs"] == 1 << 20
        assert seen["weave_ipam_unreachable_count"] == 0
        assert seen["weave_dns_entries"] == 2
        assert seen["weave_dns_entries_cluster"] == 3
        assert seen['weave_links{mode="vxlan"}'] == 2
        assert seen['weave_endpoints{origin="local"}'] == 3
        assert seen["weave_bridge_mtu_bytes"] == 1450
        assert seen["process_resident_memory_bytes"] < 128 << 20
    shared.until(lambda: figures(shared, "h2")["weave_dns_entries_cluster"], lambda count: count == 0,
                 "names of containers that are gone are counted")


def test_counters_only_rise(shared: World) -> None:
    first = figures(shared, "h3")
    shared.inside("h3", "weave", "status")
    later = figures(shared, "h3")
    fell = [name for name, value in first.items()
            if name.partition("{")[0].endswith(("_total", "_count", "_bucket")) and later.get(name, value) < value]
    assert fell == []


def test_the_port_shows_status_and_takes_no_orders(shared: World) -> None:
    assert shared.python("h1", GET, "/status").startswith("200 text/plain")
    assert '"NickName":"h1"' in shared.python("h1", GET, "/report").replace(" ", "")
    assert shared.python("h1", POST, "/stop").strip() in ("404", "405")
    assert shared.python("h2", KNOCK, "198.51.100.1").strip() == "ConnectionRefusedError"
