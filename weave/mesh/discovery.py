"""Whom to be connected to of all the peers that gossip knows, and where each may be dialled.

Keeps one `Candidate` (the history of trying) for each neighbour that is wanted, connected or not: those that both ends
want (`neighbours`), and stand-ins for those that cannot be reached. A peer that gossip forgets takes its candidate,
and so its addresses, with it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from weave.mesh.attempts import NO_ADDRESS_PATIENCE_S, Candidate
from weave.mesh.dial_address import gossiped_key
from weave.mesh.neighbours import (
    REJOIN_SHARE,
    Side,
    clockwise,
    full_mesh_bound,
    ring_sides,
    stand_ins,
    wanted_links,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from random import Random

    from weave.names import PeerName

YIELD_LOW_S = 3.0
YIELD_HIGH_S = 5.0
"""How long the higher name of two waits for the lower one to dial: a dial and a handshake over a slow link."""
MAX_PEERS = 1 << 14
"""More known peers than this are not considered."""
MAX_ADDRESSES = 8
"""Addresses of one peer that are tried."""
MAX_SHUNNED = 1024
"""Addresses of peers that the user told us to forget; beyond it the oldest may be dialled again."""


class Discovery:
    """The known peers, and the candidates chosen from them."""

    def __init__(self, me: PeerName, rng: Random, connection_limit: int) -> None:
        self._me = me
        self._rng = rng
        self._bound = full_mesh_bound(connection_limit)
        self._known: dict[PeerName, tuple[str, ...]] = {}
        self._sides: list[Side] | None = None
        self._is_sparse = False
        self._shunned: dict[str, None] = {}
        self.candidates: dict[PeerName, Candidate] = {}
        """The neighbours that are wanted now."""

    def learn(self, peers: Mapping[PeerName, tuple[str, ...]]) -> bool:
        """Take all peers that the mesh knows; tell whether anything changed."""
        if len(peers) > MAX_PEERS:
            peers = {name: peers[name] for name in islice(sorted(peers), MAX_PEERS)}
        known = {name: addresses for name, addresses in peers.items() if name != self._me}
        if known == self._known:
            return False
        if known.keys() != self._known.keys():
            self._sides = None
        self._known = known
        self.candidates = {name: each for name, each in self.candidates.items() if name in known}
        if self._shunned:
            claimed = {key for name in known for key in self.addresses_of(name)}
            self._shunned = {key: None for key in self._shunned if key in claimed}
        return True

    def knows(self, name: PeerName) -> bool:
        """Tell whether gossip knows a peer."""
        return name in self._known

    def addresses_of(self, name: PeerName) -> list[str]:
        """Return the keys of the addresses that a peer claims."""
        keys = (gossiped_key(address) for address in self._known.get(name, ())[:MAX_ADDRESSES])
        return [key for key in keys if key is not None]

    def shun(self, key: str, up: Collection[PeerName]) -> None:
        """Dial an address no more, where it belongs to a peer that is not connected, until that peer has left."""
        if any(key in self.addresses_of(name) for name in self._known if name not in up):
            self._shunned.pop(key, None)
            self._shunned[key] = None
            while len(self._shunned) > MAX_SHUNNED:
                del self._shunned[next(iter(self._shunned))]

    def welcome(self, key: str) -> None:
        """Dial an address again that was shunned."""
        self._shunned.pop(key, None)

    def choose(self, now: float, up: Collection[PeerName], user_keys: Collection[str]) -> None:
        """Bring the candidates in line with the peers that are known and can be reached.

        The addresses in `user_keys` are left out: they are dialled anyway.
        """
        own = self._own_neighbours()
        spare = self._stand_ins(now, up)
        candidates: dict[PeerName, Candidate] = {}
        for rank, name in enumerate((*own, *spare)):
            candidate = self.candidates.get(name)
            if candidate is None:
                due = now if name in spare else now + self.yielding(name)
                candidate = Candidate(name=name, peer=name, due=due, since=now)
            candidate.rank = rank
            usable = (key for key in self.addresses_of(name) if key not in user_keys and key not in self._shunned)
            candidate.offer(tuple(dict.fromkeys(usable)))
            candidates[name] = candidate
        self.candidates = candidates

    def _own_neighbours(self) -> list[PeerName]:
        """Return the neighbours that both ends want, the most important first."""
        bound = self._bound * REJOIN_SHARE if self._is_sparse else self._bound
        self._is_sparse = len(self._known) + 1 > bound
        if not self._is_sparse:
            return clockwise(self._me, self._known)
        if self._sides is None:
            self._sides = ring_sides(self._me, self._known)
        return wanted_links(self._sides)

    def _stand_ins(self, now: float, up: Collection[PeerName]) -> list[PeerName]:
        """Return the peers that replace neighbours which cannot be reached."""
        if not self._is_sparse or self._sides is None:
            return []
        hopeless = {name for name, each in self.candidates.items() if name not in up and each.is_hopeless(now)}
        return stand_ins(self._sides, hopeless) if hopeless else []

    def yielding(self, name: PeerName) -> float:
        """Return how long we wait for a peer to dial us first: only for one with a lower name."""
        return 0.0 if self._me < name else self._rng.uniform(YIELD_LOW_S, YIELD_HIGH_S)

    def is_missing_any(self, now: float, up: Collection[PeerName]) -> bool:
        """Tell whether a wanted neighbour is not connected and could still be."""
        return any(name not in up and not each.is_hopeless(now) for name, each in self.candidates.items())

    def patience_ends(self, now: float) -> list[float]:
        """Return when candidates without an address will be given up for stand-ins."""
        ends = (each.since + NO_ADDRESS_PATIENCE_S for each in self.candidates.values() if not each.usable())
        return [end for end in ends if end > now]
