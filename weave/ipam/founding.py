"""How a peer comes to its ring, and what happens when two rings meet.

Each peer tells in its hint which ring it runs, and a few publish the first division of that ring in full. Who has no
ring takes the one that reachable peers run; where nobody runs one, `--ipalloc-init` says how it comes to be. Never does
a peer go from one ring to another: it would have to give up addresses that are in use. Of two rings that meet, one
goes on; the peers of the other keep what they use and allocate nothing new until a person decides.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from weave.addresses import IPNetwork
from weave.ipam.blocks import Universe
from weave.ipam.division import Division, make_division
from weave.ipam.gossip import HintEntry, SeedEntry, VoteEntry, WishEntry
from weave.ipam.limits import SEED_COPIES
from weave.ipam.modes import Consensus, InitMode, Seed
from weave.ipam.paxos import Paxos, Vote
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random

V = TypeVar("V")


class Founding:
    """What the peers say about rings and the first division."""

    def __init__(self, me: PeerName, universe: Universe, mode: InitMode, vote: Vote | None, rng: "Random") -> None:
        self.paxos = Paxos(me, mode.expected if isinstance(mode, Consensus) else 0, vote, rng)
        self.hints: dict[PeerName, HintEntry] = {}
        self._me = me
        self._universe = universe
        self._mode = mode
        self._divisions: dict[PeerName, Division] = {}
        self._wishes: dict[PeerName, IPNetwork] = {}
        self._strangers: dict[PeerName, IPNetwork] = {}
        self._reachable: frozenset[PeerName] = frozenset()

    # --- what happens --------------------------------------------------------------------------------------------

    def heard(self, peer: PeerName, entry: SeedEntry | VoteEntry | WishEntry | HintEntry) -> None:
        """Take in what a peer says."""
        match entry:
            case SeedEntry(division):
                _set(self._divisions, peer, division)
            case HintEntry():
                _set(self.hints, peer, entry if entry.ring_id else None)
            case WishEntry(network):
                _set(self._wishes, peer, network)
                self._compare(peer, network)
            case VoteEntry(network, vote):
                self._compare(peer, network)
                if vote is not None and network == self._universe.network:
                    self.paxos.heard(peer, vote)
                else:
                    self.paxos.lost(peer)

    def peers_changed(self, reachable: frozenset[PeerName]) -> None:
        """Take note of who is reachable besides us."""
        self._reachable = reachable
        self.paxos.peers_changed(reachable)

    def want(self, is_wanted: bool, now: float) -> None:
        """Say whether somebody here waits for the ring."""
        waiting = any(peer in self._reachable for peer in self._wishes)
        self.paxos.want(is_wanted and self.paxos.is_elector, waiting, now)

    # --- without a ring ------------------------------------------------------------------------------------------

    def choose(self, is_synced: bool) -> Division | None:
        """Return the division to adopt, once there is one."""
        if isinstance(self._mode, Seed):
            return make_division(self._universe.network, self._mode.names)
        ours = {division.ring_id: division for division in self._known() if self._is_of_our_range(division)}
        live = self._live_rings()
        if live:
            return max((ours[ring] for ring in live if ring in ours), key=_rank, default=None)
        decision = self.paxos.decision()
        if decision is not None:
            return make_division(self._universe.network, decision)
        return max(ours.values(), key=_rank, default=None) if is_synced else None

    def may_elect(self, is_synced: bool) -> bool:
        """Say whether to take part in an election: nobody has a ring, and we looked around."""
        if self.has_ring_around():
            return False
        return is_synced or len(self.paxos.electors()) > 1

    def has_ring_around(self) -> bool:
        """Say whether anybody, reachable or not, is known to have a ring of our range."""
        return bool(self._live_rings()) or any(map(self._is_of_our_range, self._known()))

    # --- with a ring ---------------------------------------------------------------------------------------------

    def should_publish(self, mine: Division, *, is_published: bool, is_patient: bool) -> bool:
        """Say whether to be among the few that publish the first division, or to remain so.

        Those with the lowest names begin at once, the others only when nobody did while they were patient.
        """
        copies = sum(peer < self._me and other.ring_id == mine.ring_id for peer, other in self._divisions.items())
        if copies >= SEED_COPIES:
            return False
        before_us = sum(peer < self._me and peer in self._reachable for peer in mine.peers)
        return is_published or not is_patient or (before_us < SEED_COPIES and self._me in mine.peers)

    def rival(self, mine: Division) -> tuple[PeerName, Division] | None:
        """Return the best other ring that a reachable peer runs, and one such peer."""
        known = {division.ring_id: division for division in self._known()}
        found = [
            (known[hint.ring_id], peer) for peer, hint in self.hints.items()
            if peer in self._reachable and hint.ring_id != mine.ring_id and hint.ring_id in known
        ]
        if not found:
            return None
        division, peer = max(found, key=lambda pair: (pair[0].rank, pair[1]))
        return peer, division

    def companions(self, ring_id: bytes) -> list[PeerName]:
        """Return the reachable peers that run this ring, sorted."""
        return sorted(
            peer for peer, hint in self.hints.items() if peer in self._reachable and hint.ring_id == ring_id)

    def stranger(self) -> tuple[PeerName, IPNetwork] | None:
        """Return a reachable peer with another range, and that range."""
        ranges = dict(self._strangers)
        known = {division.ring_id: division for division in self._known()}
        for peer, hint in self.hints.items():
            if hint.ring_id in known and not self._is_of_our_range(known[hint.ring_id]):
                ranges[peer] = known[hint.ring_id].network
        return min(((peer, network) for peer, network in ranges.items() if peer in self._reachable), default=None)

    def _known(self) -> Iterable[Division]:
        return self._divisions.values()

    def _live_rings(self) -> set[bytes]:
        return {hint.ring_id for peer, hint in self.hints.items() if peer in self._reachable}

    def _is_of_our_range(self, division: Division) -> bool:
        return division.network == self._universe.network

    def _compare(self, peer: PeerName, network: IPNetwork | None) -> None:
        is_other = network is not None and network != self._universe.network
        _set(self._strangers, peer, network if is_other else None)


def _rank(division: Division) -> tuple[int, bytes]:
    return division.rank


def _set(table: dict[PeerName, V], peer: PeerName, value: V | None) -> None:
    if value is None:
        table.pop(peer, None)
    else:
        table[peer] = value
