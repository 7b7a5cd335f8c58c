"""Two, three, four cores wired back to back."""

import itertools

import pytest

from tests.sim.fakes import FakeSigner, identity_of
from tests.unit.mesh.fixtures import Peer, Wiring, entry, name, roots
from weave.errors import LocalError
from weave.mesh import limits, messages, rows, topology
from weave.mesh.core import DUPLICATE_CONNECTION
from weave.mesh.entries import Entry, write_entry
from weave.mesh.peers import RemotePeer
from weave.mesh.topology import LinkRecord
from weave.names import PeerName


def pair() -> tuple[Wiring, Peer, Peer, int]:
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    conn, _ = wiring.connect(one, two)
    wiring.run(2)
    return wiring, one, two, conn


def chain(size: int = 3) -> tuple[Wiring, list[Peer]]:
    """Return peers 1 - 2 - 3 - ... with their wiring."""
    wiring = Wiring()
    peers = [wiring.add(number) for number in range(1, size + 1)]
    for here, there in itertools.pairwise(peers):
        wiring.connect(here, there)
    wiring.run(3)
    return wiring, peers


def test_pair_sees_each_other() -> None:
    _, one, two, _ = pair()
    assert one.core.reachable() == two.core.reachable() == {name(1), name(2)}
    assert roots(one) == roots(two)
    (view,) = one.core.connections()
    assert (view.peer, view.established, view.outbound) == (name(2), True, True)
    assert [peer.nickname for peer in two.core.peers()] == ["h1", "h2"]


def test_round_trip_is_measured() -> None:
    wiring, one, _, _ = pair()
    wiring.run(4)
    (view,) = one.core.connections()
    assert view.rtt_s == pytest.approx(0.002, abs=1e-4)


def test_published_entry_is_told_to_the_others_but_not_to_its_owner() -> None:
    wiring, peers = chain()
    wiring.publish(peers[0], "dns", b"k", b"v")
    wiring.run(0.1)
    assert peers[1].heard("dns") == peers[2].heard("dns") == {(name(1), b"k"): b"v"}
    assert peers[0].changes == []


def test_withdrawn_entry_is_withdrawn_everywhere() -> None:
    wiring, peers = chain()
    wiring.publish(peers[0], "dns", b"k", b"v")
    wiring.run(1)
    wiring.publish(peers[0], "dns", b"k", None)
    wiring.run(0.1)
    assert peers[2].changes[-1] == ("dns", name(1), b"k", None)


def test_newcomer_learns_everything_at_once() -> None:
    wiring, peers = chain()
    for number in range(500):
        wiring.publish(peers[0], "dns", b"%d" % number, b"v" * 500)
    wiring.run(5)
    newcomer = wiring.add(4)
    wiring.connect(newcomer, peers[2])
    wiring.run(1.5)
    assert len(newcomer.heard("dns")) == 500
    assert roots(newcomer) == roots(peers[0])


def test_lost_push_is_healed_by_the_next_heartbeats() -> None:
    wiring, peers = chain()
    wiring.publish(peers[0], "dns", b"before", b"v")
    wiring.run(1)
    wiring.lose = True
    wiring.publish(peers[0], "dns", b"lost", b"v")
    wiring.run(0.1)
    wiring.lose = False
    wiring.publish(peers[0], "dns", b"after", b"v")
    wiring.run(2 * limits.HEARTBEAT_INTERVAL_S + 2)
    assert len(peers[2].heard("dns")) == 3
    assert roots(peers[0]) == roots(peers[2])


def test_lost_push_is_healed_though_somebody_never_stops_writing() -> None:
    wiring = Wiring()
    one, two, three = (wiring.add(number) for number in (1, 2, 3))
    for here, there in ((one, two), (two, three), (one, three)):
        wiring.connect(here, there)
    wiring.run(3)
    wiring.lose = True
    wiring.publish(one, "dns", b"lost", b"v")
    wiring.run(0.05)
    wiring.lose = False
    for number in range(60):
        wiring.publish(three, "dns", b"busy", b"%d" % number)
        wiring.run(0.3)
    assert two.heard("dns")[name(1), b"lost"] == b"v"


def test_unicast_is_relayed() -> None:
    wiring, peers = chain(4)
    wiring.send(peers[0], name(4), b"hello")
    wiring.run(0.1)
    (mail,) = peers[3].mail
    assert (mail.source, mail.kind, mail.payload) == (name(1), "test", b"hello")
    assert peers[1].mail == []


