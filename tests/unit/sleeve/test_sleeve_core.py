"""Sleeves that talk: handshakes, new keys, roaming, introductions, sizes, recovery, strangers."""

import random

import pytest

from tests.unit.sleeve.wires import PORT, PSK, Net, key_pair, place
from weave.net.sleeve import limits
from weave.net.sleeve.keys import sleeve_psk
from weave.net.sleeve.model import PeerConfig
from weave.net.sleeve.wire import INITIATION_BYTES, RELAY_HEAD, Key, Kind, short

OTHER_PSK = sleeve_psk(b"o" * 32)


def test_two_peers_find_each_other_within_two_round_trips() -> None:
    net = Net("ab")
    net.run(0.01)
    assert net.established("a", "b")
    assert net.established("b", "a")


def test_frames_arrive_both_ways() -> None:
    net = Net("ab")
    net.run(0.01)
    net.unit("a", "b", b"to b" * 1000)
    net.unit("b", "a", b"to a")
    net.run(0.01)
    assert net.hosts["b"].received == [b"to b" * 1000]
    assert net.hosts["a"].received == [b"to a"]


def test_both_ends_choose_the_same_of_two_sessions_begun_at_once() -> None:
    net = Net("ab")
    net.run(0.1)
    ends = [net.hosts[name].core.peers[other].current for name, other in ("ab", "ba")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].session.local == ends[1].session.remote


def test_new_keys_lose_nothing() -> None:
    net = Net("ab")
    net.run(0.1)
    sent = []
    for number in range(4 * int(limits.REKEY_AFTER_S)):
        sent.append(b"%d" % number)
        net.unit("a", "b", sent[-1])
        net.unit("b", "a", sent[-1])
        net.run(0.75)
    assert net.hosts["b"].received == sent
    assert net.hosts["a"].received == sent


def test_keys_are_replaced_by_count_too() -> None:
    net = Net("ab")
    net.run(0.1)
    before = net.hosts["a"].core.peers["b"].current
    assert before is not None
    before.session.sent = limits.REKEY_AFTER_UNITS
    net.unit("a", "b", b"one more")
    net.run(limits.PROBE_BUSY_S + 0.1)
    assert net.hosts["a"].core.peers["b"].current is not before
    assert net.hosts["b"].received == [b"one more"]


def test_no_counter_is_sealed_twice_under_one_key() -> None:
    net = Net("abc", seed=3)
    for number in range(200):
        net.run(1.0)
        for a, b in ("ab", "ba", "ca"):
            if net.established(a, b):
                net.unit(a, b, b"%d" % number)
    data = [datagram for _, _, datagram in net.seen if datagram[0] in (Kind.DATA, Kind.CONTROL)]
    assert len(data) > 600
    assert len({(datagram[0], datagram[4:16]) for datagram in data}) == len(data)


def test_a_wrong_password_makes_no_session_and_gets_no_answer() -> None:
    net = Net("ab", psks={"b": [OTHER_PSK]})
    net.run(5.0)
    assert not net.established("a", "b")
    assert {datagram[0] for _, _, datagram in net.seen} == {Kind.INITIATION}


@pytest.mark.parametrize("psks", [{"a": [OTHER_PSK, PSK]}, {"b": [OTHER_PSK, PSK]},
                                  {"a": [OTHER_PSK, PSK], "b": [PSK, OTHER_PSK]}])
def test_peers_that_accept_each_others_password_meet(psks: dict[str, list[bytes]]) -> None:
    net = Net("ab", psks=psks)
    net.run(1.0)
    assert net.established("a", "b")
    assert net.established("b", "a")


def test_a_peer_that_is_not_named_gets_no_session() -> None:
    net = Net("ab")
    net.hosts["b"].core.set_peers([], net.now)
    net.run(3.0)
    assert not net.established("a", "b")
    assert not net.hosts["b"].core.inboxes


def test_a_peer_whose_key_gives_no_handshake_stops_no_other() -> None:
    net = Net("ab")
    core = net.hosts["a"].core
    core.set_peers([PeerConfig("0", Key(bytes(32)), (place("c"),)), net.config("b")], net.now)
    net.run(5.0)
    assert net.established("a", "b")
    assert core.refused["the other end sent a public key of low order"] > 1


