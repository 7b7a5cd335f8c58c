"""A group is held back from a host only where nobody can be overlooked."""

from math import inf

import pytest

from weave.names import PeerName
from weave.net import Mac, Membership
from weave.router.multicast import EVERYTHING, SETTLE_S, Groups

H2, H3 = PeerName("02:00:00:00:00:02"), PeerName("02:00:00:00:00:03")
PEERS = (H2, H3)
GROUP, OTHER = Mac(bytes.fromhex("01005e010203")), Mac(bytes.fromhex("01005e010204"))
NOW = 100.0
LATER = NOW + SETTLE_S


def groups(*tellers: PeerName, group: Mac = GROUP, member: PeerName = H2) -> Groups:
    """Return what a host knows that heard of both peers long ago, and just now of a member of a group."""
    made = Groups()
    made.tellers(tellers or PEERS, 0.0)
    made.receivers(PEERS, 0.0)
    assert made.claim(member, group, holds=True)
    assert made.receivers(PEERS, NOW) == {}, "a fresh group goes to all"
    return made


def test_a_group_goes_to_members_alone_once_it_is_known_for_a_while() -> None:
    made = groups()
    assert made.deadline() == LATER
    assert made.receivers(PEERS, LATER - 1) == {}
    assert made.receivers(PEERS, LATER) == {GROUP: {H2}}
    assert made.deadline() == inf


def test_a_late_member_is_served_as_soon_as_it_is_known() -> None:
    made = groups()
    made.receivers(PEERS, LATER)
    made.claim(H3, GROUP, holds=True)
    assert made.receivers(PEERS, LATER) == {}, "all are members"
    made.claim(H2, GROUP, holds=False)
    assert made.receivers(PEERS, LATER) == {GROUP: {H3}}


def test_a_group_with_members_on_this_host_alone_stays_here() -> None:
    made = groups()
    made.local = Membership(frozenset({OTHER}), everything=False)
    made.receivers(PEERS, NOW)
    assert made.receivers(PEERS, LATER)[OTHER] == frozenset()


def test_a_group_that_everybody_left_is_flooded_again() -> None:
    made = groups()
    made.receivers(PEERS, LATER)
    made.claim(H2, GROUP, holds=False)
    assert made.receivers(PEERS, LATER) == {}


@pytest.mark.parametrize("tellers", [(H2,), (H3,)])
def test_a_host_that_does_not_tell_gets_everything(tellers: tuple[PeerName]) -> None:
    made = groups(*tellers)
    made.receivers(PEERS, LATER)
    assert made.receivers(PEERS, LATER).get(GROUP, frozenset(PEERS)) >= set(PEERS) - set(tellers)


def test_a_host_that_was_away_gets_everything_until_it_has_told() -> None:
    made = groups()
    made.receivers(PEERS, LATER)
    made.tellers([H2], LATER)
    assert made.receivers(PEERS, LATER) == {}
    made.tellers(PEERS, LATER + 1)
    assert made.receivers(PEERS, LATER + 1) == {}
    made.tellers(PEERS, LATER + 1 + SETTLE_S)
    assert made.receivers(PEERS, LATER + 1 + SETTLE_S) == {GROUP: {H2}}


def test_a_host_with_a_router_of_multicast_gets_everything() -> None:
    made = groups()
    made.claim(H3, EVERYTHING, holds=True)
    assert made.receivers(PEERS, LATER) == {}


@pytest.mark.parametrize("key", [b"", b"\1", bytes(6), bytes(7), bytes.fromhex("01005e0000fb"),
                                 bytes.fromhex("020000000001")])
def test_nonsense_is_refused(key: bytes) -> None:
    assert not Groups().claim(H2, key, holds=True)
