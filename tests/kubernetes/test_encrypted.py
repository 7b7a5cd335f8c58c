"""The overlay with a password: pods of all nodes reach each other, and nothing of it can be read between the nodes."""

from pathlib import Path

from tests.kubernetes.capture import Capture, recording
from tests.kubernetes.flavour import ENCRYPTED, flavoured
from tests.kubernetes.test_network import all_is_as_before, status
from tests.kubernetes.workload import HTTP, Workload

pytestmark = flavoured(ENCRYPTED)
SECRET = "nobody-between-the-nodes-reads-this"


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
