"""A peer with many neighbours speaks to a few of them at a time, to each in its turn."""

import pytest

from tests.unit.mesh.fixtures import Peer, Wiring
from weave.mesh import limits
from weave.mesh.messages import Heartbeat

FULL_TURN_S = limits.HEARTBEAT_ROUNDS * limits.HEARTBEAT_INTERVAL_S


def star(leaves: int) -> tuple[Wiring, Peer, list[Peer]]:
    """Return a peer with so many neighbours, which know nobody else, at rest."""
    wiring = Wiring()
    hub, *others = [wiring.add(number) for number in range(1, leaves + 2)]
    for other in others:
        wiring.connect(hub, other)
    wiring.run(FULL_TURN_S)
    for peer in (hub, *others):
        peer.sent.clear()
        peer.spoke.clear()
    return wiring, hub, others


@pytest.mark.parametrize("leaves", [3, 30, 100])
def test_every_neighbour_has_its_turn(leaves: int) -> None:
    wiring, hub, others = star(leaves)
    wiring.run(FULL_TURN_S)
    assert len(hub.spoke) == leaves
    assert all(other.spoke for other in others)


def test_idle_peer_with_many_neighbours_says_little() -> None:
    wiring, hub, _ = star(30)
    wiring.run(30)
    assert {type(message) for message in hub.sent} == {Heartbeat}
    assert len(hub.sent) <= 30 / limits.HEARTBEAT_INTERVAL_S / (1 - limits.HEARTBEAT_JITTER) * 5 + 5


def test_round_trip_is_known_at_once() -> None:
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    wiring.connect(one, two)
    wiring.run(0.01)
    for peer in (one, two):
        (view,) = peer.core.connections()
        assert view.rtt_s == pytest.approx(0.002, abs=1e-5)
