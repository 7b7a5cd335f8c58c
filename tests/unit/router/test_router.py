"""What a router tells the mesh of itself is what the others take in."""

from ipaddress import ip_address
from types import SimpleNamespace

import trio

from store import MemoryStore
from weave.mesh.limits import MAX_ADDRESSES
from weave.router.router import _mesh_core
from weave.router.state import load_self
from weave.settings import parse_settings


def test_a_host_of_many_addresses_tells_the_likeliest() -> None:
    async def story() -> None:
        here = tuple(ip_address(f"192.0.2.{number}") for number in range(MAX_ADDRESSES + 9))
        datapath = SimpleNamespace(underlay_addresses=lambda: here, carries=1450)
        state = await load_self(MemoryStore())
        core = _mesh_core(parse_settings([], {}), state, 1, datapath, None)  # type: ignore[arg-type]
        core.start(trio.current_time())
        [me] = core.peers()
        assert me.addresses == tuple(map(str, here[:MAX_ADDRESSES]))

    trio.run(story)
