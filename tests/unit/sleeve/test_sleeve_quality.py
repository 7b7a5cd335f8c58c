"""Sleeves that have a choice of ways: which they take, that both take the same, and what finding out costs.

    a ──────── c        the direct way is bad
      └── b ──┘         the one through b is good
"""

import itertools
from collections import Counter

import pytest

from tests.unit.sleeve.wires import DELAY_S, Net, place
from weave.net.sleeve import limits, wire
from weave.net.sleeve.model import PeerStatus
from weave.net.sleeve.wire import RELAY_BYTES, Address, Kind

EASY_S = 3.0
"""Until all are established."""


class Talk:
    """a and c exchange frames all the while."""

    def __init__(self, names: str = "abc", seed: int = 0) -> None:
        self.net = Net(names, seed)
        self.loss: dict[frozenset[object], float] = {}
        """Of the way between two hosts, each direction."""
        self.sent = 0
        self.ways: list[tuple[str | None, str | None]] = []
        """Through whom a reaches c, and c reaches a, whenever it became another."""
        self.net.drop = lambda source, to, _: self.net.rng.random() < self.loss.get(frozenset((source, to)), 0.0)
        self.run(EASY_S)

    def spoil(self, a: str, b: str, loss: float) -> None:
        self.loss[frozenset((place(a), place(b)))] = loss

    def run(self, seconds: float, until: tuple[str | None, str | None] | None = None) -> float:
        """Let them talk, or until both reach each other so; return how long that took."""
        began = self.net.now
        while self.net.now - began < seconds:
            for one, other in ("ac", "ca"):
                if self.net.established(one, other):
                    self.sent += 1
                    self.net.unit(one, other, b"%d" % self.sent)
            self.net.run(0.1)
            way = self.net.hosts["a"].core.peers["c"].helper, self.net.hosts["c"].core.peers["a"].helper
            if self.ways[-1:] != [way]:
                self.ways.append(way)
            if way == until:
                break
        return self.net.now - began

    def lost(self) -> int:
        return self.sent - sum(len(self.net.hosts[name].received) for name in "ac")

    def status(self, name: str, peer: str) -> PeerStatus:
        return next(status for status in self.net.hosts[name].core.statuses() if status.name == peer)


@pytest.mark.parametrize(("loss", "within_s"), [(0.15, 90.0), (0.3, 30.0), (0.5, 30.0)])
@pytest.mark.parametrize("seed", range(3))
def test_frames_go_through_a_helper_while_the_direct_way_is_bad(loss: float, within_s: float, seed: int) -> None:
    talk = Talk(seed=seed)
    talk.spoil("a", "c", loss)
    assert talk.run(within_s, ("b", "b")) < within_s
    before = talk.lost()
    talk.run(60.0)
    assert talk.lost() - before <= 1, "what was under way"
    talk.spoil("a", "c", 0.0)
    assert talk.run(60.0, (None, None)) < 60.0
    before = talk.lost()
    talk.run(60.0)
    assert talk.lost() == before
    assert talk.net.hosts["b"].received == []


def test_both_ends_change_at_once_and_keep_to_it() -> None:
    talk = Talk()
    talk.spoil("a", "c", 0.3)
    talk.run(120.0)
    assert talk.ways == [(None, None), ("b", "b")]


def test_no_session_is_lost_on_the_change() -> None:
    talk = Talk()
    talk.spoil("a", "c", 0.3)
    talk.run(60.0)
    talk.spoil("a", "c", 0.0)
    talk.run(60.0)
    events = {notice.event for host in talk.net.hosts.values() for notice in host.notices}
    assert "expired" not in events
    assert {status.established for host in talk.net.hosts.values() for status in host.core.statuses()} == {True}


def test_status_says_what_was_measured_at_both_ends() -> None:
    talk = Talk()
    assert talk.status("a", "c").direct is None
    talk.spoil("a", "c", 0.4)
    talk.run(60.0, ("b", "b"))
    talk.run(5.0)
    for one, other in ("ac", "ca"):
        status = talk.status(one, other)
        assert status.helper == "b"
        assert status.direct is not None
        assert status.through is not None
        assert status.direct.loss > 0.2 > status.through.loss == 0.0
        assert status.through.rtt_s == pytest.approx(4 * DELAY_S)


