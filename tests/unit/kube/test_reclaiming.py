"""Who takes over what deleted nodes had: agents that crash, pause and race, on one record."""

from random import Random

import pytest

from weave.kube import limits
from weave.kube.membership import admit, claim, finish, found, seal
from weave.kube.reclaiming import Claim, Outcast, Reclaimer, Rejoin, Rest, TakeOver

NOBODY = frozenset()


def cluster(*peers):
    record = found("b", "10.32.0.0/12")
    for peer in peers:
        record = admit(record, peer, f"n{peer}")
    return seal(record, {f"n{peer}" for peer in peers})


def test_gone_node_is_claimed_then_taken_then_forgotten():
    record, agent = cluster("a", "b"), Reclaimer("a", "b")
    assert agent.step(record, {"na", "nb"}, NOBODY, 0.0) == Rest(limits.POLL_RECORD_S)
    assert agent.step(record, {"na"}, NOBODY, 1.0) == Claim("b", "nb")
    record = claim(record, "b", "a")
    agent.claimed("b", 1.0)
    assert agent.step(record, {"na"}, NOBODY, 2.0) == TakeOver("b")
    assert isinstance(agent.step(finish(record, "b"), {"na"}, NOBODY, 3.0), Rest)


def test_deleted_node_that_still_runs_is_left_alone_until_it_is_gone():
    record, agent, other = cluster("a", "b", "c"), Reclaimer("a", "b"), Reclaimer("b", "b")
    assert agent.deleted(record, {"na", "nc"}) == {"b": "nb"}
    assert isinstance(agent.step(record, {"na", "nc"}, {"b"}, 0.0), Rest)
    assert isinstance(other.step(record, {"na", "nb", "nc"}, NOBODY, 1.0), Rest)  # it is no outcast
    assert agent.step(record, {"na"}, {"b"}, 2.0) == Claim("c", "nc")  # and others do not wait for it
    assert agent.step(record, {"na", "nc"}, NOBODY, 60.0) == Claim("b", "nb")


def test_claim_of_another_is_left_alone_until_it_does_not_move():
    record, agent = claim(cluster("a", "b", "c"), "c", "b"), Reclaimer("a", "b")
    nodes = {"na", "nb"}
    assert isinstance(agent.step(record, nodes, NOBODY, 0.0), Rest)
    assert isinstance(agent.step(record, nodes, NOBODY, limits.LEASE_S - 1), Rest)
    moved = claim(record, "c", "b")
    assert isinstance(agent.step(moved, nodes, NOBODY, limits.LEASE_S), Rest)
    assert agent.step(moved, nodes, NOBODY, 2 * limits.LEASE_S) == Claim("c", "")


def test_claim_of_one_that_is_gone_itself_is_taken_at_once():
    record = claim(claim(cluster("a", "b", "c"), "c", "b"), "b", "a")
    agent = Reclaimer("a", "b")
    agent.claimed("b", 0.0)
    assert agent.step(finish(record, "b"), {"na"}, NOBODY, 1.0) == Claim("c", "")


def test_agent_that_restarted_claims_anew_before_it_acts():
    record = claim(cluster("a", "b"), "b", "a")
    assert Reclaimer("a", "b").step(record, {"na"}, NOBODY, 0.0) == Claim("b", "")


def test_claim_is_not_acted_on_late():
    record, agent = claim(cluster("a", "b"), "b", "a"), Reclaimer("a", "b")
    agent.claimed("b", 0.0)
    assert agent.step(record, {"na"}, NOBODY, limits.CLAIM_VALID_S) == Claim("b", "")


def test_peer_that_is_reachable_is_tried_again_later():
    record, agent = claim(cluster("a", "b"), "b", "a"), Reclaimer("a", "b")
    agent.claimed("b", 0.0)
    assert agent.step(record, {"na"}, NOBODY, 1.0) == TakeOver("b")
    agent.refused("b", 1.0)
    assert isinstance(agent.step(record, {"na"}, NOBODY, 2.0), Rest)
    assert agent.step(record, {"na"}, NOBODY, 2.0 + limits.REFUSED_RETRY_S) == Claim("b", "")


