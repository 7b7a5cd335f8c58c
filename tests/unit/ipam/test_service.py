"""The shell: nothing leaves before it is durable, much shares one commit, cancelling leaves nothing behind."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from random import Random

import pytest
import trio
from trio.testing import MockClock

from store import MemoryStore
from store.changes import Change
from tests.unit.ipam.cluster import peer
from weave.errors import EnvironmentFailure, LocalError
from weave.ipam import AddressNotHeld, AddressTaken, InitMode, IpamService, Seed
from weave.names import PeerName

RANGE = ip_network("10.32.0.0/24")
SMALL = ip_network("10.32.0.8/29")


class CountingStore(MemoryStore):
    def __init__(self, *, auto_sync: bool = True) -> None:
        super().__init__(auto_sync=auto_sync)
        self.commits = 0

    async def commit(self, changes: Sequence[Change]) -> None:
        self.commits += 1
        await super().commit(changes)


@dataclass
class Rig:
    service: IpamService
    store: CountingStore
    published: dict[bytes, bytes] = field(default_factory=dict)
    sent: list[tuple[PeerName, bytes]] = field(default_factory=list)


@asynccontextmanager
async def running(init: InitMode | None = None, store: CountingStore | None = None) -> AsyncIterator[Rig]:
    store = store or CountingStore()

    def publish(key: bytes, value: bytes | None) -> None:
        rig.published.pop(key, None)
        if value is not None:
            rig.published[key] = value

    service = IpamService(
        me=peer(1), range_=RANGE, default_subnet=None, init=init or Seed((peer(1),)), store=store, publish=publish,
        send=lambda name, payload: rig.sent.append((name, payload)), rng=Random(1))
    rig = Rig(service, store)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        yield rig
        nursery.cancel_scope.cancel()


def run(scenario: Callable[[], object]) -> None:
    trio.run(scenario, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]


def test_allocate_claim_lookup_release() -> None:
    async def scenario() -> None:
        async with running() as rig:
            service = rig.service
            await service.prime()
            assert await service.allocate("c") == ip_interface("10.32.0.1/24")
            assert await service.allocate("c", SMALL) == ip_interface("10.32.0.9/29")
            await service.claim("d", ip_interface("10.32.0.77/24"))
            assert service.lookup("c", SMALL) == [ip_interface("10.32.0.9/29")]
            assert service.owned() == {
                "c": [ip_interface("10.32.0.1/24"), ip_interface("10.32.0.9/29")],
                "d": [ip_interface("10.32.0.77/24")]}
            await service.release("c", ip_address("10.32.0.1"))
            await service.release("c")
            assert service.lookup("c") == []
            assert service.view().active == 1
    run(scenario)


def test_refusals_are_raised() -> None:
    async def scenario() -> None:
        async with running() as rig:
            await rig.service.claim("c", ip_interface("10.32.0.7/24"))
            with pytest.raises(AddressTaken, match="in use by c"):
                await rig.service.claim("d", ip_interface("10.32.0.7/24"))
            with pytest.raises(AddressNotHeld):
                await rig.service.release("d", ip_address("10.32.0.7"))
            with pytest.raises(LocalError, match="does not lie in the range"):
                await rig.service.allocate("c", ip_network("192.0.2.0/24"))
            with pytest.raises(LocalError, match="this peer itself"):
                await rig.service.takeover(peer(1))
    run(scenario)


def test_answer_waits_for_the_disk() -> None:
    async def scenario() -> None:
        store = CountingStore(auto_sync=False)
        async with running(store=store) as rig, trio.open_nursery() as nursery:
            await trio.sleep(1)
            store.sync()
            got: list[object] = []

            async def ask() -> None:
                got.append(await rig.service.allocate("c"))

            nursery.start_soon(ask)
            await trio.sleep(10)
            assert got == []
            store.sync()
            await trio.sleep(0.1)
            assert got == [ip_interface("10.32.0.1/24")]
    run(scenario)


def test_nothing_is_published_before_it_is_durable() -> None:
    async def scenario() -> None:
        store = CountingStore(auto_sync=False)
        async with running(store=store) as rig:
            await trio.sleep(1)
            assert rig.published == {}
            store.sync()
            await trio.sleep(0.1)
            assert set(rig.published) == {b"free4", b"seed4"}
    run(scenario)


def test_many_requests_share_a_commit() -> None:
    async def scenario() -> None:
        async with running() as rig:
            await rig.service.prime()
            before = rig.store.commits
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(rig.service.allocate, f"c{number}")
            assert rig.service.view().active == 100
            assert rig.store.commits - before <= 3
    run(scenario)


def test_cancelled_request_is_forgotten() -> None:
    async def scenario() -> None:
        async with running(Seed((peer(2),))) as rig:
            with trio.move_on_after(3):
                await rig.service.allocate("c")
            assert rig.service.view().pending_allocates == ()
            assert rig.service.view().active == 0
    run(scenario)


def test_an_answer_is_not_lost_with_who_waited_for_it() -> None:
    async def scenario() -> None:
        store = CountingStore(auto_sync=False)
        async with running(store=store) as rig:
            await trio.sleep(1)
            store.sync()
            reserved = rig.service.reserve("c")
            with trio.move_on_after(1):
                await reserved.settled()
            reserved.abandon()
            store.sync()
            with trio.fail_after(1):
                assert await reserved.settled() == reserved.decided == ip_interface("10.32.0.1/24")
                assert await reserved.settled() == reserved.decided
            assert rig.service.lookup("c") == [reserved.decided]
    run(scenario)


def test_what_waits_and_is_abandoned_is_forgotten() -> None:
    async def scenario() -> None:
        async with running(Seed((peer(2),))) as rig:
            reserved = rig.service.reserve("c")
            assert rig.service.view().pending_allocates != ()
            reserved.abandon()
            assert rig.service.view().pending_allocates == ()
            for _ in range(2):
                with trio.fail_after(1), pytest.raises(EnvironmentFailure, match="nobody waits"):
                    await reserved.settled()
    run(scenario)


def test_restart_finds_what_was_acknowledged() -> None:
    async def scenario() -> None:
        store = CountingStore()
        async with running(store=store) as rig:
            await rig.service.allocate("c")
        async with running(store=store) as rig:
            assert rig.service.lookup("c") == [ip_interface("10.32.0.1/24")]
            assert await rig.service.allocate("c") == ip_interface("10.32.0.1/24")
            rig.service.expect_nobody()
            assert await rig.service.allocate("d") == ip_interface("10.32.0.2/24")
    run(scenario)


def test_failing_disk_fails_callers_and_the_service() -> None:
    async def scenario() -> None:
        refused: list[Exception] = []

        async def ask(rig: Rig) -> None:
            try:
                await rig.service.allocate("c")
            except EnvironmentFailure as exc:
                refused.append(exc)

        async def work() -> None:
            async with running() as rig, trio.open_nursery() as nursery:
                await rig.service.prime()
                rig.store.fail("disk full")
                nursery.start_soon(ask, rig)
                await trio.sleep(1)

        with pytest.raises(ExceptionGroup) as group:
            await work()
        assert group.group_contains(EnvironmentFailure, match="disk full")
        assert "disk full" in str(refused[0])
    run(scenario)


def test_events_before_the_start_are_kept() -> None:
    async def scenario() -> None:
        store = CountingStore()
        service = IpamService(
            me=peer(1), range_=RANGE, default_subnet=None, init=Seed((peer(1), peer(2))), store=store,
            publish=lambda _key, _value: None, send=lambda _peer, _payload: None)
        service.peers_changed(frozenset({peer(2)}), {peer(2): "h2"})
        with pytest.raises(EnvironmentFailure, match="not started"):
            await service.allocate("c")
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            assert [owner.nickname for owner in service.view().owners] == ["", "h2"]
            nursery.cancel_scope.cancel()
    run(scenario)


def test_time_alone_moves_the_core() -> None:
    """A search asks again and again while nothing else happens."""
    async def scenario() -> None:
        async with running(Seed((peer(2),))) as rig:
            rig.service.peers_changed(frozenset({peer(2)}), {})
            with trio.move_on_after(20):
                await rig.service.allocate("c")
            assert 3 < len(rig.sent) < 10
    run(scenario)


def test_state_of_another_range_ends_the_start() -> None:
    async def scenario() -> None:
        store = CountingStore()
        async with running(store=store) as rig:
            await rig.service.prime()
        service = IpamService(
            me=peer(1), range_=ip_network("10.40.0.0/16"), default_subnet=None, init=Seed((peer(1),)), store=store,
            publish=lambda _key, _value: None, send=lambda _peer, _payload: None)
        with pytest.raises(LocalError, match="weave reset"):
            await service.run()
    run(scenario)
