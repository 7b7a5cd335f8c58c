"""All hosts use the MTU of the weakest at once, and go up only when nobody has needed it for a while."""

import pytest

from weave.names import PeerName
from weave.net.limits import MTU_RAISE_S
from weave.net.mtu import SegmentMtu, adjusted, read_claim

H2, H3 = PeerName("02:00:00:00:00:02"), PeerName("02:00:00:00:00:03")


def test_the_weakest_host_decides_at_once() -> None:
    mtu = SegmentMtu(1450, present=1450, floor=576)
    assert mtu.hear({H2: 1410, H3: 1350}, 0.0) == 1350
    assert mtu.weakest == H3
    assert mtu.words({H3: "h3"}, 0.0) == "h3 carries no more; this host carries 1450"


def test_hosts_that_carry_more_change_nothing() -> None:
    mtu = SegmentMtu(1350, present=1350, floor=576)
    assert mtu.hear({H2: 1410}, 0.0) == 1350
    assert (mtu.weakest, mtu.words({}, 0.0)) == (None, "")


def test_it_rises_only_after_the_weak_host_was_away_for_long() -> None:
    mtu = SegmentMtu(1450, present=1450, floor=576)
    mtu.hear({H2: 1350}, 0.0)
    assert mtu.hear({}, 10.0) == 1350
    assert mtu.words({}, 10.0) == "a host that carried no more is gone; it is raised in 300 s, this host carries 1450"
    assert mtu.deadline() == 10.0 + MTU_RAISE_S
    assert mtu.hear({}, mtu.deadline() - 1) == 1350
    assert mtu.hear({}, mtu.deadline()) == 1450
    assert mtu.deadline() == float("inf")


def test_a_host_that_flaps_changes_nothing() -> None:
    mtu = SegmentMtu(1450, present=1450, floor=576)
    seen = {mtu.hear({H2: 1350} if at % 200 < 100 else {}, float(at)) for at in range(0, 2000, 50)}
    assert seen == {1350}


def test_what_the_bridge_has_is_kept_at_the_start() -> None:
    mtu = SegmentMtu(1450, present=1350, floor=576)
    assert mtu.hear({}, 0.0) == 1350
    assert mtu.hear({}, MTU_RAISE_S) == 1450


def test_it_never_falls_below_the_floor_and_says_so() -> None:
    mtu = SegmentMtu(1450, present=1450, floor=1280)
    assert mtu.hear({H2: 600}, 0.0) == 1280
    assert mtu.words({H2: "h2"}, 0.0) == "h2 carries 600 alone, too little: large packets do not reach it"


@pytest.mark.parametrize(("value", "claim"), [
    (1450, 1450), (576, 576), (None, None), ("1450", None), (True, None), (575, None), (1 << 20, None), (-1, None),
])
def test_nonsense_is_no_claim(value: object, claim: int | None) -> None:
    assert read_claim(value) == claim


@pytest.mark.parametrize(("has", "before", "after", "gets"), [
    (1450, 1450, 1350, 1350), (1350, 1350, 1450, 1450), (1300, 1450, 1350, None), (1300, 1350, 1450, None),
    (1400, 1450, 1350, 1350), (1350, 1350, 1350, None), (1450, 1350, 1350, 1350),
])
def test_interfaces_follow_the_segment_but_for_those_that_were_asked_to_be_smaller(
        has: int, before: int, after: int, gets: int | None) -> None:
    assert adjusted(has, before, after) == gets
