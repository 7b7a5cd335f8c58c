"""Let a container start only when the policy controller has let its addresses in.

Where `weave-npc` runs, an address that it has not admitted can neither send nor receive: a container whose creation
returned earlier would begin its life with connections that time out. Where it is slow or dead the container is
started all the same, closed, and opens when the controller comes.
"""

import logging
from collections.abc import Sequence

import trio

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net import Datapath

log = logging.getLogger("weave.admission")

DEADLINE_S = 5.0
LOOK_INTERVAL_S = 0.005
"""One look is two messages to the kernel, some ten microseconds."""


class Admission:
    """Ask the kernel what the policy controller has admitted."""

    def __init__(self, datapath: Datapath) -> None:
        self._datapath = datapath

    async def wait(self, container: str, addresses: Sequence[IPAddress]) -> None:
        """Return when all addresses are admitted, when nobody keeps anything out, or when it took too long."""
        began = trio.current_time()
        try:
            while not self._datapath.are_admitted(addresses):
                if trio.current_time() > began + DEADLINE_S:
                    log.warning("policy for a container is not in place yet; it is closed until then", extra=fields(
                        container=container, addresses=",".join(map(str, addresses)), waited_s=DEADLINE_S))
                    return
                await trio.sleep(LOOK_INTERVAL_S)
        except EnvironmentFailure as exc:
            log.warning("cannot see whether policy for a container is in place", extra=fields(
                container=container, reason=exc))