def test_unicast_to_ourselves_is_delivered_at_once() -> None:
    wiring, peers = chain(2)
    wiring.send(peers[0], name(1), b"hello")
    assert [mail.source for mail in peers[0].mail] == [name(1)]


def test_unicast_to_nobody_is_dropped_and_counted() -> None:
    wiring, peers = chain(2)
    wiring.send(peers[0], name(77), b"hello")
    assert peers[0].core.refused["unicast without a route"] == 1


def test_unicast_under_anothers_name_is_refused() -> None:
    wiring, one, _two, conn = pair()
    wiring.inject(one, conn, messages.Unicast(name(3), name(1), 0, "test", b"forged"))
    assert one.mail == []
    assert one.core.refused["unicast under another's name"] == 1


def test_unicast_in_a_loop_ends() -> None:
    wiring, one, _, conn = pair()
    wiring.inject(one, conn, messages.Unicast(name(2), name(1), limits.MAX_HOPS, "test", b"round"))
    assert one.core.refused["unicast in a loop"] == 1


def test_peer_without_a_path_is_unreachable_at_once() -> None:
    wiring, peers = chain()
    conn = peers[1].core.connections()[1].conn
    wiring.disconnect(peers[1], conn)
    wiring.run(0.5)
    assert peers[0].core.reachable() == {name(1), name(2)}
    assert name(3) in peers[0].reach[-1].vanished
    assert [view.reachable for view in peers[0].core.peers()] == [True, True, False]


def test_unreachable_peer_is_kept_and_then_forgotten() -> None:
    wiring, peers = chain()
    wiring.publish(peers[2], "dns", b"k", b"v")
    wiring.run(1)
    wiring.disconnect(peers[1], peers[1].core.connections()[1].conn)
    wiring.run(limits.FORGET_AFTER_S - 10)
    assert peers[0].heard("dns") == {(name(3), b"k"): b"v"}
    wiring.run(limits.FORGET_CHECK_S + 20)
    assert peers[0].heard("dns") == {}
    assert [effect.forgotten for effect in peers[0].reach if effect.forgotten] == [(name(3),)]
    assert [view.name for view in peers[0].core.peers()] == [name(1), name(2)]
    assert peers[0].core.identity_of(name(3)) is None


def test_entries_of_the_unreachable_are_not_gossiped_unless_durable() -> None:
    wiring, peers = chain()
    wiring.publish(peers[2], "dns", b"k", b"v")
    wiring.publish(peers[2], "ipam", b"k", b"v")
    wiring.run(1)
    wiring.disconnect(peers[1], peers[1].core.connections()[1].conn)
    wiring.run(1)
    newcomer = wiring.add(4)
    wiring.connect(newcomer, peers[0])
    wiring.run(2)
    assert newcomer.heard("dns") == {}
    assert newcomer.heard("ipam") == {(name(3), b"k"): b"v"}


def test_returning_peer_brings_its_news() -> None:
    wiring, peers = chain()
    wiring.disconnect(peers[1], peers[1].core.connections()[1].conn)
    wiring.publish(peers[2], "dns", b"k", b"v")
    wiring.publish(peers[0], "dns", b"k", b"v")
    wiring.run(30)
    wiring.connect(peers[2], peers[1])
    wiring.run(2)
    assert peers[0].heard("dns") == {(name(3), b"k"): b"v"}
    assert roots(peers[0]) == roots(peers[2])


def test_connection_to_a_router_that_hangs_is_dead_within_a_minute() -> None:
    wiring, one, two, conn = pair()
    wiring.silence(one, conn)
    wiring.run(limits.HEARTBEAT_ROUNDS * limits.HEARTBEAT_INTERVAL_S)
    assert one.core.connections()
    wiring.run(limits.DEAD_AFTER_S - limits.HEARTBEAT_ROUNDS * limits.HEARTBEAT_INTERVAL_S)
    assert one.core.connections() == two.core.connections() == []


def test_octets_of_a_large_message_are_no_silence() -> None:
    wiring, one, _, conn = pair()
    wiring.silence(one, conn)
    for _ in range(10):
        wiring.run(limits.DEAD_AFTER_S / 3)
        one.core.heard(conn, wiring.now)
    assert one.core.connections()


def test_pause_of_our_own_process_kills_nobody() -> None:
    wiring, one, _, _ = pair()
    wiring.now += 60
    wiring.do(one, one.core.tick(wiring.now))
    assert one.core.connections()


