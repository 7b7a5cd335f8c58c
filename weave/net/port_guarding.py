"""Keep the table that guards containers' ports: admit a port before its cable is made, dismiss it when it is gone."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from weave.addresses import IPInterface
from weave.logs import fields
from weave.net import nft
from weave.net.model import Packed
from weave.net.netlink.connection import Netlink, NetlinkFailure
from weave.net.netlink.nftables import GONE, element_batch
from weave.net.port_guard import FAMILY, TABLE, Element, Port, differs, dropped, elements, replacement

log = logging.getLogger("weave.net")


class PortGuard:
    """Own the table `weave_ports` of one network namespace; without `enabled` it is not there."""

    def __init__(self, netfilter: Netlink, namespace: int | None, *, enabled: bool) -> None:
        self.dropped = 0
        """Packets that were dropped, as of the last look."""
        self._enabled = enabled
        self._netfilter = netfilter
        self._namespace = namespace
        self._ports: dict[str, Port] = {}

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
        if found is None or differs(found, self._ports.values()):
            before = dict(self._ports)
            await nft.load(replacement(before.values()), self._namespace)
            meanwhile = [port for name, port in self._ports.items() if before.get(name) != port]
            for port in meanwhile:
                self._change(elements(port), adding=True)

    async def wipe(self) -> None:
        """Remove the table."""
        await nft.load(f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n", self._namespace)

    def admit(self, port: Port) -> bool:
        """Let a port send from its MAC and its addresses, besides those it may already; say whether it is new."""
        known = self._ports.get(port.name)
        if known is not None and known.mac == port.mac:
            port = replace(port, addresses=port.addresses | known.addresses)
        self._ports[port.name] = port
        self._change(elements(port), adding=True)
        return known is None

    def dismiss(self, name: str, addresses: Iterable[IPInterface] | None = None) -> None:
        """Let a port no longer send from some addresses, or (None) at all."""
        known = self._ports.get(name)
        if known is None:
            return
        if addresses is None:
            del self._ports[name]
            self._change(elements(known), adding=False)
            return
        rest = replace(known, addresses=known.addresses - {Packed(item.packed) for item in addresses})
        if rest != known:
            self._ports[name] = rest
            self._change([element for element in elements(known) if element not in elements(rest)], adding=False)

    def _change(self, changed: list[Element], *, adding: bool) -> None:
        if not self._enabled:
            return
        subject = f"{'admit to' if adding else 'remove from'} the nftables table {TABLE}"
        try:
            self._netfilter.transact(element_batch(TABLE, changed, adding=adding), subject)
        except NetlinkFailure as exc:
            if exc.code not in GONE:
                raise
            # Somebody removed the table, or a part of it: the kernel told of that, and the look that follows repairs.
            log.info("the table that guards ports is not as it was", extra=fields(table=TABLE, reason=exc))
