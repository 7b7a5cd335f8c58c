"""The host itself on the network: `weave expose` and `weave hide`, and the bridge's own address.

The bridge has an address of the range once the first container is there, because that is where containers find weave
DNS and their gateway; exposing adds addresses, a name, and masquerading for what leaves the network. What was exposed
is remembered and restored at the next start.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import trio

from store import Store
from store.changes import Change, Delete, Put
from weave.addresses import IPInterface, IPNetwork, parse_interface
from weave.api.errors import NotFound
from weave.api.wishes import AnyIn, Exactly, Wish
from weave.errors import EnvironmentFailure, LocalError
from weave.ipam import Reservation
from weave.logs import fields
from weave.net import Datapath, Endpoint
from weave.router.addressing import EXPOSE_IDENT, Addressing, is_wished, refuse_other_lengths
from weave.router.announce import Announcer
from weave.router.naming import Naming
from weave.router.others import Others
from weave.router.undoing import undoing
from weave.wire import expect_bool, expect_map, pack, unpack

log = logging.getLogger("weave.exposure")

TABLE = "router.exposed"


@dataclass(frozen=True, slots=True)
class _Exposed:
    address: IPInterface
    masquerade: bool


class Exposure:
    """Own the addresses that a person gave this host on the network."""

    def __init__(self, *, store: Store, datapath: Datapath, addressing: Addressing, naming: Naming,
                 announcer: Announcer, others: Others) -> None:
        self._store = store
        self._datapath = datapath
        self._addressing = addressing
        self._naming = naming
        self._announcer = announcer
        self._others = others
        self._strays: list[IPInterface] = []
        """Addresses that the bridge has from a life of which no record is left."""
        self._lock = trio.Lock()
        """One request at a time: what one undoes, another must not have built on."""
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
        if not wanted:
            self._strays = [address for address in self._datapath.bridge_addresses()
                            if self._addressing.is_in_range(address.ip)]
        await self._datapath.restore_exposed([*wanted, *self._strays], lent)
        self._addressing.bridge = self._bridge_address()
        self.announce()

    async def claim_strays(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Claim what the bridge has of our range though the state file was lost; take off what cannot be had.

        While the state is there, it says which addresses are ours, and those that a person gave the bridge are not.
        """
        task_status.started()
        for address in self._strays:
            try:
                await self._addressing.fulfil(EXPOSE_IDENT, Exactly(address))
                self._others.refuse_address("", address.ip)
            except LocalError as exc:
                log.warning("the bridge had an address that is not ours to have, and is taken from it", extra=fields(
                    address=address, reason=exc))
                await self._abandon(address)
        if self._addressing.bridge is None:
            self._addressing.bridge = self._bridge_address()

    async def _abandon(self, address: IPInterface) -> None:
        async with self._lock:
            try:
                await self._datapath.hide(address)
                with suppress(NotFound):
                    await self._addressing.release(EXPOSE_IDENT, address.ip)
            except EnvironmentFailure as exc:
                log.warning("an address cannot be taken from the bridge", extra=fields(address=address, reason=exc))
            self.announce()

    def _bridge_address(self) -> IPInterface | None:
        """Return the bridge's own address among those of the host: one that nobody exposed, where there is one."""
        held = self._addressing.lookup(EXPOSE_IDENT, self._addressing.default_subnet)
        return min(held, key=lambda address: (address in self._exposed, int(address)), default=None)

    async def expose(self, wishes: Sequence[Wish], fqdn: str | None, *, masquerade: bool) -> list[IPInterface]:
        """Give the host addresses on the network, wholly or not at all; the same again when it has them already."""
        if fqdn is not None:
            self._naming.check(fqdn)
        async with self._lock:
            return await self._expose(wishes, fqdn, masquerade=masquerade)

    async def _expose(self, wishes: Sequence[Wish], fqdn: str | None, *, masquerade: bool) -> list[IPInterface]:
        async with undoing() as undo:
            undo.callback(self.announce)
            held = frozenset(self._addressing.lookup(EXPOSE_IDENT, None))
            refuse_other_lengths(wishes, {*held, *self._exposed})
            addresses = [await self._reserved(wish, held, undo) for wish in wishes]
            names = [] if fqdn is None else self._naming.registration(
                EXPOSE_IDENT, [fqdn], [address.ip for address in addresses])
            for address in addresses:
                undo.push_async_callback(self._put_back, address, self._exposed.get(address), held)
                await self._remember(_Exposed(address, masquerade))
                await self._datapath.expose(address, masquerade=masquerade)
            if names:
                undo.push_async_callback(self._unname, names)
                await self._store.commit(names)
                self._naming.spread(names)
            self.announce()
        return addresses

    async def _reserved(self, wish: Wish, held: frozenset[IPInterface], undo: AsyncExitStack) -> IPInterface:
        reservation = self._addressing.reserve(EXPOSE_IDENT, wish)
        undo.push_async_callback(self._forgo, reservation, held)
        return await reservation.settled()

    async def _forgo(self, reservation: Reservation, held: frozenset[IPInterface]) -> None:
        """Give an address back that was exposed in vain; a container may have made it the bridge's own meanwhile."""
        bridge = self._addressing.bridge
        await self._addressing.forgo(EXPOSE_IDENT, reservation, held if bridge is None else {*held, bridge})

    async def _put_back(self, address: IPInterface, before: _Exposed | None, held: frozenset[IPInterface]) -> None:
        """Make of an address what it was before it was exposed."""
        if before is not None:
            await self._remember(before)
        else:
            await self._forget(address)
        if before is not None or address in held or address == self._addressing.bridge:
            await self._datapath.expose(address, masquerade=before is not None and before.masquerade)
        else:
            await self._datapath.hide(address)

    async def _unname(self, names: Sequence[Change]) -> None:
        gone = self._naming.taking_back(names)
        await self._store.commit(gone)
        self._naming.spread(gone)

    async def _remember(self, exposed: _Exposed) -> None:
        self._exposed[exposed.address] = exposed
        await self._store.commit([Put(TABLE, str(exposed.address).encode(), pack({"masquerade": exposed.masquerade}))])

    async def _forget(self, address: IPInterface) -> None:
        self._exposed.pop(address, None)
        await self._store.commit([Delete(TABLE, str(address).encode())])

    async def gateway(self, subnet: IPNetwork, *, masquerade: bool) -> IPInterface:
        """Return the host's address in a subnet for containers to send to, one that it gets at the first call.

        What a person exposed stays as it is; `masquerade` is how we expose where nobody did.
        """
        known = self._exposed_in(subnet)
        if known is not None:
            return known
        async with self._lock:
            known = self._exposed_in(subnet)
            if known is not None:
                return known
            if not masquerade and subnet == self._addressing.default_subnet:
                own = await self._addressing.bridge_address()
                assert own is not None, "a range has a default subnet"
                return own
            [exposed] = await self._expose((AnyIn(subnet),), None, masquerade=masquerade)
            return exposed

    def _exposed_in(self, subnet: IPNetwork) -> IPInterface | None:
        held = self._addressing.lookup(EXPOSE_IDENT, subnet)
        return next((address for address in held if address in self._exposed), None)

    async def hide(self, wishes: Sequence[Wish]) -> list[IPInterface]:
        """Take addresses of the host off the network; the one where weave DNS answers stays while it does."""
        async with self._lock:
            try:
                return await self._hide(wishes)
            finally:
                self.announce()

    async def _hide(self, wishes: Sequence[Wish]) -> list[IPInterface]:
        kept = self._addressing.bridge
        held = {*self._exposed, *self._addressing.lookup(EXPOSE_IDENT, None)}
        if kept is not None and kept not in self._exposed and self._naming.enabled:
            held.discard(kept)
        hidden = sorted((address for address in held
                         if not wishes or is_wished(address, wishes, self._addressing.default_subnets)), key=int)
        for address in hidden:
            await self._forget(address)
            await self._naming.remove(EXPOSE_IDENT, None, address.ip)
            if address == kept and self._naming.enabled:
                await self._datapath.expose(address, masquerade=False)
                continue
            await self._datapath.hide(address)
            with suppress(NotFound):
                await self._addressing.release(EXPOSE_IDENT, address.ip)
        return hidden

    def announce(self) -> None:
        """Tell peers and name server which addresses the bridge has."""
        addresses = tuple(self._datapath.bridge_addresses())
        if addresses:
            self._announcer.announce(Endpoint(mac=self._datapath.bridge_mac, addresses=addresses,
                                              container=EXPOSE_IDENT, interface="", peer=None))
        else:
            self._announcer.withdraw(self._datapath.bridge_mac, EXPOSE_IDENT, "")
        self.on_addresses(addresses)
