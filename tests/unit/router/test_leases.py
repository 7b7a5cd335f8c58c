"""Leases of addresses outlive a restart, end some time after their namespace, and are not held when taking fails."""

from pathlib import Path

import pytest
import trio
import trio.testing

from store import MemoryStore
from weave.addresses import IPAddress, IPInterface, parse_interface
from weave.api.errors import Conflict, NotFound
from weave.api.wishes import AnyIn, Wish
from weave.router.leases import GRACE_S, SWEEP_INTERVAL_S, Lease, Leases, namespace_at

ADDRESS = parse_interface("10.32.0.5/12")


class FakeAddressing:
    def __init__(self) -> None:
        self.held: dict[str, IPInterface] = {}
        self.is_full = False

    async def fulfil(self, ident: str, wish: Wish) -> IPInterface:
        if self.is_full:
            raise Conflict("no address is free")
        return self.held.setdefault(ident, ADDRESS)

    async def release(self, ident: str, address: IPAddress | None) -> None:
        if self.held.pop(ident, None) is None:
            raise NotFound(f"{ident} holds nothing")


def run(story: object) -> None:
    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))  # type: ignore[arg-type]


def lease(netns: Path) -> Lease:
    return Lease("c1", "eth0", "pods", str(netns), namespace_at(str(netns)))


def test_a_lease_ends_some_time_after_its_namespace(tmp_path: Path) -> None:
    netns, addressing = tmp_path / "netns", FakeAddressing()
    netns.write_text("")

    async def story() -> None:
        leases = Leases(MemoryStore(), addressing)  # type: ignore[arg-type]
        await leases.take(lease(netns), [AnyIn()])
        async with trio.open_nursery() as nursery:
            await nursery.start(leases.sweep)
            await trio.sleep(GRACE_S * 3)
            assert addressing.held
            netns.unlink()
            await trio.sleep(GRACE_S - SWEEP_INTERVAL_S)
            assert addressing.held, "a runtime may still call DEL"
            await trio.sleep(SWEEP_INTERVAL_S * 3)
            assert not addressing.held
            assert leases.of_network("pods") == []
            nursery.cancel_scope.cancel()

    run(story)


def test_a_lease_outlives_a_restart(tmp_path: Path) -> None:
    store, addressing = MemoryStore(), FakeAddressing()

    async def story() -> None:
        made = lease(tmp_path)
        await Leases(store, addressing).take(made, [AnyIn()])  # type: ignore[arg-type]
        again = Leases(store, addressing)  # type: ignore[arg-type]
        await again.recover()
        assert again.of_network("pods") == [made]
        assert again.of_network("other") == []
        await again.give_back("c1", "eth0")
        await again.give_back("c1", "eth0")
        assert await store.read("router.leases") == {}

    run(story)


def test_nothing_is_leased_where_no_address_is_had(tmp_path: Path) -> None:
    store, addressing = MemoryStore(), FakeAddressing()
    addressing.is_full = True

    async def story() -> None:
        leases = Leases(store, addressing)  # type: ignore[arg-type]
        with pytest.raises(Conflict):
            await leases.take(lease(tmp_path), [AnyIn()])
        assert not leases.has("c1", "eth0")
        assert await store.read("router.leases") == {}

    run(story)
