"""The overlay with a password: pods of all nodes reach each other, and nothing of it can be read between the nodes."""

import re
from itertools import pairwise
from pathlib import Path

from tests.kubernetes.capture import Capture, recording
from tests.kubernetes.conftest import ready
from tests.kubernetes.flavour import ENCRYPTED, flavoured
from tests.kubernetes.test_network import all_is_as_before, status
from tests.kubernetes.testbed import wait_for
from tests.kubernetes.workload import HTTP, Workload, pod

pytestmark = flavoured(ENCRYPTED)
SECRET = "nobody-between-the-nodes-reads-this"
SLEEVES = "name=weave-sleeve"
PING = "ping -i 0.2 {address}"
MOST_LOST = 2
"""In a row, of five a second: less than half a second."""


def say(workload: Workload) -> None:
    """Have every pod send the secret to every other, which sends it back."""
    for source, destination in workload.pairs():
        assert workload.fetch(source, f"{workload.addresses[destination]}:{HTTP}/echo?msg={SECRET}") == SECRET


def test_01_pods_of_all_nodes_reach_each_other(workload: Workload) -> None:
    all_is_as_before(workload)
    for node in workload.cluster.nodes:
        connections = status(workload.cluster, node)["Router"]["Connections"]
        assert all(row["Attrs"]["encrypted"] for row in connections if row["State"] == "established")


def test_02_what_they_say_is_seen_on_a_bridge_but_never_between_nodes(
        workload: Workload, captured: Capture, tmp_path: Path) -> None:
    with recording("n1", "weave", tmp_path / "bridge"):
        say(workload)
    assert Capture((tmp_path / "bridge",)).holds(SECRET.encode()), "what is looked for would not be found"
    assert captured.count("udp port 6783") > 0
    assert not captured.holds(SECRET.encode())
    assert captured.count("udp port 6784") == 0
    assert captured.count("net 10.32.0.0/12") == 0


def test_03_a_rolling_restart_interrupts_nothing(workload: Workload) -> None:
    """The sleeve has a pod of its own, and the kernel the rest: pings go on while every router is replaced."""
    cluster = workload.cluster
    cluster.apply(pod("pinging", "n1", ("sh", "-c", PING.format(address=workload.addresses["n2"])),
                      labels="{app: pinging}"))
    workload.ready_pods("app=pinging", 1)
    wait_for(lambda: answered(workload), lambda seen: seen > 10, "no ping is answered", 20)
    sleeves = {item["metadata"]["uid"] for item in cluster.objects("pods", "-n", "kube-system", "-l", SLEEVES)}
    cluster.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/weave-net")
    ready(cluster)
    before = answered(workload)
    wait_for(lambda: answered(workload), lambda seen: seen > before + 10, "pings are not answered any more", 20)
    lost = missed(workload)
    assert lost <= MOST_LOST, f"{lost} pings in a row were not answered"
    assert {item["metadata"]["uid"] for item in cluster.objects("pods", "-n", "kube-system", "-l", SLEEVES)} == sleeves
    assert len(sleeves) == len(cluster.nodes)
    cluster.kubectl("delete", "pod", "pinging", "--wait")


def sequence(workload: Workload) -> list[int]:
    """Return the numbers of the pings that were answered, in order."""
    said = workload.cluster.kubectl("logs", "pinging")
    return [int(number) for number in re.findall(r"seq=(\d+)", said)]


def answered(workload: Workload) -> int:
    return len(sequence(workload))


def missed(workload: Workload) -> int:
    """Return how many pings in a row were not answered, at most."""
    numbers = sequence(workload)
    return max(later - earlier - 1 for earlier, later in pairwise(numbers))
