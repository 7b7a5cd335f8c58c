"""The client against a server in this process: bounds, refusals, tokens, TLS, and connections that go wrong."""

import os
import ssl

import pytest
import trio

from tests.unit.kube.certificates import certificate
from tests.unit.kube.server import AUTHORITY, Reply, asking, run, serving, until
from weave.errors import LocalError
from weave.kube import limits
from weave.kube.client import STRATEGIC_PATCH, open_client
from weave.kube.config import ApiConfig
from weave.kube.failure import ApiFailure
from weave.kube.reflector import List, Watch
from weave.kube.resource import CONFIG_MAPS, NODES, PODS

ANY_WATCH = Watch("5", 200, 220.0)


def failing(scene):
    """Return the failure that a scene ends with."""
    with pytest.raises((ApiFailure, ExceptionGroup)) as caught:
        run(scene)
    failure = caught.value
    while isinstance(failure, ExceptionGroup):
        assert len(failure.exceptions) == 1
        failure = failure.exceptions[0]
    assert isinstance(failure, ApiFailure)
    return failure


def test_objects_are_read_and_written_where_they_are():
    async def scene():
        async with asking(lambda request: Reply(value={"seen": request.path})) as (server, client):
            path = CONFIG_MAPS.path("kube-system", "weave-net")
            assert await client.get(path) == {"seen": "/api/v1/namespaces/kube-system/configmaps/weave-net"}
            await client.create(CONFIG_MAPS.path("kube-system"), {"a": 1})
            await client.replace(path, {"a": 2})
            await client.patch(NODES.path(name="n1", sub="status"), {"a": 3}, STRATEGIC_PATCH)
            assert [(each.method, each.json) for each in server.requests[1:]] == [
                ("POST", {"a": 1}), ("PUT", {"a": 2}), ("PATCH", {"a": 3})]
            assert server.requests[-1].headers["content-type"] == STRATEGIC_PATCH
            assert server.requests[-1].path == "/api/v1/nodes/n1/status"

    run(scene)


def test_pages_and_watches_ask_for_what_the_machine_wants():
    async def scene():
        async with asking(lambda request: Reply(pieces=(b'{"a"', b':1}\n{"b":2}\n'))) as (server, client):
            async with client.watch(PODS, ANY_WATCH, {"fieldSelector": "a=b"}) as lines:
                assert [line async for line in lines] == [b'{"a":1}', b'{"b":2}']
            assert server.requests[0].query == {
                "fieldSelector": "a=b", "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5",
                "timeoutSeconds": "200"}
        async with asking(lambda request: Reply(value={"items": []})) as (server, client):
            await client.page(PODS, List(500, "more"), {})
            await client.page(PODS, List(0, ""), {})
            assert [each.query for each in server.requests] == [{"limit": "500", "continue": "more"}, {}]

    run(scene)


@pytest.mark.parametrize(("reply", "status"), [
    (Reply(403, {"message": "no rights"}), 403),
    (Reply(500, pieces=(b"\xff",)), 500),
    (Reply(429, {}, headers=(("Retry-After", "7"),)), 429),
    (Reply(302, {}, headers=(("Location", "http://127.0.0.1:1/"),)), 302),
    (Reply(200, pieces=(b"no json",)), None),
    (Reply(200, pieces=(b"[]",)), None),
    (Reply(200, pieces=(b'{"a"',), breaks=True), None),
])
def test_what_is_no_object_is_one_kind_of_failure(reply, status):
    async def scene():
        async with asking(lambda request: reply) as (_, client):
            await client.get("/api/v1/x")

    failure = failing(scene)
    assert failure.status == status
    assert failure.retry_after_s == (7.0 if status == 429 else 0.0)


def test_server_that_is_not_there_is_a_failure_without_status():
    async def scene():
        async with open_client(ApiConfig("http://127.0.0.1:1", AUTHORITY), "tests") as client:
            await client.get("/api/v1/x")

    assert failing(scene).status is None