def test_duplicate_connections_become_one_at_both_ends() -> None:
    wiring, one, two, first = pair()
    wiring.connect(two, one)
    wiring.run(1)
    assert [view.conn for view in one.core.connections()] == [first]
    assert len(two.core.connections()) == 1
    assert messages.Goodbye(DUPLICATE_CONNECTION) in one.sent


def test_duplicate_connection_may_say_goodbye_at_that_moment() -> None:
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    wiring.lose = True
    first, second = (wiring.connect(two, one)[1] for _ in range(2))
    wiring.run(0.1)
    wiring.inject(one, first, messages.Heartbeat(1, 0, 0, ()))
    wiring.inject(one, second, messages.Goodbye("no longer needed"))
    assert [each.conn for each in one.core.connections()] == [first]


def test_a_peer_with_the_higher_say_cannot_have_any_number_of_connections() -> None:
    """It is the lower name that closes what is one too many; the other end bounds what it takes nonetheless."""
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    wiring.lose = True
    for _ in range(3 * limits.MAX_CONNECTIONS_OF_PEER):
        wiring.connect(one, two)
    assert len(two.core.connections()) == limits.MAX_CONNECTIONS_OF_PEER


def test_successor_of_a_dead_connection_lives() -> None:
    wiring, one, two, first = pair()
    wiring.silence(one, first)
    second, _ = wiring.connect(two, one)
    wiring.run(limits.DEAD_AFTER_S + 3)
    assert len(one.core.connections()) == len(two.core.connections()) == 1
    assert one.core.connections()[0].conn != first
    assert second


def test_connection_to_an_earlier_life_is_replaced() -> None:
    wiring, one, two, first = pair()
    wiring.publish(two, "dns", b"old", b"v")
    wiring.run(1)
    wiring.peers.remove(two)
    reborn = wiring.add(2, incarnation=2, uid=7)
    wiring.connect(reborn, one)
    assert [view.conn for view in one.core.connections()] != [first]
    wiring.run(limits.FLOOR_DELAY_S + 1)
    assert one.heard("dns") == {}
    assert reborn.core.warnings() == []
    assert roots(one) == roots(reborn)


def test_restart_does_not_flap_what_is_published_again() -> None:
    wiring, one, two, _ = pair()
    wiring.publish(two, "dns", b"k", b"v")
    wiring.run(1)
    wiring.peers.remove(two)
    reborn = wiring.add(2, incarnation=2, uid=7)
    wiring.connect(reborn, one)
    wiring.publish(reborn, "dns", b"k", b"v")
    wiring.run(10)
    assert [change for change in one.changes if change[0] == "dns"] == [("dns", name(2), b"k", b"v")]


def test_durable_entries_survive_a_restart_of_everybody() -> None:
    wiring, one, two, _ = pair()
    wiring.publish(two, "ipam", b"k", b"v")
    wiring.run(1)
    reborn = Wiring().add(1, incarnation=2, restored=one.rows)
    assert reborn.heard("ipam") == {(name(2), b"k"): b"v"}
    assert reborn.core.identity_of(name(2)) == two.me.identity


def test_what_was_withdrawn_does_not_stay_in_the_store() -> None:
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    wiring.connect(one, two)
    for number in range(3 * limits.MIN_TOMBSTONES):
        wiring.publish(one, "ipam", b"%d" % number, b"v")
        wiring.publish(one, "ipam", b"%d" % number, None)
    wiring.run(3)
    assert len(one.rows[rows.ENTRY_TABLE]) == len(two.rows[rows.ENTRY_TABLE]) <= limits.MIN_TOMBSTONES + 2


def test_old_database_adopts_its_newer_durable_entries_and_says_so() -> None:
    wiring, one, two, _ = pair()
    wiring.publish(two, "ipam", b"k", b"new")
    wiring.run(1)
    wiring.peers.remove(two)
    reborn = wiring.add(2, incarnation=1, uid=7)
    wiring.connect(reborn, one)
    wiring.run(2)
    assert ("ipam", name(2), b"k", b"new") in reborn.changes
    assert "older" in reborn.core.warnings()[0]
    wiring.publish(reborn, "ipam", b"k", b"newer")
    wiring.run(1)
    assert one.heard("ipam") == {(name(2), b"k"): b"newer"}


