"""The agent between an API server and a router that exist in this process."""

import json
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest
import trio

from tests.unit.api.fake import ME, YOU, FakeControl
from tests.unit.kube.cluster import FakeCluster
from tests.unit.kube.server import AUTHORITY, run, serving, until
from weave.api.server import serve
from weave.kube import limits
from weave.kube.agent import Agent
from weave.kube.client import open_client
from weave.kube.config import ApiConfig
from weave.kube.joining import Note
from weave.kube.membership import admit, encode, found, seal
from weave.kube.notes import save_note
from weave.kube.options import parse_options

RANGE = "10.32.0.0/12"


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    for name in ("POLL_ROUTER_S", "POLL_ROUTER_READY_S", "POLL_RECORD_S", "CLAIM_JITTER_S", "FIRST_RETRY_S"):
        monkeypatch.setattr(limits, name, 0.02)
    monkeypatch.setattr(limits, "SETTLE_S", 0.0)


class Scene:
    def __init__(self, path):
        self.path = path
        self.cluster, self.control = FakeCluster(), FakeControl()
        self.cluster.add_node("n1", "192.0.2.1")
        self.cluster.add_node("n2", "192.0.2.2")
        record = found("b", RANGE)
        for peer, node in ((ME, "n1"), (YOU, "n2")):
            record = admit(record, peer, node)
        self.record = seal(record, {"n1", "n2"})
        self.cluster.config_map = {"metadata": {"name": "weave-net", "resourceVersion": "1"},
                                   "data": {"cluster": encode(self.record)}}
        self.ready, self.conflist = path / "agent-ready", path / "net.d" / "10-weave.conflist"
        source = path / "weave-net"
        source.write_bytes(b"\x7fELF")
        save_note(path, Note(ME, self.record.seed, RANGE, "b"))
        self.options = parse_options(
            ["agent", "--state-dir", str(path), "--socket", str(path / "weave.sock"), "--ready-file", str(self.ready),
             "--npc-socket", str(path / "npc.sock"), "--cni-source", str(source), "--cni-bin", str(path / "bin"),
             "--cni-conf", str(path / "net.d")], {"NODE_NAME": "n1"})

    def lose(self, peer):
        """Have the router reach a peer no more."""
        for each in self.control.the_report["Router"]["Peers"]:
            each["Reachable"] &= each["Name"] != peer

    @asynccontextmanager
    async def playing(self, *, policy_stands=True):
        self.policy_stands = policy_stands
        async with (
            serving(self.cluster) as server,
            open_client(ApiConfig(server.url, AUTHORITY), "tests") as client,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(partial(serve, self.control, self.path / "weave.sock"))
            await nursery.start(self.serve_policy)
            nursery.start_soon(Agent(self.options, client, Random(1)).run)
            yield
            nursery.cancel_scope.cancel()

    async def serve_policy(self, task_status):
        """Answer every request as the policy controller answers for its status."""
        async def answer(stream):
            await stream.receive_some()
            body = json.dumps({"kernel": {"stands": self.policy_stands}}).encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(str(self.path / "npc.sock"))
            listener.listen()
            task_status.started()
            await trio.serve_listeners(answer, [trio.SocketListener(listener)])


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_router_that_is_ready_is_brought_into_service(scene):
    async def play():
        async with scene.playing():
            await until(lambda: scene.control.targets == ["192.0.2.2"] and scene.ready.exists())
            assert scene.conflist.exists()
            assert scene.control.masquerade is True
            await until(lambda: scene.cluster.patches)
            name, patch = scene.cluster.patches[0]
            condition = patch["status"]["conditions"][0]
            assert (name, condition["status"], condition["reason"]) == ("n1", "False", "WeaveIsUp")
            scene.cluster.add_node("n3", "192.0.2.3")
            await until(lambda: scene.control.targets == ["192.0.2.2", "192.0.2.3"])

    run(play)


def test_node_that_was_made_anew_is_told_again_that_its_network_is_up(scene):
    async def play():
        async with scene.playing():
            await until(lambda: len(scene.cluster.patches) == 1)
            scene.cluster.delete_node("n1")
            scene.cluster.add_node("n1", "192.0.2.1")
            await until(lambda: len(scene.cluster.patches) == 2)

    run(play)


def test_no_pod_starts_before_the_rules_of_the_policy_controller_stand(scene):
    async def play():
        async with scene.playing(policy_stands=False):
            await until(lambda: scene.control.masquerade is True)
            await until(lambda: scene.control.targets == ["192.0.2.2"])  # it is a part of the mesh all the same
            assert not scene.conflist.exists()
            scene.policy_stands = True
            await until(scene.ready.exists)
            assert scene.conflist.exists()

    run(play)


def test_router_that_is_not_ready_any_more_is_told_and_the_plugin_stays(scene):
    async def play():
        async with scene.playing():
            await until(scene.ready.exists)
            scene.control.ready = False
            await until(lambda: not scene.ready.exists())
            assert scene.conflist.exists()
            scene.control.targets = []  # one that was started anew knows nobody
            scene.control.ready = True
            await until(lambda: scene.ready.exists() and scene.control.targets == ["192.0.2.2"])

    run(play)


def test_deleted_node_is_reclaimed_and_forgotten_once_it_is_gone(scene, caplog):
    caplog.set_level("INFO")
    taken = []

    async def take_over(peer):
        taken.append((peer, scene.cluster.record["leaving"][peer]["by"]))
        return 42

    scene.control.takeover = take_over

    async def play():
        async with scene.playing():
            await until(scene.ready.exists)
            scene.cluster.delete_node("n2")
            await until(lambda: "is reachable" in caplog.text)
            assert YOU in scene.cluster.record["members"]
            scene.lose(YOU)
            await until(lambda: scene.cluster.record["leaving"] == {} and len(scene.cluster.record["members"]) == 1)
            assert taken == [(YOU, ME)]

    run(play)


def test_agent_that_was_removed_ends_its_router(scene):
    async def play():
        async with scene.playing():
            await until(scene.ready.exists)
            scene.cluster.config_map["data"]["cluster"] = encode(
                type(scene.record)("b", RANGE, scene.record.seed, {YOU: scene.record.members[YOU]}, {}))
            await until(scene.control.stopped.is_set)
            assert not scene.control.wiped

    run(play)


def test_record_that_was_deleted_is_restored(scene):
    async def play():
        async with scene.playing():
            await until(scene.ready.exists)
            scene.cluster.config_map = None
            await until(lambda: scene.cluster.record is not None)
            assert tuple(scene.cluster.record["seed"]) == scene.record.seed
            assert list(scene.cluster.record["members"]) == [ME]
            assert not scene.control.stopped.is_set()

    run(play)


def test_outage_of_the_api_server_changes_nothing(scene):
    async def play():
        async with scene.playing():
            await until(lambda: scene.control.targets and scene.ready.exists())
            scene.cluster.is_down = True
            scene.control.targets = []
            scene.cluster.nodes.pop("n2")
            scene.control.ready = False
            await until(lambda: not scene.ready.exists())
            scene.control.ready = True
            await until(lambda: scene.control.targets == ["192.0.2.2"] and scene.ready.exists())

    run(play)
