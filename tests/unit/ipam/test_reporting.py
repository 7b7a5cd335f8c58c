"""What an operator is told, and what a peer that writes nonsense brings about: a count."""

from ipaddress import ip_network
from random import Random

from tests.unit.ipam.cluster import peer
from tests.unit.ipam.scenes import allocated, claimed, cluster_of, core_of, seeded, status, wait
from weave.ipam import gossip
from weave.ipam.blocks import Block
from weave.ipam.core import MALFORMED_ENTRY, MALFORMED_MESSAGE, UNASKED, IpamCore
from weave.ipam.messages import Grant, encode
from weave.ipam.modes import Consensus, Observer, Seed
from weave.ipam.ring import Range
from weave.ipam.views import OwnerView, PaxosView, RangeView

RANGE = ip_network("10.32.0.0/24")


def two() -> IpamCore:
    core = IpamCore(me=peer(1), range_=RANGE, default_subnet=ip_network("10.32.0.0/25"), init=Seed((peer(1), peer(2))),
                    rng=Random(1), stored={})
    core.start(0.0)
    core.peers_changed(frozenset({peer(1), peer(2)}), {peer(1): "h1", peer(2): "h2"}, 0.0)
    return core


def test_view_of_a_ring() -> None:
    core = two()
    core.allocate(1, "c", None, 0.0)
    view = core.view()
    assert (view.status, view.network, view.active, view.paxos) == ("ready", RANGE, 1, None)
    assert view.default_subnet == ip_network("10.32.0.0/25")
    assert view.ranges == (RangeView(RANGE[0], 128, peer(1), "h1", True, 0),
                           RangeView(RANGE[128], 128, peer(2), "h2", True, 0))
    assert view.owners == (OwnerView(peer(1), "h1", 128, 50.0, 1, True),
                           OwnerView(peer(2), "h2", 128, 50.0, None, True))


def test_view_of_an_election() -> None:
    cluster = cluster_of(Consensus(5), Consensus(5))
    cluster.allocate(1, "c")
    view = core_of(cluster, 1).view()
    assert view.status == "awaiting consensus (quorum: 3, known: 2)"
    assert view.paxos == PaxosView(True, 2, 3)
    assert view.pending_allocates == ("c 10.32.0.0/24",)
    assert (view.ranges, view.owners) == ((), ())


def test_peers_of_another_range_are_named() -> None:
    core = IpamCore(me=peer(1), range_=RANGE, default_subnet=None, init=Consensus(2), rng=Random(1), stored={})
    core.start(0.0)
    core.peers_changed(frozenset({peer(2)}), {peer(2): "h2"}, 0.0)
    other = ip_network("10.40.0.0/16")
    keys = gossip.Keys(core.universe)
    core.entries_changed([(peer(2), keys.wish, gossip.encode_wish(other))], 0.0)
    assert core.status() == (
        f"conflict: h2 ({peer(2)}) divides the range 10.40.0.0/16, this peer is configured for 10.32.0.0/24; "
        "start all peers with the same --ipalloc-range")


def test_records_that_contradict_each_other_are_shown_until_one_follows() -> None:
    core = two()
    keys, ring = gossip.Keys(core.universe), core.estate.division.ring_id if core.estate else b""
    block = Block(core.universe.start + 128, 128)
    for owner in (2, 3):
        record = Range(block, peer(owner), 5, peer(owner))
        core.entries_changed([(peer(owner), keys.range(block), gossip.encode_range(ring, record))], 1.0)
    assert core.view().conflicts == (
        f"10.32.0.128/25 was given to {peer(3)} and to h2 ({peer(2)}) at once; {peer(3)} has it",)
    later = Range(block, peer(2), 6, peer(3))
    core.entries_changed([(peer(3), keys.range(block), gossip.encode_range(ring, later))], 2.0)
    assert core.view().conflicts == ()


def test_nonsense_is_refused_one_by_one_and_counted() -> None:
    core = two()
    keys = gossip.Keys(core.universe)
    good = Block(core.universe.start + 192, 64)
    ring = core.estate.division.ring_id if core.estate else b""
    record = Range(good, peer(3), 1, peer(2))
    core.entries_changed([
        (peer(2), keys.seed, b"\xc1"), (peer(2), keys.range(good)[:-1] + b"\xff", b"x"), (peer(2), b"unknown", b"x"),
        (peer(2), keys.range(good), gossip.encode_range(ring, record))], 1.0)
    assert core.refused == {MALFORMED_ENTRY: 2}
    assert core.estate is not None
    assert core.estate.ring.at(good.start).owner == peer(3)
    assert core.message(peer(2), b"\xc1", 1.0) == []
    assert core.refused[MALFORMED_MESSAGE] == 1


def test_grant_that_nobody_asked_for_is_not_taken() -> None:
    core = two()
    assert core.estate is not None
    given = Range(Block(core.universe.start + 128, 128), peer(1), 9, peer(2))
    core.message(peer(2), encode(core.universe, core.estate.division.ring_id, Grant(7, (given,))), 1.0)
    assert core.refused == {UNASKED: 1}
    assert core.estate.size_of(peer(1)) == 128


def test_hints_are_coarse_and_not_told_too_often() -> None:
    cluster = seeded(2)
    wait(cluster, 5)
    before = cluster[1].counter
    for number in range(60):
        allocated(cluster, 1, f"c{number}", within=0.02)
    wait(cluster, 5)
    assert cluster[1].counter[1] - before[1] <= 2


def test_space_is_asked_of_who_has_it() -> None:
    """Host 1 has nothing free, and its hint says so."""
    cluster = seeded(2, [Observer()])
    for number in range(1, 128):
        claimed(cluster, 1, f"c{number}", f"10.32.0.{number}/24", within=0.1)
    wait(cluster, 5)
    for number in range(10):
        assert allocated(cluster, 3, f"d{number}", within=0.2).startswith("10.32.0.")
    assert status(cluster, 3) == "ready"