def test_keys_are_renewed_without_leaving_the_better_way() -> None:
    talk = Talk(seed=4)
    talk.spoil("a", "c", 0.4)
    talk.run(60.0)
    before = {name: talk.net.hosts[name].core.peers[other].current for name, other in ("ac", "ca")}
    talk.ways.clear()
    talk.run(2 * limits.REKEY_AFTER_S)
    assert talk.ways == [("b", "b")]
    assert all(talk.net.hosts[name].core.peers[other].current is not before[name] for name, other in ("ac", "ca"))


def test_a_slow_direct_way_is_left_for_a_quick_one() -> None:
    talk = Talk()

    def slow(source: Address, to: Address, _: bytes) -> bool:
        """Drop nothing, but choose for what is about to be sent how long it takes."""
        seconds = 0.1 if {source, to} == {place("a"), place("c")} else DELAY_S
        talk.net.delay = lambda: seconds
        return False

    good, talk.net.drop = talk.net.drop, slow
    assert talk.run(60.0, ("b", "b")) < 60.0
    talk.net.drop, talk.net.delay = good, lambda: DELAY_S
    assert talk.run(60.0, (None, None)) < 60.0


def test_of_two_helpers_the_one_that_can_is_found() -> None:
    talk = Talk("abcd")
    talk.spoil("b", "c", 1.0)
    talk.spoil("a", "c", 0.4)
    assert talk.run(120.0, ("d", "d")) < 120.0


def test_a_helper_that_dies_is_left_at_once() -> None:
    talk = Talk()
    talk.spoil("a", "c", 0.3)
    talk.run(60.0, ("b", "b"))
    talk.spoil("a", "b", 1.0)
    talk.spoil("c", "b", 1.0)
    assert talk.run(10.0, (None, None)) < 5.0


def test_where_all_ways_are_bad_nothing_goes_in_circles() -> None:
    talk = Talk(seed=2)
    for one, other in itertools.combinations("abc", 2):
        talk.spoil(one, other, 0.3)
    talk.run(300.0)
    assert len(talk.ways) <= 8
    hops = [datagram[1] for _, _, datagram in talk.net.seen if datagram[0] == Kind.RELAYED]
    assert set(hops) <= {0, 1}
    assert not any(datagram[0] == datagram[RELAY_BYTES] == Kind.RELAYED for _, _, datagram in talk.net.seen)


def test_who_helps_sends_no_more_than_it_was_sent() -> None:
    talk = Talk()
    talk.spoil("a", "c", 0.3)
    talk.run(60.0)
    flow: Counter[bool] = Counter()
    for source, _, datagram in talk.net.seen:
        if datagram[0] == Kind.RELAYED:
            flow[source == place("b")] += 1
    assert flow[True] <= flow[False]


@pytest.mark.parametrize(("loss", "most"), [(0.0, 7), (0.3, 45)])
def test_finding_out_costs_a_bounded_number_of_datagrams(loss: float, most: int) -> None:
    talk = Talk()
    talk.spoil("a", "c", loss)
    before, frames = len(talk.net.seen), talk.sent
    talk.run(60.0)
    relayed = 2 if loss else 1
    assert (len(talk.net.seen) - before - relayed * (talk.sent - frames)) / 60 < most


def test_peers_that_exchange_nothing_are_not_compared() -> None:
    net = Net("abc")
    net.run(30.0)
    before = len(net.seen)
    net.run(60.0)
    assert not any(datagram[0] == Kind.RELAYED for _, _, datagram in net.seen[before:])


def test_peers_of_an_earlier_version_are_sent_no_trials_and_looked_for_by_handshakes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_COMPARES", 0)
    talk = Talk()
    talk.spoil("a", "c", 1.0)
    assert talk.run(20.0, ("b", "b")) < 20.0
    talk.spoil("a", "c", 0.0)
    assert talk.run(20.0, (None, None)) < 2 * limits.DIRECT_AGAIN_S
    assert not any(host.core.peers[name].ways.figures(way) for host in talk.net.hosts.values()
                   for name in host.core.peers for way in (0, 1))
