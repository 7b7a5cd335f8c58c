"""What an earlier router left in the kernel and in the sleeve, and how long it is kept. Pure.

A router that returns finds the entries of its former life: endpoints on other hosts, by the underlay address of their
host, or by the name of the peer that the sleeve knows. Containers talk by them, so an entry stays until somebody who
knows better has spoken: the peer at that place, once it had time to tell what it has, or any peer that announces the
same MAC or address. The router of that host may be down for long; what nobody speaks for is dropped when an unreachable
peer would be forgotten.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net import Endpoint, Remote
from weave.router.underlay import LinkDecision

GREETING_S = 5.0
"""How long a peer that became known has to tell of its endpoints; it takes a few round trips."""
Place = IPAddress | PeerName
"""Where entries lead: an underlay address, by VXLAN, or a peer, by the sleeve."""
KEPT_S = 1800.0
"""How long entries are kept for a peer that nobody knows; as long as the mesh remembers an unreachable one."""


class Inheritance:
    """Own what is left of the entries that were found at the start."""

    def __init__(self, found: Mapping[IPAddress, Sequence[Endpoint]], now: float,
                 sleeve: Mapping[PeerName, Sequence[Endpoint]] = MappingProxyType({})) -> None:
        self._left: dict[Place, tuple[Endpoint, ...]] = {
            **{vtep: tuple(endpoints) for vtep, endpoints in found.items()},
            **{peer: tuple(endpoints) for peer, endpoints in sleeve.items()}}
        self._until = dict.fromkeys(self._left, now + KEPT_S)
        self._greeted: set[Place] = set()

    def __bool__(self) -> bool:
        """Say whether anything is left."""
        return bool(self._left)

    def settle(self, links: Iterable[LinkDecision], now: float) -> None:
        """Take note of the peers that are known now; drop what is no longer kept."""
        for link in links:
            for place in (link.address, link.vtep, link.peer):
                if place is not None and place in self._left and place not in self._greeted:
                    self._greeted.add(place)
                    self._until[place] = min(self._until[place], now + GREETING_S)
        for place in [place for place in self._left if self._until[place] <= now]:
            del self._left[place]

    def drop(self, places: Iterable[Place | None]) -> None:
        """Drop entries at these places: no traffic may go there that way."""
        for place in places:
            if place is not None:
                self._left.pop(place, None)

    def deadline(self) -> float:
        """Return when something is dropped next."""
        return min((self._until[place] for place in self._left), default=float("inf"))

    def remotes(self, named: Iterable[Remote]) -> list[Remote]:
        """Return these remotes, and one for each place that none of them stands for."""
        result = list(named)
        spoken_for = {remote.vtep for remote in result}
        peers = {remote.peer for remote in result}
        return (result + [Remote(_heir(vtep), vtep) for vtep in self.vteps() if vtep not in spoken_for]
                + [Remote(peer, None) for peer in self.sleeve_peers() if peer not in peers])

    def endpoints(self, announced: Sequence[Endpoint], named: Iterable[Remote]) -> list[Endpoint]:
        """Return these endpoints, and what is left that has neither MAC nor address in common with them."""
        macs = {endpoint.mac for endpoint in announced}
        taken = {address.ip for endpoint in announced for address in endpoint.addresses}
        owners = {remote.vtep: remote.peer for remote in named if remote.vtep is not None}
        heirs: list[tuple[Place, PeerName]] = [(vtep, owners.get(vtep, _heir(vtep))) for vtep in self.vteps()]
        heirs += [(peer, peer) for peer in self.sleeve_peers()]
        left = [replace(endpoint, peer=heir)
                for place, heir in heirs for endpoint in self._left[place]
                if endpoint.mac not in macs and taken.isdisjoint(address.ip for address in endpoint.addresses)]
        return [*announced, *left]

    def vteps(self) -> list[IPAddress]:
        """Return the underlay addresses that something is left for, in order."""
        return sorted((place for place in self._left if not isinstance(place, str)),
                      key=lambda vtep: (vtep.version, int(vtep)))

    def sleeve_peers(self) -> list[PeerName]:
        """Return the peers for which something is left in the sleeve, in order."""
        return sorted(place for place in self._left if isinstance(place, str))


def _heir(vtep: IPAddress) -> PeerName:
    """Return what stands for the name of a peer that is not known; it sorts after every real name."""
    return PeerName(f"unknown at {vtep}")
