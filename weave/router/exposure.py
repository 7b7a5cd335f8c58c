"""The host itself on the network: `weave expose` and `weave hide`, and the bridge's own address.

The bridge has an address of the range once the first container is there, because that is where containers find weave
DNS and their gateway; exposing adds addresses, a name, and masquerading for what leaves the network. What was exposed
is remembered and restored at the next start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from store import Store
from store.changes import Delete, Put
from weave.addresses import IPInterface, IPNetwork, parse_interface
from weave.api.errors import NotFound
from weave.api.wishes import AnyIn, Wish
from weave.net import Datapath, Endpoint
from weave.router.addressing import EXPOSE_IDENT, Addressing, is_wished
from weave.router.announce import Announcer
from weave.router.naming import Naming
from weave.wire import expect_bool, expect_map, pack, unpack

TABLE = "router.exposed"


@dataclass(frozen=True, slots=True)
class _Exposed:
    address: IPInterface
    masquerade: bool


class Exposure:
    """Own the addresses that a person gave this host on the network."""

    def __init__(self, *, store: Store, datapath: Datapath, addressing: Addressing, naming: Naming,
                 announcer: Announcer) -> None:
        self._store = store
        self._datapath = datapath
        self._addressing = addressing
        self._naming = naming
        self._announcer = announcer
        self._gateway_lock = trio.Lock()
        self._exposed: dict[IPInterface, _Exposed] = {}
        self.on_addresses: Callable[[Sequence[IPInterface]], None] = lambda _addresses: None
        addressing.on_bridge_addresses = self.announce

    async def recover(self) -> None:
        """Restore what was exposed in an earlier life, and the bridge's own address."""
        for key, value in sorted((await self._store.read(TABLE)).items()):
            row = expect_map(unpack(value), "an exposed address")
            address = parse_interface(key.decode())
            self._exposed[address] = _Exposed(address, expect_bool(row.get("masquerade"), "masquerade"))
        wanted = {*self._exposed, *self._addressing.lookup(EXPOSE_IDENT, None)}
        lent = {address for address, exposed in self._exposed.items() if exposed.masquerade}
        for address in sorted(wanted, key=lambda address: (address in lent, int(address))):
            # masquerading is a matter of the subnet: whoever wants it has the last word
            await self._datapath.expose(address, masquerade=address in lent)
        self._addressing.bridge = self._bridge_address()
        self.announce()

    def _bridge_address(self) -> IPInterface | None:
        """Return the bridge's own address among those of the host: one that nobody exposed, where there is one."""
        held = self._addressing.lookup(EXPOSE_IDENT, self._addressing.default_subnet)
        return min(held, key=lambda address: (address in self._exposed, int(address)), default=None)

    async def expose(self, wishes: Sequence[Wish], fqdn: str | None, *, masquerade: bool) -> list[IPInterface]:
        """Give the host addresses on the network; the same again when it has them already."""
        addresses = [await self._addressing.fulfil(EXPOSE_IDENT, wish) for wish in wishes]
        for address in addresses:
            self._exposed[address] = _Exposed(address, masquerade)
            await self._store.commit([Put(TABLE, str(address).encode(), pack({"masquerade": masquerade}))])
            await self._datapath.expose(address, masquerade=masquerade)
            if fqdn is not None:
                await self._naming.add(EXPOSE_IDENT, fqdn, address.ip)
        self.announce()
        return addresses

    async def gateway(self, subnet: IPNetwork, *, masquerade: bool) -> IPInterface:
        """Return the host's address in a subnet for containers to send to, one that it gets at the first call.

        What a person exposed stays as it is; `masquerade` is how we expose where nobody did.
        """
        known = self._exposed_in(subnet)
        if known is not None:
            return known
        async with self._gateway_lock:
            known = self._exposed_in(subnet)
            if known is not None:
                return known
            if not masquerade and subnet == self._addressing.default_subnet:
                own = await self._addressing.bridge_address()
                assert own is not None, "a range has a default subnet"
                return own
            [exposed] = await self.expose((AnyIn(subnet),), None, masquerade=masquerade)
            return exposed

    def _exposed_in(self, subnet: IPNetwork) -> IPInterface | None:
        held = self._addressing.lookup(EXPOSE_IDENT, subnet)
        return next((address for address in held if address in self._exposed), None)

    async def hide(self, wishes: Sequence[Wish]) -> list[IPInterface]:
        """Take addresses of the host off the network; the one where weave DNS answers stays while it does."""
        kept = self._addressing.bridge
        held = {*self._exposed, *self._addressing.lookup(EXPOSE_IDENT, None)}
        if kept is not None and kept not in self._exposed and self._naming.enabled:
            held.discard(kept)
        hidden = sorted((address for address in held
                         if not wishes or is_wished(address, wishes, self._addressing.default_subnets)), key=int)
        for address in hidden:
            self._exposed.pop(address, None)
            await self._store.commit([Delete(TABLE, str(address).encode())])
            await self._naming.remove(EXPOSE_IDENT, None, address.ip)
            if address == kept and self._naming.enabled:
                await self._datapath.expose(address, masquerade=False)
                continue
            await self._datapath.hide(address)
            try:
                await self._addressing.release(EXPOSE_IDENT, address.ip)
            except NotFound:
                continue
        self.announce()
        return hidden

    def announce(self) -> None:
        """Tell peers and name server which addresses the bridge has."""
        addresses = self._datapath.bridge_state().addresses
        if addresses:
            self._announcer.announce(Endpoint(mac=self._datapath.bridge_mac, addresses=addresses,
                                              container=EXPOSE_IDENT, interface="", peer=None))
        else:
            self._announcer.withdraw(self._datapath.bridge_mac)
        self.on_addresses(addresses)
