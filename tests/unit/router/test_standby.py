"""Both ends of a pair that is cut off ask the same hosts to stand by, and go on asking."""

from math import inf

from weave.names import PeerName
from weave.net import PeerStatus
from weave.router.standby import HELD_S, HELPERS, REPEAT_S, Standby, unreached

PEERS = [PeerName(f"02:00:00:00:00:{number:02x}") for number in range(1, 8)]
CUT, *OTHERS = PEERS


def test_those_that_both_ends_are_connected_with_come_first() -> None:
    between = frozenset(OTHERS[3:5])
    assert Standby().choose({CUT: between}, OTHERS, 0.0) == sorted(between)
    assert Standby().choose({CUT: frozenset()}, OTHERS, 0.0) == OTHERS[:HELPERS]


def test_helpers_are_asked_once_and_again_after_a_while() -> None:
    standby = Standby()
    asked = standby.choose({CUT: frozenset()}, OTHERS, 0.0)
    assert standby.choose({CUT: frozenset()}, OTHERS, 1.0) == []
    assert standby.peers(1.0) == set(asked)
    assert standby.deadline() == REPEAT_S
    assert standby.choose({CUT: frozenset()}, OTHERS, REPEAT_S) == asked


def test_a_helper_that_comes_later_is_asked_at_once() -> None:
    standby = Standby()
    standby.choose({CUT: frozenset()}, OTHERS[:1], 0.0)
    assert standby.choose({CUT: frozenset()}, OTHERS[:2], 1.0) == OTHERS[1:2]


def test_without_anybody_cut_off_nobody_is_asked() -> None:
    standby = Standby()
    standby.choose({CUT: frozenset()}, OTHERS, 0.0)
    assert standby.choose({}, OTHERS, 1.0) == []
    assert (standby.peers(1.0), standby.deadline()) == (frozenset(), inf)


def test_a_client_is_helped_for_a_while() -> None:
    standby = Standby()
    standby.asked(CUT, 5.0)
    assert standby.peers(6.0) == {CUT}
    assert standby.deadline() == 5.0 + HELD_S
    assert standby.peers(5.0 + HELD_S) == frozenset()


def status(*, established: bool, helper: str = "") -> PeerStatus:
    return PeerStatus("", established, None, None, 0.0, 0, 0, 0, helper)


def test_help_is_needed_towards_those_that_the_sleeve_does_not_find_or_finds_through_others() -> None:
    direct, silent, relayed, unknown, elsewhere = PEERS[:5]
    ways = {direct: status(established=True), silent: status(established=False),
            relayed: status(established=True, helper=str(direct)), elsewhere: status(established=False)}
    assert unreached([direct, silent, relayed, unknown], ways) == {silent, relayed}
