"""What an earlier router left in the kernel, and how long it is kept. Pure.

A router that returns finds the entries of its former life: endpoints on other hosts, by the underlay address of their
host. Containers talk by them, so an entry stays until somebody who knows better has spoken: the peer at that underlay
address, once it had time to tell what it has, or any peer that announces the same MAC or address. The router of that
host may be down for long; what nobody speaks for is dropped when an unreachable peer would be forgotten.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net import Endpoint, Remote
from weave.router.underlay import LinkDecision

GREETING_S = 5.0
"""How long a peer that became known has to tell of its endpoints; it takes a few round trips."""
KEPT_S = 1800.0
"""How long entries are kept for a peer that nobody knows; as long as the mesh remembers an unreachable one."""


class Inheritance:
    """Own what is left of the entries that were found at the start."""

    def __init__(self, found: Mapping[IPAddress, Sequence[Endpoint]], now: float) -> None:
        self._left = {vtep: tuple(endpoints) for vtep, endpoints in found.items()}
        self._until = dict.fromkeys(self._left, now + KEPT_S)
        self._greeted: set[IPAddress] = set()

    def __bool__(self) -> bool:
        """Say whether anything is left."""
        return bool(self._left)

    def settle(self, links: Iterable[LinkDecision], now: float) -> None:
        """Take note of the peers that are known now; drop what is no longer kept."""
        for link in links:
            if link.address in self._left and link.address not in self._greeted:
                self._greeted.add(link.address)
                self._until[link.address] = min(self._until[link.address], now + GREETING_S)
        for vtep in [vtep for vtep in self._left if self._until[vtep] <= now]:
            del self._left[vtep]

    def drop(self, vteps: Iterable[IPAddress | None]) -> None:
        """Drop entries at these underlay addresses: no plain traffic may go there."""
        for vtep in vteps:
            if vtep is not None:
                self._left.pop(vtep, None)

    def deadline(self) -> float:
        """Return when something is dropped next."""
        return min((self._until[vtep] for vtep in self._left), default=float("inf"))

    def remotes(self, named: Iterable[Remote]) -> list[Remote]:
        """Return these remotes, and one for each underlay address that none of them stands for."""
        result = list(named)
        spoken_for = {remote.vtep for remote in result}
        return result + [Remote(_heir(vtep), vtep) for vtep in self._sorted() if vtep not in spoken_for]

    def endpoints(self, announced: Sequence[Endpoint], named: Iterable[Remote]) -> list[Endpoint]:
        """Return these endpoints, and what is left that has neither MAC nor address in common with them."""
        macs = {endpoint.mac for endpoint in announced}
        taken = {address.ip for endpoint in announced for address in endpoint.addresses}
        owners = {remote.vtep: remote.peer for remote in named}
        left = [replace(endpoint, peer=owners.get(vtep, _heir(vtep)))
                for vtep in self._sorted() for endpoint in self._left[vtep]
                if endpoint.mac not in macs and taken.isdisjoint(address.ip for address in endpoint.addresses)]
        return [*announced, *left]

    def vteps(self) -> list[IPAddress]:
        """Return the underlay addresses that something is left for, in order."""
        return self._sorted()

    def _sorted(self) -> list[IPAddress]:
        return sorted(self._left, key=lambda vtep: (vtep.version, int(vtep)))


def _heir(vtep: IPAddress) -> PeerName:
    """Return what stands for the name of a peer that is not known; it sorts after every real name."""
    return PeerName(f"unknown at {vtep}")
