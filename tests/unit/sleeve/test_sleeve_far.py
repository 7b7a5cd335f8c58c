"""Peers that are far from each other: several handshakes are under way before the first is answered.

    a ──initiation 1──→           ──→ b    session 1 is pending
    a ──initiation 2──→           ──→ b    session 2 is pending, too
    a ←──           ←──response 1──── b    a has session 1, and gives up the other
"""

import pytest

from tests.unit.sleeve.wires import Net, place
from weave.net.sleeve import limits
from weave.net.sleeve.peer import Inbox
from weave.net.sleeve.wire import Address, Kind


def far(round_trip_s: float, seed: int = 0) -> Net:
    net = Net("ab", seed=seed)
    net.delay = lambda: round_trip_s / 2 * net.rng.uniform(1.0, 1.1)
    return net


def talk(net: Net, seconds: float) -> list[bytes]:
    """Send ten units a second both ways; return them."""
    sent = [b"%d" % number for number in range(round(10 * seconds))]
    for unit in sent:
        for source, destination in ("ab", "ba"):
            net.unit(source, destination, unit)
        net.run(0.1)
    return sent


def initiations(net: Net, name: str) -> list[bytes]:
    return [data for source, _, data in net.seen if source == place(name) and data[0] == Kind.INITIATION]


def begun_by_b(source: Address, _: Address, data: bytes) -> bool:
    return source == place("b") and data[0] == Kind.INITIATION


def current(net: Net) -> tuple[Inbox, Inbox]:
    a, b = net.hosts["a"].core.peers["b"].current, net.hosts["b"].core.peers["a"].current
    assert a is not None
    assert b is not None
    return a, b


def have_one_session(net: Net) -> bool:
    a, b = current(net)
    return a.session.local == b.session.remote


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("round_trip_s", [0.22, 0.26, 0.3, 0.4, 0.6, 0.8, 1.0])
def test_peers_meet_however_far_they_are(round_trip_s: float, seed: int) -> None:
    net = far(round_trip_s, seed)
    net.run(2 * round_trip_s)
    sent = talk(net, 2.0)
    net.run(round_trip_s)
    assert net.hosts["a"].received == net.hosts["b"].received == sent
    assert have_one_session(net)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("before_s", [100.0, 0.1])
def test_keys_are_renewed_without_loss_though_the_way_got_longer(before_s: float, seed: int) -> None:
    net = far(0.04, seed)
    net.run(limits.REKEY_AFTER_S - before_s)
    former = current(net)
    net.delay = lambda: 0.2 * net.rng.uniform(1.0, 1.1)
    net.run(before_s - 0.1)
    sent = talk(net, 2.0)
    net.run(0.5)
    assert net.hosts["a"].received == net.hosts["b"].received == sent
    assert have_one_session(net)
    assert current(net) != former


def test_keys_are_renewed_by_one_initiation_where_the_round_trip_is_known() -> None:
    net = far(0.6)
    net.run(limits.REKEY_AFTER_S - 0.1)
    begun = len(initiations(net, "a"))
    net.run(5.0)
    assert len(initiations(net, "a")) == begun + 1


def test_a_way_of_seconds_is_not_taken_for_a_dead_one() -> None:
    net = far(2.4)
    net.run(5.0)
    begun = len(initiations(net, "a"))
    sent = talk(net, 10.0)
    net.run(2.0)
    assert sorted(net.hosts["b"].received) == sorted(sent)
    assert len(initiations(net, "a")) == begun


def test_a_peer_of_an_earlier_version_that_keeps_the_latest_session_alone_is_met_soon() -> None:
    net = far(0.4)
    net.drop = begun_by_b
    there = net.hosts["b"].core.peers["a"]
    for _ in range(100):
        net.run(0.05)
        if net.established("a", "b"):
            net.unit("a", "b", b"hello")
        for inbox in there.pending[:-1]:
            there.pending.remove(inbox)
            del net.hosts["b"].core.inboxes[inbox.session.local]
    assert have_one_session(net)


def test_a_session_taken_up_late_does_not_end_one_begun_since() -> None:
    net = far(0.4)
    held: list[bytes] = []

    def holds(source: Address, to: Address, data: bytes) -> bool:
        if source == place("a") and data[0] == Kind.CONTROL:
            held.append(data)
        return data[0] == Kind.CONTROL or begun_by_b(source, to, data)

    net.drop = holds
    while not held:
        net.run(0.1)
    begun = len(initiations(net, "a"))
    while len(initiations(net, "a")) == begun:
        net.run(0.1)
    net.run(0.3)  # now the response to this one is under way
    net.hosts["b"].take(held[0], place("a"), net.now)
    net.drop = begun_by_b
    net.run(1.0)
    assert have_one_session(net)


def test_initiations_played_again_do_not_push_out_one_that_was_answered() -> None:
    net = far(0.4)
    net.drop = lambda *_: True
    net.run(30.0)
    net.drop = begun_by_b
    while not net.hosts["b"].core.inboxes:
        net.run(0.1)
    for recorded in initiations(net, "a")[:limits.MAX_INITIATIONS - 1]:
        net.hosts["b"].take(recorded, place("c"), net.now)
    net.run(1.0)
    assert have_one_session(net)


def test_sessions_that_nobody_takes_up_are_few() -> None:
    net = Net("ab")
    net.drop = lambda source, *_: source == place("b")
    net.run(60.0)
    assert len(initiations(net, "a")) > limits.MAX_INITIATIONS
    assert len(net.hosts["b"].core.inboxes) == limits.MAX_INITIATIONS
