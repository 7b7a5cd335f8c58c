"""Nodes that come to their place: the shell of `joining`, with real state files and an API server in this process."""

from contextlib import asynccontextmanager

import pytest
import trio

from tests.unit.kube.cluster import FakeCluster
from tests.unit.kube.server import AUTHORITY, run, serving, until
from weave.errors import LocalError
from weave.kube import limits, preparing
from weave.kube.client import open_client
from weave.kube.config import ApiConfig
from weave.kube.notes import load_note
from weave.kube.options import parse_options
from weave.kube.preparing import place


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(preparing, "RETRY_S", 0.02)


def options_for(path, node, **environ):
    return parse_options(["router", "--state-dir", str(path / node)], {"NODE_NAME": node, **environ})


@asynccontextmanager
async def asking(cluster):
    async with serving(cluster) as server, open_client(ApiConfig(server.url, AUTHORITY), "tests") as client:
        yield client


def test_nodes_that_start_together_and_one_that_comes_later_get_one_division(tmp_path):
    cluster, seeds = FakeCluster(), {}
    cluster.add_node("n1", "192.0.2.1")
    cluster.add_node("n2", "192.0.2.2")

    async def settle(client, node):
        seeds[node] = await place(options_for(tmp_path, node), client)

    async def play():
        async with asking(cluster) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(settle, client, "n1")
                nursery.start_soon(settle, client, "n2")
            cluster.add_node("n3", "192.0.2.3")
            await settle(client, "n3")

    run(play)
    assert len(set(seeds.values())) == 1
    assert len(seeds["n1"]) == 2
    assert {member["node"] for member in cluster.record["members"].values()} == {"n1", "n2", "n3"}
    assert load_note(tmp_path / "n3").seed == seeds["n1"]


def test_member_starts_without_the_api_server_and_a_new_node_waits(tmp_path, monkeypatch):
    cluster = FakeCluster()
    cluster.add_node("n1", "192.0.2.1")

    async def play():
        async with asking(cluster) as client:
            seed = await place(options_for(tmp_path, "n1"), client)
            cluster.is_down = True
            monkeypatch.setattr(limits, "OFFLINE_START_S", 0.0)
            assert await place(options_for(tmp_path, "n1"), client) == seed
            asked = len(cluster.asked)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(place, options_for(tmp_path, "n2"), client)
                await until(lambda: len(cluster.asked) > asked + 3)
                nursery.cancel_scope.cancel()
            assert load_note(tmp_path / "n2").seed == ()

    run(play)


def test_state_of_another_router_and_another_range_are_for_a_person_to_decide(tmp_path):
    cluster = FakeCluster()
    cluster.add_node("n1", "192.0.2.1")
    (tmp_path / "n2").mkdir()
    (tmp_path / "n2" / "weave.db").touch()

    async def play():
        async with asking(cluster) as client:
            await place(options_for(tmp_path, "n1"), client)
            with pytest.raises(LocalError, match="weave reset"):
                await place(options_for(tmp_path, "n2"), client)
            with pytest.raises(LocalError, match="one range"):
                await place(options_for(tmp_path, "n1", IPALLOC_RANGE="10.40.0.0/16"), client)

    run(play)
