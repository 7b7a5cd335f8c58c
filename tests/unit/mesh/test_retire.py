"""Who leaves for good is not remembered as somebody who is unreachable."""

from tests.unit.mesh.fixtures import Wiring, name


def test_a_peer_that_retires_is_forgotten_when_it_is_gone() -> None:
    wiring = Wiring()
    one, two, three = (wiring.add(number) for number in (1, 2, 3))
    wiring.connect(one, two)
    last, _ = wiring.connect(two, three)
    for channel in ("dns", "endpoints", "ipam"):
        wiring.publish(three, channel, b"k", b"v")
    wiring.run(3)
    assert one.heard("dns") == {(name(3), b"k"): b"v"}

    wiring.do(three, three.core.retire(wiring.now))
    wiring.run(0.1)
    assert one.heard("dns") == one.heard("endpoints") == {}
    assert one.heard("ipam") == {(name(3), b"k"): b"v"}, "what is durable is not ours alone"
    wiring.disconnect(two, last)
    wiring.run(1)
    for peer in (one, two):
        assert [view.nickname for view in peer.core.peers()] == ["h1", "h2"]