def test_forged_entry_is_refused_counted_and_costs_nothing_else() -> None:
    wiring, one, two, conn = pair()
    forged = entry(2, b"forged", 99 << 32, b"v", key_id="another key")
    good = write_entry("dns", name(2), b"good", 9 << 32, b"v", FakeSigner(two.me.identity))
    wiring.inject(one, conn, messages.Delta("dns", (messages.Group(name(2), two.me.identity, (forged, good)),)))
    assert one.heard("dns") == {(name(2), b"good"): b"v"}
    assert one.core.refused["bad signature"] == 1
    assert one.core.connections()


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (identity_of(name(2), "another key"), "duplicate name"),
        (identity_of(name(3)), "duplicate name"),
        (b"\xff", "duplicate name"),
    ],
)
def test_second_key_under_a_name_is_refused(identity: bytes, reason: str) -> None:
    wiring, one, _, conn = pair()
    forged = write_entry("dns", name(2), b"k", 99 << 32, b"v", FakeSigner(identity))
    wiring.inject(one, conn, messages.Delta("dns", (messages.Group(name(2), identity, (forged,)),)))
    assert one.core.refused[reason] == 1
    assert one.heard("dns") == {}


@pytest.mark.parametrize(
    ("identity", "reason"),
    [(identity_of(name(8)), "name does not belong to the key"), (b"\xff", "undecodable identity")],
)
def test_unknown_owner_must_prove_its_name(identity: bytes, reason: str) -> None:
    wiring, one, _, conn = pair()
    forged = write_entry("dns", name(7), b"k", 1 << 32, b"v", FakeSigner(identity))
    wiring.inject(one, conn, messages.Delta("dns", (messages.Group(name(7), identity, (forged,)),)))
    assert one.core.refused[reason] == 1


def test_identity_that_signed_nothing_is_not_held() -> None:
    wiring, one, _, conn = pair()
    forged = Entry(name(9), b"k", 1 << 32, b"v", b"no signature")
    delta = messages.Delta("dns", (messages.Group(name(9), identity_of(name(9)), (forged,)),))
    wiring.inject(one, conn, delta)
    assert one.core.refused["bad signature"] == 1
    assert one.core.identity_of(name(9)) is None


def test_identity_of_a_connection_that_came_to_nothing_is_forgotten() -> None:
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    wiring.lose = True
    conn, _ = wiring.connect(one, two)
    wiring.disconnect(one, conn)
    wiring.run(60)
    assert one.core.identity_of(name(2)) is not None
    wiring.run(limits.FORGET_AFTER_S + 2 * limits.FORGET_CHECK_S)
    assert one.core.identity_of(name(2)) is None
    assert one.core.identity_of(name(1)) is not None


def test_entry_of_one_channel_does_not_pass_in_another() -> None:
    wiring, one, two, conn = pair()
    dns = write_entry("dns", name(2), b"k", 9 << 32, b"v", FakeSigner(two.me.identity))
    wiring.inject(one, conn, messages.Delta("ipam", (messages.Group(name(2), two.me.identity, (dns,)),)))
    assert one.heard("ipam") == {}


def test_unknown_channels_and_messages_are_skipped() -> None:
    wiring, one, _two, conn = pair()
    wiring.inject(one, conn, messages.Delta("later", (), None))
    wiring.inject(one, conn, messages.Digest("later", (0,) * limits.DIGEST_BUCKETS))
    wiring.inject(one, conn, messages.Unknown(99))
    assert one.core.refused["message of a later version"] == 1
    wiring.run(10)
    assert len(one.core.connections()) == 1


def test_bad_topology_record_is_refused_and_the_peer_stays() -> None:
    wiring, one, two, conn = pair()
    signer = FakeSigner(two.me.identity)
    bad = write_entry("topology", name(2), b"peer", 9 << 32, b"\xc1", signer)
    wiring.inject(one, conn, messages.Delta("topology", (messages.Group(name(2), two.me.identity, (bad,)),)))
    assert one.core.refused["malformed peer record"] == 1
    wiring.run(12)
    assert one.core.is_reachable(name(2))
    assert [view.nickname for view in one.core.peers()] == ["h1", "h2"]


def test_congested_connection_holds_gossip_and_coalesces_it() -> None:
    wiring, one, two, conn = pair()
    wiring.do(one, one.core.congested(conn, True, wiring.now))
    for number in range(50):
        wiring.publish(one, "dns", b"k", b"%d" % number)
        wiring.run(0.05)
    assert two.heard("dns") == {}
    before = len(one.sent)
    wiring.do(one, one.core.congested(conn, False, wiring.now))
    assert len(one.sent) == before + 1
    wiring.run(0.1)
    assert two.heard("dns") == {(name(1), b"k"): b"49"}


