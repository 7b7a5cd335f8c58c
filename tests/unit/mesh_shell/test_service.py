"""The mesh over real sockets: peers that join, strangers that knock, and what both ends get to see."""

import os
import secrets
import socket
import tracemalloc

import pytest
import trio

from tests.unit.mesh_shell.mesh import address_of, connected_to, free_port, linked, make_service, run, running, until
from weave.errors import EnvironmentFailure
from weave.mesh import limits
from weave.mesh import service as service_module
from weave.mesh.reasons import Reason
from weave.mesh.service import SEES_US


def test_three_peers_find_each_other_from_one_address_and_gossip():
    async def scene():
        a, b, c = make_service("a"), make_service("b"), make_service("c")
        heard = []
        c.on_changed = lambda channel, changes: heard.extend((channel, change.value) for change in changes)
        async with running(a, b, c):
            b.connect([address_of(a)])
            c.connect([address_of(a)])
            await until(lambda: connected_to(c) == {"a", "b"})
            a.publish("dns", b"key", b"value")
            await until(lambda: ("dns", b"value") in heard)

    run(scene)


def test_each_end_hears_at_which_address_it_is_seen():
    async def scene():
        async with linked() as (a, b):
            for service in (a, b):
                [view] = service.core.connections()
                assert view.features[SEES_US] == bytes([127, 0, 0, 1])

    run(scene)


def test_kernels_look_after_a_connection():
    async def scene():
        async with linked() as (a, b):
            for service in (a, b):
                [view] = service.core.connections()
                kept = service.link(view.conn).stream
                assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == limits.KEEPALIVE_IDLE_S

    run(scene)


def test_silence_of_a_host_is_that_of_its_kernel():
    async def scene():
        async with linked() as (a, b):
            [view] = a.core.connections()
            link = a.link(view.conn)
            await until(lambda: link.silence_s() > 0.1)
            said_at = trio.current_time()
            b.publish("dns", b"key", b"value")
            await until(lambda: link.silence_s() < trio.current_time() - said_at + 0.05)

    run(scene)


def test_a_connection_to_a_host_that_no_longer_answers_ends(monkeypatch):
    async def scene():
        a, b = make_service("a"), make_service("b")
        async with running(a, b):
            b.connect([address_of(a)])
            await until(lambda: connected_to(b) == {"a"})
            monkeypatch.setattr(service_module.Link, "silence_s", lambda _: limits.VANISHED_AFTER_S)
            await until(lambda: b.terminations)

    monkeypatch.setattr(limits, "VANISHED_AFTER_S", 1.0)
    run(scene)


def test_wrong_password_shows_the_same_reason_on_both_ends():
    async def scene():
        a, b = make_service("a", psk=b"1" * 32), make_service("b", psk=b"2" * 32)
        async with running(a, b):
            b.connect([address_of(a)])
            await until(lambda: a.inbound_refusals and b.core.targets()[0].info)
            assert Reason.WRONG_PASSWORD.sentence in a.inbound_refusals[0].reason
            assert Reason.WRONG_PASSWORD.sentence in b.core.targets()[0].info

    run(scene)


def test_a_copied_disk_is_refused_and_named():
    async def scene():
        seed = secrets.token_bytes(32)
        a, b = make_service("a", seed=seed), make_service("b", seed=seed)
        async with running(a, b):
            b.connect([address_of(a)])
            await until(lambda: a.inbound_refusals and b.core.has_clone())
            assert Reason.CLONED_IDENTITY.sentence in a.inbound_refusals[0].reason
            assert a.core.has_clone()

    run(scene)


def test_our_own_address_is_no_peer():
    async def scene():
        a = make_service("a")
        async with running(a):
            a.connect([address_of(a)])
            await until(lambda: a.core.targets()[0].state == "failed")
            assert a.core.targets()[0].next_retry is None

    run(scene)


@pytest.mark.parametrize("noise", [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", os.urandom(64), os.urandom(1 << 16)],
                         ids=["nothing", "zero", "http", "random", "much"])
def test_a_stranger_is_turned_away_and_counted_and_peers_still_join(noise):
    async def scene():
        a, b = make_service("a"), make_service("b")
        async with running(a, b):
            stream = await trio.open_tcp_stream("127.0.0.1", a._config.port)
            async with stream:
                try:
                    await stream.send_all(noise)
                    await stream.send_eof()
                except trio.BrokenResourceError:
                    pass  # it was turned away before it had said everything
                await until(lambda: sum(a.handshake_failures.values()) == 1)
            b.connect([address_of(a)])
            await until(lambda: connected_to(a) == {"b"})

    run(scene)


def test_silent_strangers_hold_no_slot_for_ever(monkeypatch):
    monkeypatch.setattr("weave.mesh.link.HANDSHAKE_DEADLINE_S", 0.2)
    monkeypatch.setattr(service_module, "MAX_HALF_OPEN", 4)

    async def scene():
        a, b = make_service("a"), make_service("b")
        async with running(a, b):
            strangers = [await trio.open_tcp_stream("127.0.0.1", a._config.port) for _ in range(8)]
            await until(lambda: a.handshake_failures["too many at once"] >= 4)
            await until(lambda: a.handshake_failures["timeout"] >= 4)
            b.connect([address_of(a)])
            await until(lambda: connected_to(a) == {"b"})
            for stranger in strangers:
                await stranger.aclose()

    run(scene)


def test_a_peer_that_breaks_the_framing_loses_its_connection_and_nothing_else():
    async def scene():
        a, b, c = make_service("a"), make_service("b"), make_service("c")
        async with running(a, b, c):
            b.connect([address_of(a)])
            c.connect([address_of(a)])
            await until(lambda: connected_to(a) == {"b", "c"} and connected_to(b) == {"a", "c"})
            link = next(iter(b._links.values()))
            await link.stream.socket.send(b"\0\x20" + os.urandom(32))  # beside the writer, which may be busy
            await until(lambda: a.terminations + c.terminations >= 1)
            await until(lambda: connected_to(a) == {"b", "c"})

    run(scene)


def test_memory_stays_bounded_while_strangers_send_for_ever(monkeypatch):
    monkeypatch.setattr("weave.mesh.link.HANDSHAKE_DEADLINE_S", 1.0)

    async def scene():
        a = make_service("a")
        async with running(a):
            tracemalloc.start()
            for _ in range(20):
                stream = await trio.open_tcp_stream("127.0.0.1", a._config.port)
                with trio.move_on_after(0.2):
                    try:
                        while True:
                            await stream.send_all(bytes(65536))
                    except trio.BrokenResourceError:
                        pass
                await stream.aclose()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 8 << 20
            assert sum(a.handshake_failures.values()) == 20

    run(scene)


def test_a_busy_port_is_an_error_that_says_what_to_do():
    async def scene():
        port = free_port()
        a, b = make_service("a", port=port), make_service("b", port=port)
        async with running(a):
            with pytest.RaisesGroup(pytest.RaisesExc(EnvironmentFailure, match="--port"), flatten_subgroups=True):
                async with running(b):
                    pass

    run(scene)


def test_a_message_that_makes_no_sense_is_refused_and_the_link_lives_on():
    async def scene():
        a, b = make_service("a"), make_service("b")
        async with running(a, b):
            b.connect([address_of(a)])
            await until(lambda: connected_to(a) == {"b"})
            link = next(iter(b._links.values()))
            link._outbox.append(b"\xc1 no message")
            link._wake.set()
            await until(lambda: a.core.refused["malformed message"] == 1)
            b.publish("dns", b"key", b"value")
            await until(lambda: a.core.entries("dns"))
            assert a.terminations == 0

    run(scene)