def test_answers_beyond_the_bounds_are_not_read(monkeypatch):
    monkeypatch.setattr(limits, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr(limits, "MAX_LINE_BYTES", 100)

    async def body():
        async with asking(lambda request: Reply(pieces=(b"x" * 600,) * 3, hangs=True)) as (_, client):
            await client.get("/api/v1/x")

    async def line():
        async with (
            asking(lambda request: Reply(pieces=(b"{}\n", b"x" * 60, b"x" * 60), hangs=True)) as (_, client),
            client.watch(PODS, ANY_WATCH, {}) as lines,
        ):
            assert [line async for line in lines] == [b"{}"]

    assert failing(body).status == 413
    assert failing(line).status == 413


def test_token_is_read_again_when_its_file_changes(tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")

    async def scene():
        async with asking(lambda request: Reply(value={}), token_file=token) as (server, client):
            await client.get("/x")
            fresh = tmp_path / "fresh"
            fresh.write_text("second")
            os.rename(fresh, token)
            await client.get("/x")
            assert [each.headers["authorization"] for each in server.requests] == ["Bearer first", "Bearer second"]
            token.unlink()
            with pytest.raises(ApiFailure, match="token"):
                await client.get("/x")

    run(scene)


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scene():
        async with asking(lambda request: Reply(value={})) as (_, client):
            assert await client.get("/x") == {}

    run(scene)


def test_watch_of_a_silent_server_ends_by_our_deadline():
    async def scene():
        async with (
            asking(lambda request: Reply(pieces=(b"{}\n",), hangs=True)) as (_, client),
            client.watch(PODS, Watch("5", 1, 0.05), {}) as lines,
        ):
            assert [line async for line in lines] == [b"{}"]

    assert failing(scene).status is None


def test_cancelled_requests_leave_nothing_behind():
    async def watch(client):
        async with client.watch(PODS, ANY_WATCH, {}) as lines:
            async for _line in lines:
                pass

    async def scene():
        async with asking(lambda request: Reply(pieces=(b"{}\n",), hangs=True)) as (server, client):
            for action in (watch, lambda client: client.get("/x")) * 3:
                async with trio.open_nursery() as nursery:
                    count = len(server.requests)
                    nursery.start_soon(action, client)
                    await until(lambda count=count: len(server.requests) > count)
                    nursery.cancel_scope.cancel()
            await until(lambda: not server.open_connections)

    run(scene)


@pytest.fixture(scope="module")
def pki():
    ca, _, issuer, ca_key = certificate("ca.test")
    return ca, certificate("kube.test", issuer, ca_key), certificate("agent.test", issuer, ca_key)


def server_side(pki, tmp_path):
    ca, (cert, key, *_), _ = pki
    (tmp_path / "server.pem").write_text(cert + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca)
    context.load_cert_chain(tmp_path / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_both_ends_prove_who_they_are(pki, tmp_path):
    ca, _, (cert, key, *_) = pki

    async def scene():
        async with serving(lambda request: Reply(value={"ok": True}), server_side(pki, tmp_path)) as server:
            config = ApiConfig(server.url, ca, certificate=cert, key=key, server_name="kube.test")
            async with open_client(config, "tests") as client:
                assert await client.get("/x") == {"ok": True}

    run(scene)


@pytest.mark.parametrize("name", ["other.test", None])
def test_server_that_cannot_prove_its_name_gets_no_token(pki, tmp_path, name):
    ca, _, (cert, key, *_) = pki
    seen = []

    async def scene():
        async with serving(lambda request: seen.append(request) or Reply(value={}),
                           server_side(pki, tmp_path)) as server:
            config = ApiConfig(server.url, ca, token="secret", certificate=cert, key=key, server_name=name)
            async with open_client(config, "tests") as client:
                await client.get("/x")

    failing(scene)
    assert not seen


def test_certificates_that_are_none_are_refused_before_anything_is_sent():
    async def scene():
        async with open_client(ApiConfig("https://192.0.2.1", "no PEM"), "tests"):
            pass

    with pytest.raises(LocalError):
        run(scene)
