"""Two allocators asked as one: each request finds the ring of its family."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_interface, ip_network
from random import Random

import pytest
import trio

from store import MemoryStore
from tests.unit.ipam.cluster import peer
from tests.unit.ipam.test_service import run
from weave.errors import LocalError
from weave.ipam import AddressNotHeld, Allocators, IpamService, Seed

V4, V6 = ip_network("10.32.0.0/24"), ip_network("fd00:32::/64")
NARROW = ip_network("fd00:32::100/120")


@asynccontextmanager
async def both(*ranges: object) -> AsyncIterator[Allocators]:
    store = MemoryStore(auto_sync=True)
    allocators = Allocators({range_.version: IpamService(
        me=peer(1), range_=range_, default_subnet=None, init=Seed((peer(1),)), store=store,
        publish=lambda key, value: None, send=lambda name, payload: None, rng=Random(1))
        for range_ in ranges or (V4, V6)})
    async with trio.open_nursery() as nursery:
        await nursery.start(allocators.run)
        yield allocators
        nursery.cancel_scope.cancel()


def test_a_subnet_finds_the_ring_of_its_family() -> None:
    async def scenario() -> None:
        async with both() as allocators:
            await allocators.prime()
            assert await allocators.allocate("c") == ip_interface("10.32.0.1/24")
            assert (await allocators.allocate("c", V6)).network == V6
            assert (await allocators.allocate("c", NARROW)).network == NARROW
            assert [address.version for address in allocators.lookup("c")] == [4, 6, 6]
            assert [address.network for address in allocators.lookup("c", NARROW)] == [NARROW]
            assert {ident: len(held) for ident, held in allocators.owned().items()} == {"c": 3}
    run(scenario)


def test_release_lets_go_of_both_families() -> None:
    async def scenario() -> None:
        async with both() as allocators:
            first, second = await allocators.allocate("c"), await allocators.allocate("c", V6)
            await allocators.release("c", second.ip)
            assert allocators.lookup("c") == [first]
            with pytest.raises(AddressNotHeld):
                await allocators.release("c", second.ip)
            await allocators.allocate("c", V6)
            await allocators.release("c")
            assert allocators.lookup("c") == []
    run(scenario)


def test_what_no_ring_has_is_refused_in_words() -> None:
    async def scenario() -> None:
        async with both(V4) as allocators:
            with pytest.raises(LocalError, match="manages no IPv6 addresses"):
                await allocators.claim("c", ip_interface("fd00:32::5/64"))
            assert allocators.lookup("c", V6) == []
            with pytest.raises(AddressNotHeld):
                await allocators.release("c", ip_interface("fd00:32::5/64").ip)
    run(scenario)
