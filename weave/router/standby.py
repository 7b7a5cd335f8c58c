"""Helpers: who passes on what the sleeve sends to peers that cannot be reached directly. Pure.

The sleeve goes through a third host with which both ends have a session. Where links are plain VXLAN, or tunnels of the
kernel, there are no such sessions, so a host that has to reach a peer by the sleeve asks others to *stand by*: to have
a session with it, by which no frames go. Both ends choose alike, first of all among the hosts that both are connected
with. A request holds for a while and is repeated as long as it is needed; nobody has to take it back.
"""

from collections.abc import Collection, Iterable, Mapping
from math import inf

from weave.names import PeerName
from weave.net import PeerStatus

KIND = "standby"
"""Of the unicast that asks for it; without content."""
HELPERS = 2
"""For each peer that cannot be reached: one may die."""
REPEAT_S = 20.0
HELD_S = 60.0
"""How long a request holds: two may be lost."""


class Standby:
    """Own who stands by for us, and for whom we do."""

    def __init__(self) -> None:
        self._clients: dict[PeerName, float] = {}
        self._helpers: frozenset[PeerName] = frozenset()
        self._asked: frozenset[PeerName] = frozenset()
        self._repeat_at = inf

    def asked(self, client: PeerName, now: float) -> None:
        """Note that a peer wants us to stand by."""
        self._clients[client] = now + HELD_S

    def choose(self, cut_off: Mapping[PeerName, frozenset[PeerName]], able: Collection[PeerName],
               now: float) -> list[PeerName]:
        """Choose helpers among those able towards the peers that are cut off; return those to be asked now.

        Of each of these is said who is connected both with it and with us.
        """
        self._helpers = frozenset(helper for between in cut_off.values() for helper in _best(able, between))
        if not self._helpers:
            self._repeat_at = inf
            return []
        if not now < self._repeat_at < inf:
            self._repeat_at = now + REPEAT_S
            self._asked = frozenset()
        fresh = self._helpers - self._asked
        self._asked |= fresh
        return sorted(fresh)

    def peers(self, now: float) -> frozenset[PeerName]:
        """Return the peers with which we stand by, one for the other."""
        self._clients = {client: until for client, until in self._clients.items() if until > now}
        return self._helpers | self._clients.keys()

    def deadline(self) -> float:
        """Return when something changes by itself."""
        return min(self._repeat_at, *self._clients.values(), inf)


def unreached(by_sleeve: Iterable[PeerName], ways: Mapping[str, PeerStatus]) -> frozenset[PeerName]:
    """Return the peers that the sleeve does not find, or finds through others; of some it may say nothing yet."""
    return frozenset(peer for peer in by_sleeve if peer in ways and (not ways[peer].established or ways[peer].helper))


def _best(able: Collection[PeerName], between: frozenset[PeerName]) -> list[PeerName]:
    return sorted(able, key=lambda peer: (peer not in between, peer))[:HELPERS]
