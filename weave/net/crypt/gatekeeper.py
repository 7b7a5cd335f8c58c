"""Keep the table `weave_links` as wanted: the shell of `gate`."""

import logging
from collections.abc import Collection

import trio

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net import nft
from weave.net.crypt.gate import GATE_TABLE, gate_table
from weave.net.guard import Table, plan_table

log = logging.getLogger("weave.net")

RETRY_S = 2.0


class GateKeeper:
    """Own the gate of one network namespace."""

    def __init__(self, port: int, probe_port: int, namespace: int | None) -> None:
        self.dropped = 0
        """Packets that the gate stopped, as of the last look."""
        self._port, self._probe_port, self._namespace = port, probe_port, namespace
        self._wanted: Table | None = None
        self._is: Table | None = None
        """What the kernel was last made to have; None: it is read again."""
        self._stale = trio.Event()
        self._lock = trio.Lock()

    def want(self, trusted: Collection[IPAddress], protected: Collection[IPAddress]) -> None:
        """Make these the addresses that get plain VXLAN, and those that get it by ESP; soon."""
        self._wanted = gate_table(trusted, protected, port=self._port, probe_port=self._probe_port)
        self._stale.set()

    async def settle(self, trusted: Collection[IPAddress], protected: Collection[IPAddress]) -> None:
        """Do as `want`, and return when it is done."""
        self.want(trusted, protected)
        await self._settle()

    def doubt(self) -> None:
        """Have the kernel looked at: somebody may have flushed the table."""
        self._is = None
        self._stale.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the table until cancelled; started once it stands: that of an earlier life, until more is wanted."""
        if self._wanted is None and await nft.listing(GATE_TABLE, self._namespace) is None:
            self.want((), ())
        await self._settle()
        task_status.started()
        while True:
            await self._stale.wait()
            self._stale = trio.Event()
            try:
                await self._settle()
            except EnvironmentFailure as exc:
                log.warning("cannot gate VXLAN; trying again", extra=fields(reason=exc, after_s=RETRY_S))
                await trio.sleep(RETRY_S)
                self._stale.set()

    async def _settle(self) -> None:
        async with self._lock:
            wanted = self._wanted
            if wanted is None or wanted == self._is:
                return
            found = await nft.listing(GATE_TABLE, self._namespace)
            if found is not None:
                self.dropped = found[1]
            commands = plan_table(GATE_TABLE, wanted, None if found is None else found[0])
            if commands:
                await nft.apply(commands, self._namespace)
            self._is = wanted


async def remove(namespace: int | None) -> None:
    """Remove the table: no password is set any more."""
    found = await nft.listing(GATE_TABLE, namespace)
    if found is not None:
        await nft.apply(plan_table(GATE_TABLE, None, found[0]), namespace)
