"""The allocators of a host, one for each address family, asked as if they were one.

Each has a ring, a store's tables and gossip keys of its own; they share nothing. Whoever names an address or a subnet
is sent to the allocator of its family, whoever names nothing to the first one. What tells all of the mesh goes to
both: each skips what is the other's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import trio

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.errors import LocalError
from weave.ipam.service import IpamService, Reservation
from weave.ipam.views import IpamView
from weave.names import PeerName


class Allocators:
    """Own one allocator or two, of different families."""

    def __init__(self, services: Mapping[int, IpamService]) -> None:
        """Take the services by address family; the first is the one that is meant when nothing is said."""
        assert services, "a host without a range has no allocators"
        self._services = dict(services)
        self._first = next(iter(self._services.values()))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all until cancelled; started when all have read the store."""
        async with trio.open_nursery() as nursery:
            for service in self._services.values():
                await nursery.start(service.run)
            task_status.started()

    # --- requests ------------------------------------------------------------------------------------------------

    async def allocate(self, ident: str, subnet: IPNetwork | None = None) -> IPInterface:
        """Return an address for `ident` in a subnet (None: the first range's default); may wait for ever."""
        return await self.reserve(ident, subnet).settled()

    def reserve(self, ident: str, subnet: IPNetwork | None = None) -> Reservation:
        """Begin to allocate; what is decided may be used on this host before it is durable."""
        return (self._first if subnet is None else self._of(subnet.version)).reserve(ident, subnet)

    async def claim(self, ident: str, interface: IPInterface) -> None:
        """Reserve one address for `ident`; raise `AddressTaken` when another has it; may wait for ever."""
        await self.reserve_one(ident, interface).settled()

    def reserve_one(self, ident: str, interface: IPInterface) -> Reservation:
        """Begin to claim one address, as `reserve` does."""
        return self._of(interface.version).reserve_one(ident, interface)

    async def release(self, ident: str, address: IPAddress | None = None) -> None:
        """Free one address of `ident`, or all; raise `AddressNotHeld` for one that it does not hold."""
        if address is not None:
            await self._services.get(address.version, self._first).release(ident, address)
            return
        for service in self._services.values():
            await service.release(ident)

    async def prime(self) -> None:
        """Return once every range is divided; may wait for ever."""
        for service in self._services.values():
            await service.prime()

    async def takeover(self, peer: PeerName) -> int:
        """Take everything a dead peer owns, of every family that it owns any of; return how many addresses."""
        owning = [service for service in self._services.values()
                  if any(owner.peer == peer for owner in service.view().owners)]
        return sum([await service.takeover(peer) for service in owning or [self._first]])

    async def surrender(self) -> int:
        """Give everything we own to other peers, for we leave; return how many addresses that was."""
        return sum([await service.surrender() for service in self._services.values()])

    def lookup(self, ident: str, subnet: IPNetwork | None = None) -> list[IPInterface]:
        """Return the addresses of `ident`, in one subnet or all."""
        services = self._services.values() if subnet is None else [self._services.get(subnet.version, self._first)]
        return [address for service in services for address in service.lookup(ident, subnet)]

    def owned(self) -> dict[str, list[IPInterface]]:
        """Return every address in use here, by who uses it."""
        found: dict[str, list[IPInterface]] = {}
        for service in self._services.values():
            for ident, addresses in service.owned().items():
                found.setdefault(ident, []).extend(addresses)
        return found

    def views(self) -> list[IpamView]:
        """Return everything that a report says, the first range first."""
        return [service.view() for service in self._services.values()]

    def refused(self) -> Counter[str]:
        """Return what peers sent and was refused, by reason."""
        counts: Counter[str] = Counter()
        for service in self._services.values():
            if service.core is not None:
                counts += service.core.refused
        return counts

    # --- what the router tells -----------------------------------------------------------------------------------

    def entries_changed(self, changes: Sequence[tuple[PeerName, bytes, bytes | None]]) -> None:
        """Take in entries of the channel "ipam"."""
        for service in self._services.values():
            service.entries_changed(changes)

    def message(self, source: PeerName, payload: bytes) -> None:
        """Take in a unicast message of kind "ipam"."""
        for service in self._services.values():
            service.message(source, payload)

    def peers_changed(self, reachable: frozenset[PeerName], nicknames: Mapping[PeerName, str]) -> None:
        """Take note of who is reachable."""
        for service in self._services.values():
            service.peers_changed(reachable, nicknames)

    def expect_nobody(self) -> None:
        """Take note that we shall connect to no peer by ourselves."""
        for service in self._services.values():
            service.expect_nobody()

    def _of(self, family: int) -> IpamService:
        service = self._services.get(family)
        if service is None:
            raise LocalError(f"this router manages no IPv{family} addresses; give it a range of them with "
                             "--ipalloc-range, beside the one that it has")
        return service
