"""Single-decree Paxos over gossip: the peers of a new network agree, once, among whom the range is divided.

Every elector is acceptor and maybe proposer. Its whole state is one entry that it writes and everybody sees, so
messages are not answered but observed:

    promised  the highest ballot it has seen: it accepts nothing below (phase 1)
    accepted  the last ballot it accepted, with its value (phase 2)

A proposer promises a new ballot of its own; others see it and promise it too; when a quorum shows that promise, the
proposer accepts the value of the highest ballot accepted in that quorum, or its own if there is none; others see it
and accept it too; a ballot accepted by a quorum is the decision. Lost gossip delays this, nothing breaks it: states
only grow, and the latest state of an acceptor says all that its earlier ones said.

A state must be durable before it is published, that is all that safety asks of the caller. An old state of our own
that comes back to us by gossip (from before a database was restored) is joined into ours, so that we never un-promise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from weave.ipam import limits
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True, order=True)
class Ballot:
    """A round of one proposer; no two proposals ever have the same."""

    round: int
    proposer: PeerName


NO_BALLOT = Ballot(0, PeerName(""))
"""Below every ballot."""


@dataclass(frozen=True, slots=True)
class Vote:
    """The state of one elector."""

    expected: int
    """How many electors it was told to expect."""
    wants: bool = False
    """Somebody there waits for the ring."""
    promised: Ballot = NO_BALLOT
    accepted: Ballot = NO_BALLOT
    value: tuple[PeerName, ...] = ()
    """What it accepted with that ballot."""


class Paxos:
    """One elector, or (expected 0) an observer that only learns the result."""

    def __init__(self, me: PeerName, expected: int, stored: Vote | None, rng: "Random") -> None:
        self.vote = replace(stored or Vote(expected), expected=expected, wants=False)
        """Our own state; see the module for when it may be shown."""
        self.is_elector = expected > 0
        self._me = me
        self._rng = rng
        self._others: dict[PeerName, Vote] = {}
        self._reachable: frozenset[PeerName] = frozenset()
        self._ballot = NO_BALLOT
        self._next_attempt = inf
        self._pause = limits.ELECTION_RETRY_S
        self._wanted_at = inf
        self._is_observer_waiting = False

    # --- what happens --------------------------------------------------------------------------------------------

    def heard(self, peer: PeerName, vote: Vote) -> None:
        """Take in the state of an elector, which may be an old one of our own."""
        if peer != self._me:
            self._others[peer] = vote
            return
        mine = self.vote
        accepted, value = max((mine.accepted, mine.value), (vote.accepted, vote.value))
        self.vote = replace(mine, promised=max(mine.promised, vote.promised), accepted=accepted, value=value)

    def lost(self, peer: PeerName) -> None:
        """Take note that an elector withdrew its state: it knows the result."""
        self._others.pop(peer, None)

    def peers_changed(self, reachable: frozenset[PeerName]) -> None:
        """Take note of who is reachable besides us."""
        self._reachable = reachable

    def want(self, is_wanted: bool, is_observer_waiting: bool, now: float) -> None:
        """Say whether somebody here, or an observer anywhere, waits for the ring."""
        self._is_observer_waiting = is_observer_waiting
        if self.vote.wants != is_wanted:
            self.vote = replace(self.vote, wants=is_wanted)
        if not self._is_wanted():
            self._wanted_at = self._next_attempt = inf
        elif self._wanted_at == inf:
            self._wanted_at = self._next_attempt = now

    def step(self, now: float) -> None:
        """Promise, accept and propose whatever is due; `vote` is the new state."""
        if not self.is_elector:
            return
        self._follow()
        self._propose(now)
        self._conclude_promise()
        self._follow()

    def deadline(self) -> float:
        """Return when `step` has something to do even if nothing happens."""
        return self._next_attempt if self.is_elector else inf

    # --- what is known -------------------------------------------------------------------------------------------

    @property
    def quorum(self) -> int:
        """Return how many electors decide: more than half of those expected by anybody, or seen.

        Those seen count so that a number set too low is less likely to give two rings.
        """
        expected = max([self.vote.expected, *(vote.expected for vote in self._others.values())])
        return max(expected, len(self.electors())) // 2 + 1

    def electors(self) -> list[PeerName]:
        """Return the electors that are there now, sorted."""
        there = [peer for peer in self._others if peer in self._reachable]
        return sorted([*there, *([self._me] if self.is_elector else [])])

    def decision(self) -> tuple[PeerName, ...] | None:
        """Return what was agreed, once it is."""
        counts: dict[Ballot, int] = {}
        values: dict[Ballot, tuple[PeerName, ...]] = {}
        for vote in self._votes().values():
            if vote.accepted != NO_BALLOT:
                counts[vote.accepted] = counts.get(vote.accepted, 0) + 1
                values[vote.accepted] = vote.value
        decided = [ballot for ballot, count in counts.items() if count >= self.quorum]
        return values[min(decided)] if decided else None

    # --- acceptor ------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Promise the highest ballot that anybody shows, and accept what was proposed with it."""
        for vote in self._others.values():
            if vote.promised > self.vote.promised:
                self.vote = replace(self.vote, promised=vote.promised)
        for vote in self._others.values():
            if vote.accepted >= self.vote.promised and vote.accepted > self.vote.accepted:
                self.vote = replace(self.vote, promised=vote.accepted, accepted=vote.accepted, value=vote.value)

    # --- proposer ------------------------------------------------------------------------------------------------

    def _is_wanted(self) -> bool:
        return self.vote.wants or self._is_observer_waiting or any(vote.wants for vote in self._others.values())

    def _propose(self, now: float) -> None:
        """Begin a ballot when it is our turn."""
        if now < self._next_attempt:
            return
        wait = self._wait(now)
        if wait > 0:
            self._next_attempt = now + wait
            return
        self._ballot = Ballot(self.vote.promised.round + 1, self._me)
        self.vote = replace(self.vote, promised=self._ballot)
        self._next_attempt = now + self._pause * (1 + self._rng.random())
        self._pause = min(2 * self._pause, limits.ELECTION_RETRY_MAX_S)

    def _wait(self, now: float) -> float:
        """Return how long not to propose: electors are missing, or it is another's turn."""
        electors = self.electors()
        if len(electors) < self.quorum:
            return limits.ELECTION_RETRY_S  # whoever comes wakes us
        patience = self._wanted_at
        if len(electors) < self.vote.expected:
            patience += limits.ELECTION_PATIENCE_S
        if electors[0] != self._me:
            patience += limits.ELECTION_TURN_S * (1 + self._rng.random())
        return patience - now

    def wake(self, now: float) -> None:
        """Look again at once whether a first ballot can begin: electors came or went."""
        if self._wanted_at < inf and self._ballot == NO_BALLOT:
            self._next_attempt = min(self._next_attempt, now)

    def _conclude_promise(self) -> None:
        """Propose a value once a quorum has promised our ballot."""
        mine = self.vote
        if self._ballot == NO_BALLOT or mine.promised != self._ballot or mine.accepted == self._ballot:
            return
        promised = [vote for vote in self._votes().values() if vote.promised == self._ballot]
        if len(promised) < self.quorum:
            return
        last = max(promised, key=lambda vote: vote.accepted)
        value = last.value if last.accepted != NO_BALLOT else tuple(self.electors())
        self.vote = replace(mine, accepted=self._ballot, value=value)

    def _votes(self) -> Mapping[PeerName, Vote]:
        return {**self._others, self._me: self.vote} if self.is_elector else self._others