def test_the_address_follows_the_newest_authenticated_datagram() -> None:
    net = Net("ab")
    net.run(0.1)
    net.hosts["a"].address = ("198.51.100.9", 40000)
    net.unit("a", "b", b"from elsewhere")
    net.run(0.01)
    net.unit("b", "a", b"back there")
    net.run(0.01)
    assert net.hosts["a"].received == [b"back there"]


def test_what_does_not_authenticate_moves_nobody() -> None:
    net = Net("ab")
    net.run(0.1)
    there = net.hosts["b"].core.peers["a"]
    before = there.address
    recorded = [datagram for source, _, datagram in net.seen if source == place("a")]
    for datagram in recorded:
        net.hosts["b"].take(datagram, ("198.51.100.66", 1), net.now)
        net.hosts["b"].take(datagram[:-1] + bytes([datagram[-1] ^ 1]), ("198.51.100.66", 1), net.now)
    net.run(0.1)
    assert there.address == before


def test_a_peer_that_was_started_anew_is_talked_to_again_within_a_second() -> None:
    net = Net("ab")
    net.run(10.0)
    net.hosts["a"] = net.host("a", [PSK])
    net.hosts["a"].core.set_peers([net.config("b")], net.now)
    net.run(0.1)
    net.unit("b", "a", b"welcome")
    net.run(0.1)
    assert net.hosts["a"].received == [b"welcome"]


@pytest.mark.parametrize("restarted", "ab")
@pytest.mark.parametrize("began", "ab")
def test_a_peer_that_was_started_anew_at_once_is_not_taken_for_one_that_began_at_the_same_time(restarted: str,
                                                                                              began: str) -> None:
    other = {"a": "b", "b": "a"}
    net = Net("ab")
    net.drop = lambda source, _, data: source == place(other[began]) and data[0] == Kind.INITIATION
    net.run(0.3)
    current = net.hosts[began].core.peers[other[began]].current
    assert current is not None
    assert current.session.is_initiator
    net.drop = lambda *_: False
    net.hosts[restarted] = net.host(restarted, [PSK])
    net.hosts[restarted].core.set_peers([net.config(other[restarted])], net.now)
    net.run(0.1)
    net.unit(other[restarted], restarted, b"welcome")
    net.run(0.1)
    assert net.hosts[restarted].received == [b"welcome"]


@pytest.mark.parametrize("seed", range(20))
def test_both_ends_choose_the_same_whatever_is_lost_of_two_handshakes_begun_at_once(seed: int) -> None:
    net = Net("ab", seed=seed)
    chance = random.Random(seed)
    net.drop = lambda *_: chance.random() < 0.3
    net.delay = lambda: chance.uniform(0.0, 0.02)
    net.run(2.0)
    net.drop = lambda *_: False
    net.run(2.0)
    for source, destination in ("ab", "ba"):
        net.unit(source, destination, b"hello")
        net.run(0.1)
        assert net.hosts[destination].received == [b"hello"]


def test_a_silent_way_is_noticed_and_found_again_elsewhere() -> None:
    net = Net("ab")
    net.run(0.1)
    net.hosts["a"].core.set_peers([net.config("b")], net.now)
    net.hosts["b"].address = ("198.51.100.9", PORT)
    moved = net.config("b")
    net.unit("a", "b", b"lost")
    net.run(2.0)
    net.hosts["a"].core.set_peers([type(moved)("b", moved.key, (("198.51.100.9", PORT),))], net.now)
    net.run(1.0)
    net.unit("a", "b", b"found")
    net.run(0.1)
    assert b"found" in net.hosts["b"].received


def test_an_idle_way_costs_a_probe_in_twenty_seconds() -> None:
    net = Net("ab")
    net.run(30.0)
    before = len(net.seen)
    net.run(100.0)
    assert len(net.seen) - before <= 2 * 2 * (100 / limits.PROBE_IDLE_S) + 16


