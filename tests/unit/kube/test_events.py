"""Events: what they say, and that each is posted once however many nodes see the problem."""

import trio

from tests.unit.kube.server import Reply, asking, run, until
from weave.kube import limits
from weave.kube.events import EventPoster, Problem, event_for

NOW = "2026-01-01T00:00:00Z"


def problem(sentence="spec.x is unknown", namespace="shop", generation=1, name="allow"):
    return Problem({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {
        "name": name, "uid": "u", "generation": generation, "resourceVersion": "5",
        **({"namespace": namespace} if namespace else {})}}, "PolicyNotUnderstood", sentence)


def name_of(*arguments, **changes):
    return event_for(problem(*arguments, **changes), "weave-npc", "n1", NOW)["metadata"]["name"]


def test_event_is_about_its_object_and_lies_beside_it():
    event = event_for(problem(), "weave-npc", "n1", NOW)
    assert event["metadata"]["namespace"] == "shop"
    assert event["involvedObject"] == {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "name": "allow",
                                       "namespace": "shop", "uid": "u", "resourceVersion": "5"}
    assert event_for(problem(namespace=""), "weave-npc", "n1", NOW)["metadata"]["namespace"] == "default"


def test_all_nodes_give_one_problem_of_one_generation_one_name():
    assert name_of() == event_for(problem(), "weave-npc", "n2", NOW)["metadata"]["name"]
    assert len({name_of(), name_of(generation=2), name_of("another")}) == 3
    assert len(name_of(name="x" * 253)) <= 253
    assert len(event_for(problem("y" * 5000), "weave-npc", "n1", NOW)["message"]) == limits.MAX_EVENT_MESSAGE


def test_events_are_posted_within_a_rate_and_what_another_node_posted_is_no_failure():
    async def scene():
        async with asking(lambda request: Reply(409, {})) as (server, client), trio.open_nursery() as nursery:
            poster = EventPoster(client, "weave-npc", "n1")
            nursery.start_soon(poster.run)
            for number in range(limits.EVENT_BURST + 5):
                poster.report(problem(str(number)))
            await until(lambda: len(server.requests) == limits.EVENT_BURST)
            assert server.requests[0].path == "/api/v1/namespaces/shop/events"
            assert poster.dropped == 5
            nursery.cancel_scope.cancel()

    run(scene)