def test_agent_never_claims_itself_and_knows_when_it_was_removed():
    record, agent = cluster("a", "b"), Reclaimer("a", "b")
    assert isinstance(agent.step(record, {"nb"}, NOBODY, 0.0), Rest)
    assert agent.step(claim(record, "a", "b"), {"nb"}, NOBODY, 0.0) == Outcast()


def test_agent_enters_a_record_that_was_begun_anew_without_it():
    anew = admit(found("other", "10.32.0.0/12", ("a", "b")), "b", "nb")
    assert Reclaimer("a", "b").step(anew, {"na", "nb"}, NOBODY, 0.0) == Rejoin()


class Simulation:
    """Agents on one record, and a ring in which owning is what counts."""

    def __init__(self, seed):
        self.rng = Random(seed)
        self.peers = [f"p{number}" for number in range(6)]
        self.record, self.version, self.now = cluster(*self.peers), 0, 0.0
        self.nodes = {f"n{peer}" for peer in self.peers}
        self.owner = {peer: peer for peer in self.peers}
        self.alive = set(self.peers)
        self.agents = {peer: Reclaimer(peer, "b") for peer in self.peers}
        self.plans = {}
        self.acting = {}
        self.busy = set()
        self.stopped_until = dict.fromkeys(self.peers, 0.0)
        self.ends = {}

    def delete(self, peer):
        """Delete a node, whose machine may run on for a while."""
        self.nodes.discard(f"n{peer}")
        self.ends[peer] = self.now + self.rng.choice([0.0, 10.0, 200.0])

    def end(self, peer):
        del self.ends[peer]
        self.alive.discard(peer)
        self.plans.pop(peer, None)
        self.acting.pop(peer, None)

    def write(self, record, version):
        if version != self.version:
            return False
        self.record, self.version = record, version + 1
        return True

    def turn(self, me):
        agent, plan = self.agents[me], self.plans.pop(me, None)
        if plan is not None:  # finish what was begun: the router has taken over, the record does not know yet
            self.acting.pop(me, None)
            self.write(finish(self.record, plan), self.version)
            return
        record, version, asked = self.record, self.version, self.now
        step = agent.step(record, self.nodes, self.alive, asked)
        if self.rng.random() < 0.1:
            self.now += self.rng.uniform(0, 5)  # others act meanwhile
            others = sorted(self.alive - self.busy)
            if others:
                self.busy.add(other := self.rng.choice(others))
                self.turn(other)
                self.busy.discard(other)
        match step:
            case Outcast():
                raise AssertionError(f"{me} still runs, and was put out")
            case Claim(peer, _) if self.write(claim(record, peer, me), version):
                agent.claimed(peer, asked)
            case TakeOver(peer) if me in self.alive:
                assert peer not in self.alive
                others = {other for other, busy in self.acting.items() if busy == peer and other in self.alive}
                assert not others, f"{me} and {others} take over {peer} at once"
                self.acting[me] = peer
                for piece, owner in self.owner.items():
                    if owner == peer:
                        self.owner[piece] = me
                self.plans[me] = peer

    def crash(self, me):
        self.plans.pop(me, None)
        self.acting.pop(me, None)
        self.agents[me] = Reclaimer(me, "b")
        self.stopped_until[me] = self.now + self.rng.choice([1.0, 30.0, 2 * limits.LEASE_S])

    def run(self, until, crashes):
        while self.now < until:
            self.now += self.rng.uniform(0.1, 3.0)
            for peer in [peer for peer, at in self.ends.items() if at <= self.now]:
                self.end(peer)
            ready = [peer for peer in sorted(self.alive) if self.stopped_until[peer] <= self.now]
            if not ready:
                continue
            me = self.rng.choice(ready)
            if self.rng.random() < crashes:
                self.crash(me)
            else:
                self.busy = {me}
                self.turn(me)


@pytest.mark.parametrize("seed", range(40))
def test_what_deleted_nodes_had_is_somebodys_though_agents_crash_at_any_step(seed):
    simulation = Simulation(seed)
    for gone in simulation.rng.sample(simulation.peers, 4):
        simulation.run(simulation.now + simulation.rng.uniform(0, 200), 0.1)
        simulation.delete(gone)
    simulation.run(simulation.now + 20 * limits.LEASE_S, 0.0)
    assert simulation.record.leaving == {}
    assert set(simulation.record.members) == simulation.alive
    assert set(simulation.owner.values()) <= simulation.alive
