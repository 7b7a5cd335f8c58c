"""Paxos over gossip: at most one decision, whatever is lost; a decision, once enough electors can talk."""

from random import Random

import pytest

from tests.unit.ipam.cluster import peer
from weave.ipam.paxos import NO_BALLOT, Ballot, Paxos, Vote
from weave.names import PeerName

RESENT_S = 0.5


class Electors:
    """Electors whose votes travel over a graph, each relaying all it knows; what is not stored is lost in a crash."""

    def __init__(self, count: int, seed: int, *, links: int, loss: float) -> None:
        self.rng = Random(seed)
        self.loss = loss
        self.now = 0.0
        self.names = [peer(number) for number in range(1, count + 1)]
        self.stored: dict[PeerName, Vote | None] = dict.fromkeys(self.names)
        self.known: dict[PeerName, dict[PeerName, Vote]] = {name: {} for name in self.names}
        self.paxos = {name: self.make(name) for name in self.names}
        self.links = self.connect(links)
        self.decisions: set[tuple[PeerName, ...]] = set()
        self.knowing: set[PeerName] = set()
        """Who has learned the decision; later ballots, which decide the same, may hide it again."""

    def make(self, name: PeerName) -> Paxos:
        paxos = Paxos(name, len(self.names), self.stored[name], Random(f"{name}/{self.rng.random()}"))
        paxos.peers_changed(frozenset(self.names) - {name})
        return paxos

    def connect(self, extra: int) -> list[tuple[PeerName, PeerName]]:
        links = [(self.names[self.rng.randrange(index)], name) for index, name in enumerate(self.names) if index]
        for _ in range(extra):
            one, other = self.rng.sample(self.names, 2)
            links.append((one, other))
        return links

    def want(self, name: PeerName) -> None:
        self.paxos[name].want(True, False, self.now)

    def step(self, name: PeerName) -> None:
        """Let an elector act; its state is stored before anybody sees it."""
        paxos = self.paxos[name]
        paxos.wake(self.now)
        paxos.step(self.now)
        self.stored[name] = paxos.vote
        self.known[name][name] = paxos.vote
        decision = paxos.decision()
        if decision is not None:
            self.decisions.add(decision)
            self.knowing.add(name)
        assert len(self.decisions) <= 1

    def talk(self) -> None:
        """One side of a link tells the other what it knows."""
        one, other = self.rng.choice(self.links)
        if self.rng.random() < 0.5:
            one, other = other, one
        if self.rng.random() < self.loss:
            return
        for name, vote in self.known[one].items():
            held = self.known[other].get(name)
            if name != other and (held is None or not is_older(vote, held)):
                self.known[other][name] = vote
                self.paxos[other].heard(name, vote)
        self.step(other)

    def crash(self, name: PeerName) -> None:
        self.known[name] = {}
        self.paxos[name] = self.make(name)
        if self.rng.random() < 0.5:
            self.want(name)

    def run(self, turns: int, *, crashes: float = 0.0) -> None:
        for _ in range(turns):
            self.now += self.rng.uniform(0, 0.1)
            self.talk()
            if self.rng.random() < crashes:
                self.crash(self.rng.choice(self.names))


def is_older(vote: Vote, other: Vote) -> bool:
    return (vote.promised, vote.accepted) < (other.promised, other.accepted)


@pytest.mark.parametrize("seed", range(25))
def test_at_most_one_value_is_decided_over_any_network(seed: int) -> None:
    rng = Random(seed)
    electors = Electors(rng.randint(2, 7), seed, links=rng.randint(0, 6), loss=rng.choice((0.0, 0.3, 0.7)))
    for name in rng.sample(electors.names, rng.randint(1, len(electors.names))):
        electors.want(name)
    electors.run(600, crashes=0.03)


@pytest.mark.parametrize("seed", range(10))
def test_everybody_decides_once_faults_end(seed: int) -> None:
    electors = Electors(5, seed, links=2, loss=0.3)
    for name in electors.names:
        electors.want(name)
    electors.run(200, crashes=0.05)
    electors.loss = 0.0
    for name in electors.names:
        electors.want(name)
    electors.run(2000)
    assert len(electors.decisions) == 1
    assert electors.knowing == set(electors.names)


def test_single_elector_decides_at_once() -> None:
    electors = Electors(1, 1, links=0, loss=0)
    electors.want(peer(1))
    electors.step(peer(1))
    assert electors.decisions == {(peer(1),)}


def test_minority_never_decides() -> None:
    paxos = Paxos(peer(1), 3, None, Random(1))
    paxos.want(True, False, 0.0)
    for now in range(100):
        paxos.wake(float(now))
        paxos.step(float(now))
    assert paxos.decision() is None
    assert (paxos.quorum, paxos.electors()) == (2, [peer(1)])


def test_election_waits_for_the_expected_beyond_the_quorum() -> None:
    paxos = Paxos(peer(1), 3, None, Random(1))
    paxos.peers_changed(frozenset({peer(2), peer(3)}))
    paxos.heard(peer(2), Vote(3))
    paxos.want(True, False, 0.0)
    paxos.step(0.0)
    assert paxos.vote.promised == NO_BALLOT
    paxos.heard(peer(3), Vote(3))
    paxos.wake(0.1)
    paxos.step(0.1)
    assert paxos.vote.promised == Ballot(1, peer(1))


def test_proposer_takes_up_what_may_have_been_decided() -> None:
    paxos = Paxos(peer(1), 3, None, Random(1))
    paxos.peers_changed(frozenset({peer(2), peer(3)}))
    old = Ballot(4, peer(3))
    paxos.heard(peer(2), Vote(3, promised=old, accepted=old, value=(peer(2), peer(3))))
    paxos.want(True, False, 0.0)
    paxos.step(0.0)
    mine = paxos.vote.promised
    if mine.proposer != peer(1):  # it followed the old ballot; now it is its own turn
        paxos.step(5.0)
        mine = paxos.vote.promised
    paxos.heard(peer(2), Vote(3, promised=mine, accepted=old, value=(peer(2), peer(3))))
    paxos.step(5.0)
    assert paxos.vote.value == (peer(2), peer(3))


def test_acceptor_keeps_its_promise() -> None:
    promised = Ballot(7, peer(2))
    paxos = Paxos(peer(1), 3, Vote(3, promised=promised), Random(1))
    low = Ballot(6, peer(3))
    paxos.heard(peer(3), Vote(3, promised=low, accepted=low, value=(peer(3),)))
    paxos.step(0.0)
    assert (paxos.vote.promised, paxos.vote.accepted) == (promised, NO_BALLOT)


def test_own_state_from_before_a_restored_database_is_taken_up() -> None:
    paxos = Paxos(peer(1), 3, None, Random(1))
    lost = Vote(3, promised=Ballot(9, peer(2)), accepted=Ballot(8, peer(3)), value=(peer(3),))
    paxos.heard(peer(1), lost)
    assert (paxos.vote.promised, paxos.vote.accepted, paxos.vote.value) == (lost.promised, lost.accepted, lost.value)


def test_larger_expectation_of_another_raises_the_quorum() -> None:
    paxos = Paxos(peer(1), 1, None, Random(1))
    paxos.peers_changed(frozenset({peer(2)}))
    assert paxos.quorum == 1
    paxos.heard(peer(2), Vote(4))
    assert paxos.quorum == 3