def test_peers_behind_translators_are_introduced_by_a_third() -> None:
    net = Net("abc")
    reached: set[tuple[object, object]] = set()

    def translate(source: tuple[str, int], to: tuple[str, int], _: bytes) -> bool:
        """Let a datagram to a or c in only where its sender was written to before."""
        reached.add((source, to))
        return to in (place("a"), place("c")) and (to, source) not in reached

    net.drop = translate
    for name, other in ("ac", "ca"):
        known = net.config("b")
        net.hosts[name].core.set_peers([known, net.config(other, known=False)], net.now)
    net.run(10.0)
    assert net.established("a", "c")
    assert net.established("c", "a")


def test_datagrams_grow_to_what_the_way_carries() -> None:
    net = Net("ab")
    net.drop = lambda _, __, datagram: len(datagram) > 1400
    net.run(2.0)
    assert net.hosts["a"].core.peers["b"].sizes.size == 1392


def test_a_size_that_stops_getting_through_is_left() -> None:
    net = Net("ab")
    net.run(2.0)
    assert net.hosts["a"].core.peers["b"].sizes.size == 1472
    net.drop = lambda _, __, datagram: len(datagram) > 1300
    for _ in range(40):
        net.unit("a", "b", b"x")
        net.unit("b", "a", b"x")
        net.run(0.5)
    assert net.hosts["a"].core.peers["b"].sizes.size == 1232


@pytest.mark.parametrize("seed", range(5))
def test_lost_fragments_are_asked_for_again(seed: int) -> None:
    net = Net("ab", seed)
    net.run(1.0)
    net.drop = lambda *_: net.rng.random() < 0.05
    sent = []
    for number in range(200):
        sent.append(b"%d." % number * (1 if number % 3 else 8000))
        net.unit("a", "b", sent[-1])
        net.run(0.002)
    net.drop = lambda *_: False
    net.run(1.0)
    missing = set(sent) - set(net.hosts["b"].received)
    assert len(missing) <= 4
    assert len(net.hosts["b"].received) == len(set(net.hosts["b"].received))


@pytest.mark.parametrize("seed", range(3))
def test_doubled_and_reordered_datagrams_deliver_each_unit_once(seed: int) -> None:
    net = Net("ab", seed)
    net.run(1.0)
    net.double = True
    net.delay = lambda: net.rng.random() * 0.003
    sent = [b"%d." % number * 2000 for number in range(50)]
    for plain in sent:
        net.unit("a", "b", plain)
        net.run(0.001)
    net.run(1.0)
    assert sorted(net.hosts["b"].received) == sorted(sent)


def test_an_outage_longer_than_the_window_does_not_end_the_session() -> None:
    net = Net("ab")
    net.run(1.0)
    net.drop = lambda *_: True
    for _ in range(2 * limits.MAX_AHEAD):
        net.hosts["a"].core.peers["b"].current.session.next_unit()  # type: ignore[union-attr]
    net.drop = lambda *_: False
    net.unit("a", "b", b"far" * 1000)
    net.run(1.5)
    net.unit("a", "b", b"ahead" * 1000)
    net.run(0.1)
    assert b"ahead" * 1000 in net.hosts["b"].received


def test_a_forged_fragment_spoils_at_most_its_unit_and_that_comes_again() -> None:
    net = Net("ab")
    net.run(1.0)
    a, b = net.hosts["a"], net.hosts["b"]
    datagrams = a.unit("b", b"good" * 1000, net.now)
    forged = datagrams[1][0][:16] + b"evil" * 100
    b.take(forged, ("198.51.100.66", 1), net.now)
    for datagram, to in datagrams:
        net.send(a, datagram, to)
    net.run(0.01)
    net.unit("a", "b", b"next")
    net.run(0.5)
    assert sorted(b.received) == [b"good" * 1000, b"next"]


