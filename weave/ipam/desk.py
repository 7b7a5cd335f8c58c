"""Requests for addresses: what is asked, whether it makes sense, and serving it from what we own.

A request is served at once or it waits here. Serving changes the space and its rows in one step; the answer leaves
after the rows are durable. Asking again changes nothing and gives the same answer.
"""

from collections.abc import Iterator

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.errors import LocalError
from weave.ipam.blocks import Universe
from weave.ipam.effects import Outcome
from weave.ipam.errors import AddressNotHeld, AddressTaken, Released
from weave.ipam.limits import FREED_HOLD_S, MAX_IDENT_CHARS, MAX_PENDING, MIN_SUBNET_ADDRESSES
from weave.ipam.outbox import Outbox
from weave.ipam.pending import Wanted
from weave.ipam.space import Holding, Space
from weave.ipam.stored import Rows


class Desk:
    """Where requests come in, wait and are answered."""

    def __init__(self, universe: Universe, default_subnet: IPNetwork, space: Space, outbox: Outbox) -> None:
        self.default_subnet = default_subnet
        self.pending: dict[int, Wanted] = {}
        """Requests that wait, in the order in which they came."""
        self.primes: list[int] = []
        """Requests that wait for nothing but the ring."""
        self._universe = universe
        self._space = space
        self._outbox = outbox
        self._rows = Rows(universe)

    # --- making sense of requests ----------------------------------------------------------------------------------

    def allocation(self, ident: str, subnet: IPNetwork | None) -> Wanted:
        """Return what an allocation wants; raise `LocalError` where it cannot be."""
        chosen = self.default_subnet if subnet is None else subnet
        if not self._lies_in_range(chosen):
            raise LocalError(f"subnet {chosen} does not lie in the range {self._universe.network} (--ipalloc-range)")
        if chosen.num_addresses < MIN_SUBNET_ADDRESSES:
            raise LocalError(f"subnet {chosen} is too small; it should have at least {MIN_SUBNET_ADDRESSES} addresses")
        low, high = self._universe.hosts(chosen)
        return Wanted(_checked(ident), low, high, chosen.prefixlen, chosen)

    def claim(self, ident: str, interface: IPInterface) -> Wanted:
        """Return what a claim wants; raise `LocalError` where it cannot be."""
        if interface.version != self._universe.family:
            raise LocalError(f"{interface} is not of the family of the range {self._universe.network}")
        address, network = int(interface.ip), interface.network
        return Wanted(_checked(ident), address, address + 1, network.prefixlen, network, interface)

    # --- reading -------------------------------------------------------------------------------------------------

    def lookup(self, ident: str, subnet: IPNetwork | None) -> list[IPInterface]:
        """Return the addresses of `ident`, in one subnet or all."""
        held = self._space.of(ident)
        found = [self._universe.interface(address, held[address]) for address in sorted(held)]
        return [each for each in found if subnet is None or each.network == subnet]

    def unserved(self) -> Iterator[tuple[int, int]]:
        """Yield where addresses are wanted that we could not serve, without repetition."""
        return iter(dict.fromkeys(wanted.bounds for wanted in self.pending.values()))

    # --- serving -------------------------------------------------------------------------------------------------

    def known(self, wanted: Wanted) -> Outcome:
        """Return the answer that needs nothing new: the address is held already, by who wants it or by another."""
        if wanted.claimed is None:
            held = self.lookup(wanted.ident, wanted.subnet)
            return held[0] if held else None
        holding = self._space.holder(wanted.low)
        if holding is None:
            return None
        if holding.ident == wanted.ident:
            return wanted.claimed
        return AddressTaken(f"{wanted.claimed.ip} is in use by {holding.ident}, on this host")

    def serve(self, wanted: Wanted) -> Outcome:
        """Take an address that we own for whoever wants it; return None where we cannot now."""
        if wanted.claimed is not None:
            is_ours = wanted.low in self._space.owned and not self._space.is_fenced(wanted.low)
            return self.take(wanted, wanted.low) if is_ours else None
        address = self._space.free.first(*wanted.bounds)
        return None if address is None else self.take(wanted, address)

    def take(self, wanted: Wanted, address: int) -> IPInterface:
        """Give an address to whoever wants it."""
        holding = Holding(wanted.ident, wanted.prefix)
        self._space.take(address, holding)
        self._outbox.persist([self._rows.used(address, holding)])
        return self._universe.interface(address, wanted.prefix)

    def is_outside(self, wanted: Wanted) -> bool:
        """Say whether an address is claimed that the ring knows nothing of."""
        return wanted.claimed is not None and not self._universe.contains(wanted.low)

    def wait(self, request: int, wanted: Wanted) -> None:
        """Let a request wait."""
        if len(self.pending) >= MAX_PENDING:
            raise LocalError(f"{len(self.pending)} requests for addresses wait already; try again later")
        self.pending[request] = wanted

    def end(self, request: int, outcome: Outcome) -> None:
        """Answer a request, whether it waited or not."""
        self.pending.pop(request, None)
        self._outbox.answer(request, outcome)

    # --- giving back ---------------------------------------------------------------------------------------------

    def release(self, request: int, ident: str, address: IPAddress | None, now: float) -> None:
        """Free one address of `ident`, or all and what it still waits for."""
        held = sorted(self._space.of(ident))
        if address is not None:
            wanted = int(address) if address.version == self._universe.family else -1
            if wanted not in held:
                raise AddressNotHeld(f"{address} is not held by {ident}")
            held = [wanted]
        else:
            self._drop_waiting(ident)
        for each in held:
            self._space.drop(each, now + FREED_HOLD_S)
        self._outbox.persist([self._rows.unused(each) for each in held])
        self._outbox.answer(request, None)

    def _drop_waiting(self, ident: str) -> None:
        for request, wanted in list(self.pending.items()):
            if wanted.ident == ident:
                self.end(request, Released(f"{ident} was released before it got an address"))

    def _lies_in_range(self, subnet: IPNetwork) -> bool:
        if subnet.version != self._universe.family:
            return False
        first = int(subnet.network_address)
        return self._universe.start <= first and first + subnet.num_addresses <= self._universe.end


def _checked(ident: str) -> str:
    """Return an ident that can be stored and sent."""
    if not 0 < len(ident) <= MAX_IDENT_CHARS or not ident.isprintable():
        raise LocalError(f"an address needs an owner of 1 to {MAX_IDENT_CHARS} printable characters")
    return ident
