"""Keep the table that guards containers' ports: admit a port before its cable is made, dismiss it when it is gone."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from weave.addresses import IPInterface
from weave.logs import fields
from weave.net import nft
from weave.net.model import Packed
from weave.net.port_guard import FAMILY, TABLE, Port, differs, dropped, elements, reads_targets, replacement
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.nftables import GONE, Element, transaction

log = logging.getLogger("weave.net")


class PortGuard:
    """Own the table `weave_ports` of one network namespace; without `enabled` it is not there."""

    def __init__(self, netfilter: Netlink, namespace: int | None, *, enabled: bool) -> None:
        self.dropped = 0
        """Packets that were dropped, as of the last look."""
        self.changes = 0
        """Of the table, by us."""
        self._enabled = enabled
        self._netfilter = netfilter
        self._namespace = namespace
        self._ports: dict[str, Port] = {}
        self._targets: bool | None = None
        """Whether `nft` can look at what is advertised; None: not asked yet."""

    def adopt(self, ports: Iterable[Port]) -> None:
        """Take note of the ports that are there already."""
        self._ports = {port.name: port for port in ports}

    async def settle(self) -> None:
        """Look at the table, and put it right where it is not as wanted."""
        found = await nft.raw_listing(FAMILY, TABLE, self._namespace)
        if not self._enabled:
            if found is not None:
                await self.wipe()
            return
        if found is not None:
            self.dropped = dropped(found)
        targets = await self._reads_targets()
        if found is None or differs(found, self._ports.values(), targets=targets):
            before = dict(self._ports)
            await nft.load(replacement(before.values(), targets=targets), self._namespace)
            self.changes += 1
            meanwhile = [port for name, port in self._ports.items() if before.get(name) != port]
            for port in meanwhile:
                self._change(added=elements(port))

    async def _reads_targets(self) -> bool:
        if self._targets is None:
            version = await nft.version()
            self._targets = reads_targets(version)
            if not self._targets:
                log.warning("containers can advertise IPv6 addresses of others: install nftables 1.0.3 or newer",
                            extra=fields(nft=version))
        return self._targets

    async def wipe(self) -> None:
        """Remove the table."""
        await nft.load(f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n", self._namespace)

    def admit(self, port: Port) -> bool:
        """Let a port send from its MAC and its addresses, besides those it may already; say whether it is new."""
        known = self._ports.get(port.name)
        if known is not None and known.mac == port.mac:
            port = replace(port, addresses=port.addresses | known.addresses)
        self._ports[port.name] = port
        self._change(added=elements(port))
        return known is None

    def dismiss(self, name: str, addresses: Iterable[IPInterface] | None = None) -> None:
        """Let a port no longer send from some addresses, or (None) at all."""
        known = self._ports.get(name)
        if known is None:
            return
        if addresses is None:
            del self._ports[name]
            self._change(removed=elements(known))
            return
        rest = replace(known, addresses=known.addresses - {Packed(item.packed) for item in addresses})
        if rest != known:
            self._ports[name] = rest
            self._change(removed=[element for element in elements(known) if element not in elements(rest)])

    def _change(self, *, removed: Sequence[Element] = (), added: Sequence[Element] = ()) -> None:
        if not self._enabled:
            return
        try:
            self._netfilter.transact(transaction(removed, added), f"change elements of the nftables table {TABLE}")
            self.changes += 1
        except NetlinkFailure as exc:
            if exc.code not in GONE:
                raise
            # Somebody removed the table, or a part of it: the kernel told of that, and the look that follows repairs.
            log.info("the table that guards ports is not as it was", extra=fields(table=TABLE, reason=exc))
