"""What lives on other hosts, so that nobody here is given what is theirs.

Only what reachable peers announce counts: an endpoint of one that is gone may have moved on, to this host even.
"""

from collections.abc import Callable, Iterable

from weave.addresses import IPAddress
from weave.api.errors import Conflict
from weave.net import Endpoint


class Others:
    """Know the interfaces on other hosts."""

    def __init__(self, endpoints: Callable[[], Iterable[Endpoint]]) -> None:
        """Take where to ask for the endpoints of reachable peers."""
        self._endpoints = endpoints

    def refuse_address(self, container: str, address: IPAddress) -> None:
        """Raise `Conflict` where an interface on another host has an address, and is not of this very container."""
        for endpoint in self._endpoints():
            if endpoint.container != container and any(address == held.ip for held in endpoint.addresses):
                raise Conflict(f"{address} is in use by {endpoint.container} on {endpoint.peer}")

    def refuse_mac(self, mac: str) -> None:
        """Raise `Conflict` where an interface on another host has a MAC."""
        for endpoint in self._endpoints():
            if endpoint.mac == mac:
                raise Conflict(f"{mac} is the MAC of {endpoint.interface or 'the bridge'} of "
                               f"{endpoint.container} on {endpoint.peer}; choose another with --mac")
