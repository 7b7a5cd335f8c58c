"""The small parts of the sleeve, each alone: replay window, reassembly, recovery, order, sizes, messages, door."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sleeve.wires import PSK, key_pair
from weave.errors import RemoteError
from weave.net.sleeve import limits
from weave.net.sleeve.door import Bucket, Door, Verdict, open_cookie
from weave.net.sleeve.keys import sleeve_psk, tag, tag_key
from weave.net.sleeve.messages import (
    Hello,
    Keys,
    Macs,
    Message,
    Peers,
    Quit,
    Reader,
    Status,
    decode,
    frame,
    macs_messages,
    peers_messages,
)
from weave.net.sleeve.model import PeerConfig, PeerStatus
from weave.net.sleeve.order import Order
from weave.net.sleeve.path import Quality, SizeSearch
from weave.net.sleeve.reassembly import Reassembly
from weave.net.sleeve.recovery import Recovery
from weave.net.sleeve.replay import ReplayWindow
from weave.net.sleeve.session import Session
from weave.net.sleeve.ways import Figures
from weave.net.sleeve.wire import (
    HEADER_BYTES,
    RELAY_BYTES,
    TAG_BYTES,
    Ask,
    Control,
    Echo,
    Hint,
    Key,
    Lack,
    Nack,
    Probe,
    SleeveError,
    decode_control,
    encode_control,
)

HERE, THERE = ("192.0.2.1", 6783), ("2001:db8::7", 40000)
KEY = Key(key_pair("a").public)


# -- replay window -------------------------------------------------------------------------------------------------

@given(st.lists(st.integers(0, 3 * limits.REPLAY_WINDOW), max_size=60))
def test_the_window_lets_each_counter_in_once(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set(), -1
    for counter in counters:
        expected = counter not in seen and counter > highest - limits.REPLAY_WINDOW
        assert window.is_new(counter) == expected
        if expected:
            window.mark(counter)
            seen.add(counter)
            highest = max(highest, counter)
    assert window.highest == highest


# -- reassembly ----------------------------------------------------------------------------------------------------

@given(st.binary(min_size=1, max_size=3000), st.integers(40, 700), st.randoms(use_true_random=False))
def test_fragments_in_any_order_make_the_unit(unit: bytes, size: int, rng: random.Random) -> None:
    pieces = [unit[at:at + size] for at in range(0, len(unit), size)]
    order = list(range(len(pieces)))
    rng.shuffle(order)
    reassembly = Reassembly(ReplayWindow())
    done = [reassembly.add(7, len(pieces), index, pieces[index], 0.0) for index in order]
    assert done[-1] == unit
    assert done[:-1] == [None] * (len(pieces) - 1)
    assert not reassembly.partial


@pytest.mark.parametrize(("counter", "total", "index"), [
    (limits.MAX_AHEAD + 1, 2, 0), (0, 0, 0), (0, limits.MAX_FRAGMENTS + 1, 0), (0, 2, 2), (0, 2, 255)])
def test_fragments_that_cannot_be_are_dropped(counter: int, total: int, index: int) -> None:
    reassembly = Reassembly(ReplayWindow())
    assert reassembly.add(counter, total, index, b"x", 0.0) is None
    assert reassembly.dropped == 1
    assert all(unit.octets == 0 for unit in reassembly.partial.values())


def test_what_waits_for_fragments_is_bounded() -> None:
    reassembly = Reassembly(ReplayWindow())
    for counter in range(2 * limits.MAX_PARTIAL):
        reassembly.add(counter, 3, 0, bytes(1400), 0.0)
    assert sorted(reassembly.partial) == list(range(limits.MAX_PARTIAL, 2 * limits.MAX_PARTIAL))
    big = Reassembly(ReplayWindow())
    for counter in range(limits.MAX_PARTIAL):
        for index in range(100):
            big.add(counter, 101, index, bytes(650), 0.0)
    assert sum(unit.octets for unit in big.partial.values()) <= limits.MAX_PARTIAL_BYTES


def test_a_unit_longer_than_any_is_thrown_away() -> None:
    reassembly = Reassembly(ReplayWindow())
    for index in range(limits.MAX_UNIT // 8000 + 1):
        reassembly.add(0, 20, index, bytes(8000), 0.0)
    assert not reassembly.partial


# -- recovery ------------------------------------------------------------------------------------------------------

def recovery() -> tuple[Recovery, Reassembly, ReplayWindow]:
    window = ReplayWindow()
    reassembly = Reassembly(window)
    return Recovery(window, reassembly), reassembly, window


def arrive(it: Recovery, window: ReplayWindow, counter: int, now: float) -> None:
    before = window.highest
    window.mark(counter)
    it.arrived(counter, before, now)


def test_a_gap_is_asked_for_after_a_moment_and_a_few_times() -> None:
    it, _, window = recovery()
    arrive(it, window, 0, 0.0)
    arrive(it, window, 3, 1.0)
    assert it.due(1.0, 0.01) == []
    assert it.due(1.0 + limits.NACK_DELAY_S, 0.01) == [Lack(1, 0), Lack(2, 0)]
    asked = 1
    now = 1.0
    while not it.is_idle:
        now += 0.05
        asked += bool(it.due(now, 0.01))
    assert asked == limits.NACKS
    assert it.lost == 2


def test_mere_reordering_asks_for_nothing() -> None:
    it, _, window = recovery()
    for counter in (0, 2, 1):
        arrive(it, window, counter, 1.0)
    assert it.is_idle
    assert it.due(9.0, 0.0) == []


def test_of_an_incomplete_unit_only_what_lacks_is_asked_for() -> None:
    it, reassembly, window = recovery()
    arrive(it, window, 0, 1.0)
    reassembly.add(1, 4, 0, b"a", 1.0)
    reassembly.add(1, 4, 2, b"c", 1.0)
    assert it.deadline() == 1.0 + limits.NACK_TAIL_S
    assert it.due(1.0 + limits.NACK_TAIL_S, 0.0) == [Lack(1, 0b1010)]


def test_a_long_hole_is_an_outage_and_not_asked_for_as_a_whole() -> None:
    it, _, window = recovery()
    arrive(it, window, 0, 1.0)
    arrive(it, window, 100_000, 1.0)
    assert len(it.due(2.0, 0.0)) == limits.MAX_NACK_ITEMS
    assert it.lost == 100_000 - 1 - limits.MAX_MISSING


@pytest.mark.parametrize("total", [1, 8, 40, 160])
def test_a_question_fits_the_smallest_datagram_and_another_asks_for_the_rest(total: int) -> None:
    it, reassembly, window = recovery()
    arrive(it, window, 0, 1.0)
    for counter in range(1, 101) if total > 1 else ():
        reassembly.add(counter, total, 0, b"a", 1.0)
    arrive(it, window, 101, 1.0)
    asked: list[Lack] = []
    while it.deadline() <= 2.0:
        lacks = it.due(2.0, 0.1)
        message = encode_control(Nack(tuple(lacks)))
        assert decode_control(message) == Nack(tuple(lacks))
        assert RELAY_BYTES + HEADER_BYTES + len(message) + TAG_BYTES <= limits.SIZES[0]
        asked += lacks
    assert [lack.counter for lack in asked] == list(range(1, 101))


# -- order ---------------------------------------------------------------------------------------------------------

def test_units_wait_for_an_earlier_one_and_go_in_order() -> None:
    order = Order()
    order.hold(3, b"3", 0.0, 0.0)
    order.hold(2, b"2", 0.0, 0.0)
    assert order.release(1, 0.001) == []
    order.hold(1, b"1", 0.002, 0.0)
    assert order.release(None, 0.002) == [b"1", b"2", b"3"]
    assert not order.waiting


def test_no_unit_waits_for_ever_nor_do_too_many() -> None:
    order = Order()
    order.hold(3, b"3", 0.0, 10.0)
    assert order.release(1, limits.HOLD_MOST_S) == [b"3"]
    assert order.passed == 3
    for counter in range(5, 200):
        order.hold(counter, bytes(60_000), 1.0, 10.0)
        if order.release(4, 1.0):
            break
    assert counter < 5 + limits.HOLD_BYTES // 60_000 + 2


# -- path ----------------------------------------------------------------------------------------------------------

def test_probes_without_an_echo_count_as_lost() -> None:
    quality = Quality()
    for number in range(1, 101):
        quality.sent(number, float(number))
        if number % 4:
            quality.echoed(number, number + 0.01)
    assert 0.1 < quality.loss < 0.4
    assert quality.rtt_s == pytest.approx(0.01)


def test_sizes_go_up_by_what_got_through_and_down_by_what_vanished() -> None:
    search = SizeSearch(1472)
    assert search.size == limits.FIRST_SIZE
    assert set(search.candidates(0.0)) == {1372, 1392, 1432, 1452, 1472}
    assert search.candidates(0.0) == []
    assert search.passed(1432)
    assert not search.passed(1392)
    assert not search.passed(8972), "more than our own device carries"
    assert [search.vanished(1.0) for _ in range(limits.SIZE_PROBES_LOST)] == [False, False, True]
    assert search.size == limits.FIRST_SIZE


# -- control messages and the router's messages --------------------------------------------------------------------

CONTROLS: list[Control] = [
    Probe(1472, 9, 1 << 40), Probe(0, 1 << 31, 7, is_trial=True), Probe(0, 9, 0, compares=False), Echo(0, 9, HERE),
    Echo(0, 9, None, is_trial=True), Echo(0, 9, HERE, compares=False), Echo(0, 9, THERE), Echo(0, 9, None),
    Nack((Lack(1, 0), Lack(1 << 50, 1 << 159))), Ask(KEY), Hint(KEY, THERE)]


@pytest.mark.parametrize("message", CONTROLS)
def test_control_messages_come_out_as_they_went_in_padded_or_not(message: Control) -> None:
    encoded = encode_control(message)
    assert decode_control(encoded) == message
    assert decode_control(encoded + bytes(100)) == message


@pytest.mark.parametrize("message", CONTROLS)
def test_control_messages_cut_short_are_refused(message: Control) -> None:
    encoded = encode_control(message)
    for length in range(len(encoded)):
        with pytest.raises(SleeveError):
            decode_control(encoded[:length])


def test_a_later_word_is_skipped() -> None:
    assert decode_control(b"\xee what is this") is None


MESSAGES: list[Message] = [
    Keys(b"s" * 32, (b"k" * 32, b"l" * 32)), Peers((PeerConfig("h2", KEY, (HERE, THERE)),), is_all=True),
    Macs(((b"\2\0\0\0\0\1", "h2"), (b"\2\0\0\0\0\2", "")), is_fresh=False), Quit(), Hello(1, 99),
    Status((PeerStatus("h2", True, HERE, 0.002, 0.25, 1472, 7, 8), PeerStatus("h3", False, None, None, 0.0, 1, 0, 0),
            PeerStatus("h4", True, None, 0.01, 0.0, 1452, 9, 9, "h2", Figures(0.3, 0.002), Figures(0.0, None))),
           {"lost": 3})]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_to_the_process_survive_byte_by_byte(message: Message) -> None:
    reader = Reader()
    found = [each for byte in frame(message) for each in reader.feed(bytes([byte]))]
    assert found == [message]


def test_nonsense_from_a_router_is_refused() -> None:
    for body in (b"\xc0", b"\x80", b"\x81\xa1t\xa4what"):
        with pytest.raises(RemoteError):
            decode(body)
    with pytest.raises(RemoteError):
        list(Reader().feed(b"\xff" * 8))


def test_long_lists_are_cut_into_messages() -> None:
    configs = [PeerConfig(f"h{number}", KEY, (HERE,)) for number in range(2500)]
    parts = peers_messages(configs)
    assert [part.is_all for part in parts if isinstance(part, Peers)] == [False, False, True]
    assert [peer for part in parts if isinstance(part, Peers) for peer in part.peers] == configs
    assert peers_messages([]) == [Peers((), is_all=True)]
    macs = {number.to_bytes(6): "h2" for number in range(9000)}
    assert [part.is_fresh for part in macs_messages(macs, is_fresh=True) if isinstance(part, Macs)] == [
        True, False, False]
    assert macs_messages({}, is_fresh=False) == []


def test_secrets_have_no_words() -> None:
    assert "s" * 8 not in repr(MESSAGES[0])


# -- keys and sessions ---------------------------------------------------------------------------------------------

def test_the_key_of_the_sleeve_is_not_that_of_the_mesh() -> None:
    assert sleeve_psk(b"k" * 32) != b"k" * 32
    assert len({tag_key(PSK, Key(key_pair(name).public)) for name in "abc"}) == 3


def pair() -> tuple[Session, Session]:
    one, two = b"1" * 32, b"2" * 32
    return (Session(local=1, remote=2, keys=(one, two), is_initiator=True, now=0.0),
            Session(local=2, remote=1, keys=(two, one), is_initiator=False, now=0.0))


def test_units_and_control_have_nonces_of_their_own_under_one_key() -> None:
    a, b = pair()
    sealed = a.seal_unit(a.next_unit(), 1, b"frame")
    control = a.seal_control(b"frame")
    assert sealed != control[16:]
    assert b.open_unit(0, 1, sealed) == b"frame"
    assert b.open_control(control) == (b"frame", True)


def test_the_number_of_fragments_is_authenticated() -> None:
    a, b = pair()
    sealed = a.seal_unit(a.next_unit(), 2, b"frame")
    with pytest.raises(SleeveError):
        b.open_unit(0, 3, sealed)
    with pytest.raises(SleeveError):
        b.open_unit(1, 2, sealed)
    assert b.open_unit(0, 2, sealed) == b"frame"


def test_what_came_once_does_not_come_again() -> None:
    a, b = pair()
    sealed, control = a.seal_unit(a.next_unit(), 1, b"frame"), a.seal_control(b"word")
    b.open_unit(0, 1, sealed)
    b.open_control(control)
    with pytest.raises(SleeveError, match="twice"):
        b.open_unit(0, 1, sealed)
    with pytest.raises(SleeveError, match="twice"):
        b.open_control(control)


def test_a_session_ends_by_age_and_by_count() -> None:
    a, b = pair()
    assert not a.wants_successor(limits.REKEY_AFTER_S - 1)
    assert a.wants_successor(limits.REKEY_AFTER_S)
    assert not b.wants_successor(limits.REKEY_AFTER_S)
    assert b.wants_successor(limits.REKEY_AFTER_S + limits.REKEY_GRACE_S)
    assert not a.is_usable(limits.REJECT_AFTER_S)
    a.sent = limits.REKEY_AFTER_UNITS
    assert a.wants_successor(1.0)


# -- the door ------------------------------------------------------------------------------------------------------

def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(10.0, 3.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.15) for _ in range(2)] == [True, False]


def test_a_cookie_is_good_for_its_address_alone_and_not_for_ever() -> None:
    rng = random.Random(1)
    door = Door(rng.randbytes)
    now = 100.0
    while door.judge(b"x", rng.randbytes(16), bytes(16), HERE, now) is Verdict.SERVE:
        pass
    key, first = tag_key(PSK, KEY), rng.randbytes(16)
    cookie = open_cookie(door.cookie_for(key, first, 7, HERE, now), key, first)
    assert cookie is not None
    second = tag(cookie, b"signed")
    assert door.judge(b"signed", rng.randbytes(16), second, THERE, now) is Verdict.COOKIE
    assert door.judge(b"signed", rng.randbytes(16), second, HERE, now) is Verdict.SERVE
    assert door.judge(b"signed", first, second, HERE, now) is Verdict.SERVE
    assert door.judge(b"signed", first, second, HERE, now) is Verdict.REFUSE, "once each"


def test_a_forged_cookie_is_none() -> None:
    door = Door(random.Random(1).randbytes)
    key, first = tag_key(PSK, KEY), b"1" * 16
    datagram = door.cookie_for(key, first, 7, HERE, 1.0)
    assert open_cookie(datagram, key, b"2" * 16) is None
    assert open_cookie(datagram[:-1] + b"\0", key, first) is None