def test_who_does_not_read_is_not_answered() -> None:
    wiring = Wiring()
    one, two = wiring.add(1), wiring.add(2)
    conn, _ = wiring.connect(one, two)
    wiring.run(1)
    wiring.do(one, one.core.congested(conn, True, wiring.now))
    said = len(one.sent)
    for _ in range(100):
        wiring.inject(one, conn, messages.Digest("topology", (1,) * 64))
        wiring.inject(one, conn, messages.Heartbeat(1, 0, 0, ()))
    assert len(one.sent) == said


def test_unicast_waits_for_a_congested_connection_up_to_a_bound() -> None:
    wiring, one, two, conn = pair()
    wiring.do(one, one.core.congested(conn, True, wiring.now))
    for number in range(limits.MAX_UNICASTS_HELD + 5):
        wiring.send(one, name(2), b"%d" % number)
    assert one.core.refused["unicast over a congested link"] == 5
    wiring.do(one, one.core.congested(conn, False, wiring.now))
    wiring.run(0.1)
    assert [mail.payload for mail in two.mail][:2] == [b"0", b"1"]
    assert len(two.mail) == limits.MAX_UNICASTS_HELD


def test_changed_underlay_addresses_are_told() -> None:
    wiring, one, two, _ = pair()
    wiring.do(one, one.core.advertise(("192.0.2.7",), wiring.now))
    wiring.run(0.5)
    assert two.core.peers()[0].addresses == ("192.0.2.7",)
    assert len(two.reach) > 1


def test_unknown_channel_is_told_to_the_caller() -> None:
    _, one, _, _ = pair()
    with pytest.raises(LocalError, match="no gossip channel"):
        one.core.publish("nonsense", b"k", b"v", 3.0)


def test_routes_of_a_chain() -> None:
    _, peers = chain(4)
    unicast = {route.destination: route.via for route in peers[0].core.unicast_routes()}
    assert unicast == {name(1): name(1), name(2): name(2), name(3): name(2), name(4): name(2)}
    broadcast = {route.source: route.via for route in peers[1].core.broadcast_routes()}
    assert broadcast[name(1)] == (name(3),)
    assert broadcast[name(4)] == (name(1),)


def test_idle_mesh_says_little() -> None:
    wiring, peers = chain()
    wiring.run(10)
    for peer in peers:
        peer.sent.clear()
    wiring.run(30)
    for peer in peers:
        assert {type(message) for message in peer.sent} == {messages.Heartbeat}
        assert len(peer.sent) <= 12 * len(peer.core.connections())


@pytest.mark.parametrize(("count", "most", "bytes_"), [(20, 2500, 32768), (20, 2500, 300), (20, 15, 32768)])
def test_hub_publishes_as_many_links_as_others_take(
    count: int, most: int, bytes_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_LINKS", most)
    monkeypatch.setattr(limits, "MAX_VALUE_BYTES", bytes_)
    hub = Wiring().add(1).core
    for number in range(1, count + 1):
        other = PeerName(f"7a:01:00:00:{number >> 8:02x}:{number & 255:02x}")
        remote = RemotePeer(other, identity_of(other), "h", number, 6783)
        hub.connection_up(number, remote, address="198.51.100.99:40000", outbound=False, target=None, now=1.0)
        hub.message(number, messages.Heartbeat(1, 1, 0, ()), 1.01)
    hub.tick(1.1)
    value = next(each.value for each in hub.entries(topology.CHANNEL) if each.key == topology.LINKS_KEY)
    assert value is not None
    record = topology.decode_links(name(1), value)
    assert len(record.established) == min(count, most)
    assert {link.address for link in record.links} == ({"198.51.100.99:40000"} if bytes_ > 1000 else {""})
    assert sum(hub.refused.values()) == (count > most)


def test_links_of_a_hub_fit_at_their_most() -> None:
    links = tuple(LinkRecord(PeerName(f"7a:01:00:00:{number >> 8:02x}:{number & 255:02x}"), outbound=False,
                             address="[2001:db8:1234:5678:9abc:def0:1234:5678]:65535", established=True)
                  for number in range(limits.MAX_LINKS + 1))
    value = topology.encode_links(links)
    assert len(value) <= limits.MAX_VALUE_BYTES
    assert len(topology.decode_links(name(1), value).established) == limits.MAX_LINKS
