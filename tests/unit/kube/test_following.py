"""Following a kind over real connections: what the server does, and what arrives."""

import json
from random import Random

import pytest
import trio

from tests.unit.kube.server import Reply, asking, run, until
from weave.kube import limits
from weave.kube.following import follow
from weave.kube.reflector import Remove, State, Synced, Upsert
from weave.kube.resource import PODS


def pod(name, version):
    return {"metadata": {"name": name, "namespace": "x", "resourceVersion": str(version)}}


def event(kind, value):
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


class Script:
    """Answers in order; lists and watches apart; the last of each again and again."""

    def __init__(self, lists, watches):
        self.lists, self.watches = list(lists), list(watches)

    def __call__(self, request):
        answers = self.watches if "watch" in request.query else self.lists
        return answers.pop(0) if len(answers) > 1 else answers[0]


def page(*items, version=9, more=""):
    return Reply(value={"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})


HANG = Reply(pieces=(), hangs=True)


async def arriving(script, enough):
    """Return what arrives until it is enough."""
    seen, states = [], []

    async def take(changes):
        for change in changes:
            (states if isinstance(change, State) else seen).append(change)

    async with asking(script) as (server, client), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: follow(client, PODS, take, rng=Random(1)))
        await until(lambda: enough(seen, states))
        nursery.cancel_scope.cancel()
    return seen, states, server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(limits, "FIRST_RETRY_S", 0.005)
    monkeypatch.setattr(limits, "LONGEST_RETRY_S", 0.02)
    monkeypatch.setattr(limits, "DENIED_RETRY_S", 0.01)


@pytest.mark.parametrize("bad_watch", [
    Reply(410, {"message": "too old"}),
    Reply(pieces=(event("ERROR", {"code": 410}),), hangs=True),
    Reply(pieces=(b"garbage\n",), hangs=True),
    Reply(503, {}),
    Reply(pieces=(), breaks=True),
    Reply(pieces=(b'{"type":"ADD',), breaks=True),
    Reply(pieces=()),
    Reply(403, {}),
])
def test_bad_watches_are_survived_and_nothing_is_missed(bad_watch):
    async def scene():
        good = Reply(pieces=(event("ADDED", pod("b", 20)), event("DELETED", pod("a", 21))), hangs=True)
        seen, _, _ = await arriving(Script([page(pod("a", 1))], [bad_watch, bad_watch, good]),
                                    lambda seen, _: Remove("x/a") in seen)
        assert seen[:2] == [Upsert("x/a", pod("a", 1)), Synced()]
        assert Upsert("x/b", pod("b", 20)) in seen

    run(scene)


@pytest.mark.parametrize("bad_list", [Reply(500, {}), Reply(401, {}), Reply(200, pieces=(b"{",)),
                                      Reply(pieces=(b"{",), breaks=True), Reply(200, {"items": 7})])
def test_bad_lists_are_survived_and_told(bad_list):
    async def scene():
        seen, states, _ = await arriving(Script([bad_list, page(pod("a", 1))], [HANG]),
                                         lambda seen, _: Synced() in seen)
        assert seen == [Upsert("x/a", pod("a", 1)), Synced()]
        assert [state.is_well for state in states] == [False, True]

    run(scene)


def test_server_that_hangs_is_left_after_our_deadline(monkeypatch):
    monkeypatch.setattr(limits, "WATCH_S", (0.0, 0.0))
    monkeypatch.setattr(limits, "WATCH_GRACE_S", 0.03)

    async def scene():
        _, _, server = await arriving(
            Script([page()], [HANG, HANG, Reply(pieces=(event("ADDED", pod("b", 20)),), hangs=True)]),
            lambda seen, _: Upsert("x/b", pod("b", 20)) in seen)
        assert [request.query.get("resourceVersion") for request in server.requests] == [None, "9", "9", "9"]

    run(scene)


def test_server_that_never_answers_is_left_too(monkeypatch):
    monkeypatch.setattr(limits, "REQUEST_DEADLINE_S", 0.03)

    async def never():
        await trio.sleep_forever()

    answers = []

    def script(request):
        answers.append(request)
        return never() if len(answers) < 3 else page(pod("a", 1)) if len(answers) == 3 else HANG

    async def scene():
        seen, _, _ = await arriving(script, lambda seen, _: Synced() in seen)
        assert seen == [Upsert("x/a", pod("a", 1)), Synced()]

    run(scene)


def test_slow_taker_holds_the_server_up_and_loses_nothing():
    lines = tuple(event("ADDED", pod(f"p{number}", 100 + number)) for number in range(200))
    taken = []

    async def take(changes):
        await trio.lowlevel.checkpoint()
        taken.extend(change for change in changes if isinstance(change, Upsert))

    async def scene():
        async with asking(Script([page()], [Reply(pieces=lines), HANG])) as (_, client), trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow(client, PODS, take, rng=Random(1)))
            await until(lambda: len(taken) == len(lines))
            nursery.cancel_scope.cancel()

    run(scene)
