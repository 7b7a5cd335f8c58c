"""Endpoints are announced a moment later, in their last state, and what nobody would take is refused at once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import cast

import pytest
import trio
import trio.testing

from weave.addresses import parse_interface
from weave.errors import LocalError
from weave.mesh.service import MeshService
from weave.names import parse_peer_name
from weave.net import Endpoint
from weave.router.announce import GATHER_S, Announcer
from weave.router.endpoints import CHANNEL, decode_endpoint, key_of

ME = parse_peer_name("7a:00:00:00:00:01")
MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


class Mesh:
    """Takes what is published; refuses one MAC."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes, bytes | None]] = []
        self.refused = b""

    def check(self, channel: str, key: bytes, _value: bytes | None) -> None:
        assert channel == CHANNEL
        if key == self.refused:
            raise LocalError("no room")

    def publish(self, channel: str, key: bytes, value: bytes | None) -> None:
        self.check(channel, key, value)
        self.told.append((key, value))


@asynccontextmanager
async def announcing() -> AsyncIterator[tuple[Announcer, Mesh]]:
    mesh = Mesh()
    announcer = Announcer(cast(MeshService, mesh), ME)
    async with trio.open_nursery() as nursery:
        await nursery.start(announcer.run)
        yield announcer, mesh
        nursery.cancel_scope.cancel()


def in_no_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Have trio run a test whose sleeps take no time."""
    @wraps(test)
    def run() -> None:
        trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))
    return run


def endpoint(mac: str, *addresses: str) -> Endpoint:
    return Endpoint(mac=mac, addresses=tuple(map(parse_interface, addresses)), peer=ME, container="c1",
                    interface="eth0")


@in_no_time
async def test_what_came_together_is_told_together_a_moment_later() -> None:
    async with announcing() as (announcer, mesh):
        changes: list[int] = []
        announcer.on_changed = lambda: changes.append(len(mesh.told))
        announcer.announce(endpoint(MAC, "10.32.0.1/12"))
        announcer.announce(endpoint(OTHER, "10.32.0.2/12"))
        assert not mesh.told
        await trio.sleep(2 * GATHER_S)
        assert [key for key, _ in mesh.told] == [key_of(MAC), key_of(OTHER)]
        assert changes == [2]


@in_no_time
async def test_the_last_state_is_told() -> None:
    async with announcing() as (announcer, mesh):
        announcer.announce(endpoint(MAC, "10.32.0.1/12"))
        announcer.announce(endpoint(MAC, "10.32.0.1/12", "10.32.0.9/12"))
        announcer.announce(endpoint(OTHER, "10.32.0.2/12"))
        announcer.withdraw(OTHER, "c1", "eth0")
        await trio.sleep(2 * GATHER_S)
        told = dict(mesh.told)
        value = told[key_of(MAC)]
        assert value is not None
        assert len(decode_endpoint(ME, key_of(MAC), value).addresses) == 2
        assert told[key_of(OTHER)] is None


@in_no_time
async def test_what_is_known_already_is_not_told_again() -> None:
    async with announcing() as (announcer, mesh):
        for _ in range(3):
            announcer.announce(endpoint(MAC, "10.32.0.1/12"))
            await trio.sleep(2 * GATHER_S)
        announcer.withdraw(OTHER, "c1", "eth0")
        await trio.sleep(2 * GATHER_S)
        assert len(mesh.told) == 1


@in_no_time
async def test_what_nobody_would_take_is_refused_at_once() -> None:
    async with announcing() as (announcer, mesh):
        mesh.refused = key_of(MAC)
        with pytest.raises(LocalError, match="no room"):
            announcer.announce(endpoint(MAC, "10.32.0.1/12"))
        assert announcer.local() == []
        await trio.sleep(2 * GATHER_S)
        assert not mesh.told


@in_no_time
async def test_what_cannot_be_told_after_all_harms_nobody_else() -> None:
    async with announcing() as (announcer, mesh):
        announcer.announce(endpoint(MAC, "10.32.0.1/12"))
        announcer.announce(endpoint(OTHER, "10.32.0.2/12"))
        mesh.refused = key_of(MAC)
        await trio.sleep(2 * GATHER_S)
        assert [key for key, _ in mesh.told] == [key_of(OTHER)]


@in_no_time
async def test_an_endpoint_is_not_withdrawn_for_another_with_its_mac() -> None:
    async with announcing() as (announcer, _mesh):
        announcer.announce(endpoint(MAC, "10.32.0.1/12"))
        announcer.withdraw(MAC, "c2", "eth0")
        assert [item.mac for item in announcer.local()] == [MAC]