def test_a_flood_of_initiations_is_met_with_cookies_and_peers_still_get_in() -> None:
    net = Net("ab")
    mallory = Net("mb", seed=9).hosts["m"]
    mallory.core.set_peers([net.config("b")], net.now)
    b = net.hosts["b"]
    for _ in range(int(limits.HANDSHAKES_BURST) + 20):
        mallory.core.peers["b"].handshake_at = net.now
        mallory.core.schedule(mallory.core.peers["b"], net.now)
        mallory.core.tick(net.now)
        effects, mallory.core.effects = mallory.core.effects, []
        for effect in effects:
            b.take(effect.datagram, ("198.51.100.66", 1), net.now)  # type: ignore[union-attr]
    answers = [effect.datagram for effect in b.core.effects]  # type: ignore[union-attr]
    assert any(answer[0] == Kind.COOKIE for answer in answers)
    assert all(len(answer) < INITIATION_BYTES for answer in answers)
    net.run(2.0)
    assert net.established("a", "b")


def test_an_initiation_played_again_is_not_answered() -> None:
    net = Net("ab")
    net.run(0.1)
    first = next(datagram for source, _, datagram in net.seen if source == place("a"))
    before = len(net.seen)
    for _ in range(10):
        net.hosts["b"].take(first, ("198.51.100.66", 1), net.now)
    net.run(0.01)
    assert not [to for _, to, _ in net.seen[before:] if to == ("198.51.100.66", 1)]


def cut(net: Net, a: str, b: str) -> None:
    """Let a and b not hear each other."""
    apart = {place(a), place(b)}
    net.drop = lambda source, to, _: {source, to} == apart


#    a ──┐    ┌── c         a and c cannot reach each other, both reach b
#        └─ b ┘

def test_frames_go_through_a_third_where_there_is_no_direct_way_and_directly_again() -> None:
    net = Net("abc")
    cut(net, "a", "c")
    net.run(10.0)
    assert net.hosts["a"].core.peers["c"].helper == "b"
    assert net.hosts["c"].core.peers["a"].helper == "b"
    sent = [b"%d." % number * 3000 for number in range(20)]
    for plain in sent:
        net.unit("a", "c", plain)
        net.run(0.01)
    assert net.hosts["c"].received == sent
    assert net.hosts["b"].received == [], "b cannot read what it passes on"
    net.drop = lambda *_: False
    net.run(2 * limits.DIRECT_AGAIN_S)
    assert net.hosts["a"].core.peers["c"].helper is None
    assert net.hosts["c"].core.peers["a"].helper is None
    net.unit("c", "a", b"directly")
    net.run(0.1)
    assert net.hosts["a"].received == [b"directly"]


def test_a_way_that_breaks_is_replaced_by_one_through_a_third() -> None:
    net = Net("abc")
    net.run(3.0)
    cut(net, "a", "c")
    for number in range(100):
        net.unit("a", "c", b"%d" % number)
        net.run(0.1)
    assert b"99" in net.hosts["c"].received
    assert net.hosts["a"].core.peers["c"].helper == "b"


def test_full_fragments_fit_through_a_third() -> None:
    net = Net("abc")
    net.run(1.0)
    apart = {place("a"), place("c")}
    net.drop = lambda source, to, datagram: {source, to} == apart or len(datagram) > 1472
    net.run(60.0)
    assert net.hosts["a"].core.peers["c"].sizes.size == 1452
    net.unit("a", "c", b"large" * 5000)
    net.run(0.1)
    assert net.hosts["c"].received == [b"large" * 5000]


def test_strangers_have_nothing_passed_on() -> None:
    net = Net("abc")
    net.run(1.0)
    take = net.hosts["b"].core.relaying.take
    to, origin = (short(Key(key_pair(name).public)) for name in "ca")
    for source, claimed in ((("198.51.100.66", 1), origin), (place("c"), origin), (place("a"), b"x" * 8)):
        assert take(RELAY_HEAD.pack(Kind.RELAYED, 1, to, claimed) + b"payload", source) is None
    assert take(RELAY_HEAD.pack(Kind.RELAYED, 0, to, origin) + b"payload", place("a")) is None
    assert take(RELAY_HEAD.pack(Kind.RELAYED, 1, to, origin), place("a")) is None
