"""Plain VXLAN is proven by probes that fare as the traffic does."""

from contextlib import AsyncExitStack

import pytest
import trio

from weave.net import Datapath, VxlanProver, VxlanWay
from weave.net.crypt.probing import LARGE_VANISH

from .hosts import LAB, eventually, underlay

pytestmark = LAB


@pytest.mark.parametrize(("version", "mtu", "trouble"), [
    (4, 1450, ""), (4, 1600, ""), (6, 1430, ""), (6, 1450, LARGE_VANISH),
])
def test_probes_are_cut_as_the_traffic_is(version: int, mtu: int, trouble: str) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            net = stack.enter_context(underlay())
            hosts = [net.host(1), net.host(2)]
            provers = []
            for host, other in (hosts, reversed(hosts)):
                where = host.place.descriptor
                path = await stack.enter_async_context(Datapath.open(host.config, netns=where))
                await path.set_remotes([other.remote(version)])
                prover = await stack.enter_async_context(VxlanProver.open(host.config, netns=where))
                prover.doubt([other.config.peer])
                prover.want({other.config.peer: VxlanWay(other.address(version), reachable=True)}, mtu)
                nursery.start_soon(prover.run)
                provers.append(prover)

            async def is_settled() -> bool:
                reasons = [reason for prover in provers for reason in prover.broken().values()]
                return all(trouble in reason for reason in reasons) and bool(reasons) == bool(trouble)

            await eventually(is_settled)
            nursery.cancel_scope.cancel()

    trio.run(main)
