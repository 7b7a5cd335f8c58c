"""A few real mesh services in one process, on loopback ports that the kernel chose."""

import random
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import trio

from weave.mesh.core import MeshCore
from weave.mesh.identity import Identity
from weave.mesh.password import OPEN_PSK
from weave.mesh.peers import LocalPeer, MeshConfig
from weave.mesh.service import MeshService, ServiceConfig
from weave.mesh.verifier import KeyVerifier


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_service(nickname: str, *, psk: bytes = OPEN_PSK, seed: bytes | None = None,
                 port: int | None = None) -> MeshService:
    identity, uid = Identity.from_seed(seed or secrets.token_bytes(32)), secrets.randbits(63)
    port = port or free_port()
    core = MeshCore(
        me=LocalPeer(name=identity.public.name, identity=identity.public.encode(), nickname=nickname, uid=uid,
                     incarnation=1, control_port=port, addresses=("127.0.0.1",)),
        signer=identity, verifier=KeyVerifier(), config=MeshConfig(default_port=port), rng=random.SystemRandom(),
        now=trio.current_time())
    return MeshService(identity, core, ServiceConfig(
        listen=ip_address("127.0.0.1"), port=port, psks=(psk,), nickname=nickname, uid=uid, trusted_subnets=()))


def address_of(service: MeshService) -> str:
    return f"127.0.0.1:{service._config.port}"


@asynccontextmanager
async def running(*services: MeshService) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for service in services:
            await nursery.start(service.run)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[MeshService, MeshService]]:
    """Run two services, `a` and `b`, that are connected."""
    a, b = make_service("a"), make_service("b")
    async with running(a, b):
        b.connect([address_of(a)])
        await until(lambda: connected_to(a) == {"b"} and connected_to(b) == {"a"})
        yield a, b


async def until(holds: Callable[[], object], deadline_s: float = 10.0) -> None:
    with trio.fail_after(deadline_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await trio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(30):
            await test()

    trio.run(bounded)


def connected_to(service: MeshService) -> set[str]:
    return {view.nickname for view in service.core.connections() if view.established}
