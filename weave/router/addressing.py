"""Addresses for whoever asks: the allocator behind the words of the control API, and the bridge's own address.

Without a range (`--ipalloc-range none`) only addresses that the caller names are taken, and nobody checks that they
are unique.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import trio

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.api.errors import Conflict, FeatureOff, NotFound
from weave.api.wishes import AnyIn, Exactly, Wish
from weave.errors import LocalError, WeaveError
from weave.ipam import AddressNotHeld, AddressTaken, Allocators, Reservation
from weave.net import Datapath
from weave.router.others import Others

EXPOSE_IDENT = "weave:expose"
"""Who holds the addresses of the bridge, as in Weave Net."""
EXTERN_IDENT = "weave:extern"
"""Whose names are those of things outside any container, as in Weave Net."""
_INSTEAD = {
    EXPOSE_IDENT: "is this host itself; use `weave expose` and `weave hide`",
    EXTERN_IDENT: "is whatever is outside; use `weave dns-add` and `weave dns-remove`",
}


class Addressing:
    """Own the way from a wish to an address."""

    def __init__(self, ipam: Allocators | None, datapath: Datapath, default_subnets: Sequence[IPNetwork],
                 others: Others) -> None:
        self.default_subnets = tuple(default_subnets)
        self.default_subnet = default_subnets[0] if default_subnets else None
        """The one that is meant where a single address is asked for."""
        self._ipam = ipam
        self._datapath = datapath
        self._others = others
        self.bridge: IPInterface | None = None
        """The bridge's own address, once it has one."""
        self.on_bridge_addresses: Callable[[], None] = lambda: None
        self._bridge_lock = trio.Lock()

    @property
    def has_range(self) -> bool:
        """Say whether this router manages addresses."""
        return self._ipam is not None

    @property
    def ipam(self) -> Allocators:
        """Return the allocator; raise `FeatureOff` where this router manages no addresses."""
        if self._ipam is None:
            raise FeatureOff("this router manages no addresses (--ipalloc-range none); name one, like 10.32.0.5/12")
        return self._ipam

    def expand(self, wishes: Sequence[Wish]) -> list[Wish]:
        """Return the wishes with that for the default subnet as one for each family that has a range."""
        found: list[Wish] = []
        for wish in wishes:
            is_default = isinstance(wish, AnyIn) and wish.subnet is None and len(self.default_subnets) > 1
            found += map(AnyIn, self.default_subnets) if is_default else [wish]
        return list(dict.fromkeys(found))

    def reserve(self, ident: str, wish: Wish) -> Reservation:
        """Begin to fulfil a wish; what is decided may be used on this host before it is durable."""
        match wish:
            case AnyIn(subnet):
                return self.ipam.reserve(ident, subnet)
            case Exactly(interface):
                self._refuse_what_others_have(ident, interface)
                if self._ipam is None:
                    return Reservation(interface, partial(_known, interface), lambda: None)
                found = self._ipam.reserve_one(ident, interface)
                return replace(found, settled=partial(_or_conflict, found))

    async def forgo(self, ident: str, reservation: Reservation, known: Collection[IPInterface]) -> None:
        """Release an address that was reserved in vain, unless it is one of those that `ident` has held before."""
        reservation.abandon()
        try:
            address = await reservation.settled()
        except WeaveError:
            return
        if address not in known:
            with suppress(NotFound):
                await self.release(ident, address.ip)

    async def fulfil(self, ident: str, wish: Wish) -> IPInterface:
        """Return an address for `ident` as wished, durably its own."""
        match wish:
            case AnyIn(subnet):
                return await self.ipam.allocate(ident, subnet)
            case Exactly(interface):
                if self._ipam is None:
                    self._refuse_what_others_have(ident, interface)
                else:
                    await self.claim(ident, interface)
                return interface

    async def claim(self, ident: str, interface: IPInterface) -> None:
        """Make exactly this address that of `ident`; raise `Conflict` where another has it."""
        self._refuse_what_others_have(ident, interface)
        try:
            await self.ipam.claim(ident, interface)
        except AddressTaken as exc:
            raise Conflict(str(exc)) from exc

    def _refuse_what_others_have(self, ident: str, interface: IPInterface) -> None:
        """Raise `Conflict` for an address that lives on another host, unless `ident` holds it already.

        Of most the allocator knows; not of those outside the range, nor of what a copy of its owner gave out.
        """
        if interface not in self.lookup(ident, None):
            container = "" if ident == EXPOSE_IDENT else ident.partition("/")[0]
            self._others.refuse_address(container, interface.ip)

    async def release(self, ident: str, address: IPAddress | None) -> None:
        """Free one address of `ident`, or all of them; raise `NotFound` where it holds none such."""
        if self._ipam is None:
            return
        try:
            await self._ipam.release(ident, address)
        except AddressNotHeld as exc:
            raise NotFound(str(exc)) from exc

    def lookup(self, ident: str, subnet: IPNetwork | None) -> list[IPInterface]:
        """Return what `ident` holds."""
        return [] if self._ipam is None else self._ipam.lookup(ident, subnet)

    def is_in_range(self, address: IPAddress) -> bool:
        """Say whether an address is one of those that the routers give out."""
        views = [] if self._ipam is None else self._ipam.views()
        return any(address.version == view.network.version and address in view.network for view in views)

    def is_held_by_another(self, ident: str, address: IPAddress) -> bool:
        """Say whether the allocator of this host gave an address to somebody else."""
        owned = {} if self._ipam is None else self._ipam.owned()
        return any(other != ident and any(address == held.ip for held in addresses)
                   for other, addresses in owned.items())

    async def bridge_address(self) -> IPInterface | None:
        """Return the bridge's address, taken from the range at the first call; None without a range.

        Containers find weave DNS and their gateway there, so it comes with the first container at the latest.
        """
        if self._ipam is None or self.bridge is not None:
            return self.bridge
        async with self._bridge_lock:
            if self.bridge is None:
                address = await self._ipam.allocate(EXPOSE_IDENT, None)
                await self._datapath.add_bridge_address(address)
                self.bridge = address
                self.on_bridge_addresses()
            return self.bridge


async def _known(interface: IPInterface) -> IPInterface:
    return interface


async def _or_conflict(reservation: Reservation) -> IPInterface:
    try:
        return await reservation.settled()
    except AddressTaken as exc:
        raise Conflict(str(exc)) from exc


def refuse_own(ident: str) -> None:
    """Raise `LocalError` for a word of ours that stands for no container."""
    if ident in _INSTEAD:
        raise LocalError(f"{ident} is no container: it {_INSTEAD[ident]}")


def refuse_other_lengths(wishes: Iterable[Wish], held: Iterable[IPInterface]) -> None:
    """Raise `Conflict` for an address that is held, or wished for, with another prefix length: it is one address."""
    lengths = {address.ip: address for address in held}
    for wish in wishes:
        if isinstance(wish, Exactly):
            known = lengths.setdefault(wish.interface.ip, wish.interface)
            if known != wish.interface:
                raise Conflict(f"{wish.interface} contradicts {known}, which is the same address; take that off first")


def is_wished(address: IPInterface, wishes: Sequence[Wish], default_subnets: Sequence[IPNetwork]) -> bool:
    """Say whether an address that is held is what one of the wishes stands for."""
    for wish in wishes:
        match wish:
            case Exactly(interface):
                if interface.ip == address.ip:
                    return True
            case AnyIn(subnet):
                if address.network in ([subnet] if subnet is not None else default_subnets):
                    return True
    return False
