"""Keep our nftables tables as wanted, and remember what the kernel was last seen to have."""

import logging

from weave.addresses import IPAddress, IPNetwork
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.net import naming, nft
from weave.net.guard import (
    GUARD_TABLE,
    NAT_TABLE,
    Shape,
    Table,
    elements_of,
    guard_table,
    masqueraded,
    nat_table,
    plan_table,
)
from weave.net.model import DatapathConfig

log = logging.getLogger("weave.net")


class Firewall:
    """Own the tables `weave` and `weave_nat` of one network namespace."""

    def __init__(self, config: DatapathConfig, namespace: int | None) -> None:
        self.dropped = 0
        """Packets that the guard dropped, as of the last look."""
        self.changes = 0
        self.vteps: frozenset[IPAddress] = frozenset()
        self.masqueraded: frozenset[IPNetwork] = frozenset()
        self.subnets: frozenset[IPNetwork] = frozenset()
        """Those that the host has addresses of on the bridge."""
        self.local: frozenset[IPAddress] | None = None
        """Containers here that see their clients' addresses though their subnet is masqueraded; None: none does."""
        self._config = config
        self._namespace = namespace
        self._seen: dict[str, Shape | None] = {}

    async def adopt(self) -> None:
        """Take over what an earlier router left: nobody it let through is locked out before we know better."""
        await self.look()
        self.vteps = elements_of(self._seen[GUARD_TABLE])
        self.masqueraded = masqueraded(self._seen[NAT_TABLE])
        found = self._seen[NAT_TABLE]
        self.local = elements_of(found) if found is not None and found.sets else None

    async def look(self) -> None:
        """Read what the kernel has."""
        for name in (GUARD_TABLE, NAT_TABLE):
            found = await nft.listing(name, self._namespace)
            self._seen[name] = None if found is None else found[0]
            if name == GUARD_TABLE and found is not None:
                self.dropped = found[1]

    async def settle(self) -> None:
        """Change what differs from what was last seen; look again and replace where that does not fit."""
        for name, wanted in self._wanted().items():
            if not plan_table(name, wanted, self._seen.get(name)):
                continue
            try:
                await self._change(name, wanted)
            except EnvironmentFailure as exc:
                log.warning("nftables table changed under us; looking again", extra=fields(table=name, reason=exc))
                await self.look()
                await self._change(name, wanted)

    async def wipe(self) -> None:
        """Remove the tables."""
        await self.look()
        for name in (NAT_TABLE, GUARD_TABLE):
            await self._change(name, None)

    async def _change(self, name: str, wanted: Table | None) -> None:
        commands = plan_table(name, wanted, self._seen.get(name))
        if commands:
            await nft.apply(commands, self._namespace)
            self.changes += 1
        self._seen[name] = None if wanted is None else wanted.shape

    def _wanted(self) -> dict[str, Table | None]:
        bridge = self._config.bridge
        subnets = None if self._config.route_subnets else self.subnets
        return {
            GUARD_TABLE: guard_table(self.vteps, subnets, bridge=bridge, mac=naming.bridge_mac(self._config.peer),
                                     port=self._config.port),
            NAT_TABLE: nat_table(self.masqueraded, bridge=bridge, local=self.local),
        }
