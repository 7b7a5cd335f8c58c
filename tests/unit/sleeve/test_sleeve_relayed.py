"""Frames through a third host and real sockets: what comes joined, what comes singly, and what does not belong there.

    a ──→ b ──→ c       a and c do not reach each other
"""

import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.unit.sleeve.ends import MTU, Clock, End, burst
from weave.net.sleeve import limits
from weave.net.sleeve.model import Send
from weave.net.sleeve.path import SizeSearch
from weave.net.sleeve.relaying import Relaying
from weave.net.sleeve.wire import HEADER, HEADER_BYTES, RELAY_BYTES, RELAY_HEAD, Address, Kind

A_DATAGRAM = 1200
"""Octets of a frame that fits one."""
FRAGMENTS = 42
"""Of a frame of 60,000 octets."""
SO_NO_CHECK = 11


@dataclass
class Trio:
    a: End
    b: End
    c: End

    def run(self, clock: Clock, until: Callable[[], bool], step_s: float = 0.002) -> None:
        clock.run([self.a, self.b, self.c], until, step_s, poll_ms=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["joined", "singly"])
def trio(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Trio]:
    a, b, c = ends = [End(name, joins=request.param == "joined") for name in "abc"]
    a.cut, c.cut = c.address, a.address
    for end in ends:
        end.meet([other for other in ends if other is not end], clock.now)
    found = Trio(a, b, c)
    full = MTU - RELAY_BYTES
    found.run(clock, lambda: a.core.peers["c"].sizes.size == full == c.core.peers["a"].sizes.size, 0.05)
    assert a.core.peers["c"].helper == "b"
    for here, there in 2 * ((a, c), (c, a)):  # so that all know how bulk comes
        here.send(here.frame(there, bytes(60_000)), clock.now)
        found.run(clock, lambda there=there: bool(there.frames))  # type: ignore[misc]
        there.frames.clear()
    yield found
    for end in ends:
        end.close()


def singly(end: End, datagrams: list[bytes], to: Address) -> None:
    for datagram in datagrams:
        end.sock.sendto(datagram, to)


def sealed(trio: Trio, payload: bytes, now: float) -> list[bytes]:
    """Have a frame from a to c sealed; return the datagrams that b gets."""
    trio.b.waiting()
    trio.a.send(trio.a.frame(trio.c, payload), now)
    return trio.b.waiting()


def passed_on(datagrams: list[bytes]) -> list[bytes]:
    return [RELAY_HEAD.pack(Kind.RELAYED, 0, *RELAY_HEAD.unpack_from(datagram)[2:]) + datagram[RELAY_BYTES:]
            for datagram in datagrams]


# -- from end to end -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sizes", [
    [1], [A_DATAGRAM], [60_000], [65_000], [60_000] * 20, [64] * 300, [64, 60_000, 64, 1500, 64_000, 1, 20_000] * 5,
], ids=lambda sizes: f"{len(sizes)} of {max(sizes)}")
def test_frames_of_any_size_arrive_in_order_both_ways(trio: Trio, clock: Clock, sizes: list[int]) -> None:
    a, b, c = trio.a, trio.b, trio.c
    there, back = ([end.frame(other, os.urandom(size)) for size in sizes] for end, other in ((a, c), (c, a)))
    for one, other in zip(there, back, strict=True):
        a.bridge.send(one)
        c.bridge.send(other)
        for end in (a, b, c):
            end.turn(clock.now)
    trio.run(clock, lambda: len(c.frames) >= len(sizes) and len(a.frames) >= len(sizes))
    assert (c.frames, a.frames) == (there, back)
    assert not (+a.inlet.counters + b.inlet.counters + c.inlet.counters + b.core.refused), "nothing went wrong"


@pytest.mark.parametrize("lost", [[0], [5, 6], [FRAGMENTS - 1], list(range(FRAGMENTS))],
                         ids=["first", "two", "last", "all"])
def test_what_is_lost_is_asked_for_and_comes_in_order(trio: Trio, clock: Clock, lost: list[int]) -> None:
    a, b, c = trio.a, trio.b, trio.c
    payload, rest = os.urandom(60_000), [os.urandom(64), os.urandom(A_DATAGRAM)]
    singly(a, [datagram for number, datagram in enumerate(sealed(trio, payload, clock.now)) if number not in lost],
           b.address)
    for each in rest:
        a.send(a.frame(c, each), clock.now)
    trio.run(clock, lambda: len(c.frames) == 3)
    assert c.frames == [a.frame(c, each) for each in (payload, *rest)]


@pytest.mark.parametrize("size", [64, 60_000])
def test_what_is_asked_for_is_sent_again_at_once(trio: Trio, clock: Clock, size: int) -> None:
    sent = sealed(trio, os.urandom(size), clock.now)
    trio.a.send(trio.a.frame(trio.c, b"the next"), clock.now)
    trio.b.turn(clock.now)
    trio.c.turn(clock.now)
    clock.now += limits.NACK_TAIL_S
    trio.c.core.recover(clock.now)
    for end in (trio.c, trio.b, trio.a):
        end.turn(clock.now)
    assert trio.b.waiting() == sent


# -- who sends -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [1400, 1500, 60_000, 64_000, 65_000])
def test_fragments_leave_each_with_the_relay_header_and_none_is_too_long(trio: Trio, clock: Clock, size: int) -> None:
    datagrams = sealed(trio, os.urandom(size), clock.now)
    *_, slot = trio.a.outlet.kept.values()
    head = RELAY_HEAD.pack(Kind.RELAYED, 1, trio.a.core.peers["c"].short, trio.c.core.peers["a"].short)
    assert datagrams == [head + slot.fragment(index) for index in range(slot.total)]
    assert [len(datagram) for datagram in datagrams[:-1]] == [MTU] * (slot.total - 1)


def test_what_goes_around_a_datagram_comes_off_every_size() -> None:
    search = SizeSearch(9000, RELAY_BYTES)
    assert search.size == limits.FIRST_SIZE - RELAY_BYTES
    assert {size + RELAY_BYTES for size in search.candidates(0.0)} == {size for size in limits.SIZES
                                                                      if size > limits.FIRST_SIZE}
    assert search.shrink(0.0)
    assert search.size == limits.SIZES[0] - RELAY_BYTES


# -- who passes on -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sending", [burst, singly])
@pytest.mark.parametrize("count", [1, 2, FRAGMENTS])
def test_what_is_passed_on_goes_at_once_and_differs_in_the_hops_alone(
        trio: Trio, clock: Clock, sending: Callable[[End, list[bytes], Address], None], count: int) -> None:
    datagrams = sealed(trio, os.urandom(60_000), clock.now)[-count:]
    assert len(datagrams) == count
    sending(trio.a, datagrams, trio.b.address)
    trio.b.inlet.pump(clock.now)
    assert trio.c.waiting() == passed_on(datagrams)
    assert not trio.b.core.effects


def test_each_is_passed_on_by_itself_where_the_kernel_sends_no_burst(trio: Trio, clock: Clock) -> None:
    datagrams = sealed(trio, os.urandom(60_000), clock.now)
    burst(trio.a, datagrams, trio.b.address)
    trio.b.sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # such a socket may not
    trio.b.inlet.pump(clock.now)
    assert trio.c.waiting() == passed_on(datagrams)


def head(datagram: bytes, **fields: int | bytes) -> bytes:
    """Return a relayed datagram with other fields in its header."""
    known = dict(zip(("kind", "hops", "to", "origin"), RELAY_HEAD.unpack_from(datagram), strict=True))
    return RELAY_HEAD.pack(*(known | fields).values()) + datagram[RELAY_BYTES:]


def flip(datagram: bytes, at: int) -> bytes:
    return datagram[:at] + bytes([datagram[at] ^ 1]) + datagram[at + 1:]


SPOILS: list[Callable[[bytes], bytes]] = [
    lambda datagram: head(datagram, hops=0), lambda datagram: head(datagram, hops=255),
    lambda datagram: head(datagram, to=b"x" * 8), lambda datagram: head(datagram, origin=b"x" * 8),
    lambda datagram: head(datagram, to=RELAY_HEAD.unpack_from(datagram)[3]),
    *(partial(flip, at=at) for at in (0, 2, 4, 11, 12, 15, 16, 19)),
    *(lambda datagram, kind=kind: datagram[:RELAY_BYTES] + bytes([kind]) + datagram[RELAY_BYTES + 1:]  # type: ignore[misc]
      for kind in (Kind.CONTROL, Kind.RELAYED)),
]


def expected(relaying: Relaying, datagrams: list[bytes], source: Address) -> list[tuple[Address, bytes]]:
    """Return what has to be passed on, as each by itself is judged."""
    taken = [relaying.take(datagram, source) for datagram in datagrams
             if datagram[0] == Kind.RELAYED and len(datagram) > HEADER_BYTES]
    return [(each.address, each.datagram) for each in taken if isinstance(each, Send)]


def check(trio: Trio, sender: End, datagrams: list[bytes], now: float) -> None:
    """Have b take in what came joined, and see that it does what it does with each by itself."""
    b, refused = trio.b, trio.b.core.refused
    refused.clear()
    wanted, counted = expected(b.core.relaying, datagrams, sender.address), +refused
    refused.clear()
    for end in (trio.a, trio.c):
        end.waiting()
    burst(sender, datagrams, b.address)
    b.inlet.pump(now)
    assert [(end.address, datagram) for end in (trio.a, trio.c) for datagram in end.waiting()] == sorted(
        wanted, key=lambda sent: sent[0] == trio.c.address)
    relayed = {reason: number for reason, number in refused.items() if reason.startswith("relayed")}
    assert relayed == counted


@pytest.mark.parametrize("places", [[0], [7], [FRAGMENTS - 1], list(range(FRAGMENTS))], ids=["0", "7", "last", "all"])
def test_a_burst_with_foreign_headers_is_judged_like_each_by_itself(
        trio: Trio, clock: Clock, places: list[int]) -> None:
    datagrams = sealed(trio, os.urandom(60_000), clock.now)
    for spoil in SPOILS:
        check(trio, trio.a, [spoil(datagram) if place in places else datagram
                             for place, datagram in enumerate(datagrams)], clock.now)


@pytest.mark.parametrize("seed", range(5))
def test_bursts_of_anything_are_judged_like_each_by_itself(trio: Trio, clock: Clock, seed: int) -> None:
    rng = random.Random(seed)
    whole = sealed(trio, os.urandom(60_000), clock.now)
    for _ in range(40):
        first, share = rng.randrange(FRAGMENTS - 1), rng.choice([0.0, 0.03, 0.5])
        datagrams = [rng.choice(SPOILS)(datagram) if rng.random() < share else datagram
                     for datagram in whole[first:rng.randrange(first + 1, FRAGMENTS)]]
        datagrams[-1] = datagrams[-1][:rng.randrange(RELAY_BYTES, MTU + 1)]
        check(trio, rng.choice([trio.a, trio.a, trio.c]), datagrams, clock.now)


def test_a_burst_of_somebody_else_is_refused_and_counted_in_full(trio: Trio, clock: Clock) -> None:
    datagrams = sealed(trio, os.urandom(60_000), clock.now)
    check(trio, trio.c, datagrams, clock.now)
    assert sum(trio.b.core.refused.values()) == FRAGMENTS
    trio.b.core.refused.clear()
    stranger = End("stranger")
    check(trio, stranger, datagrams, clock.now)
    assert sum(trio.b.core.refused.values()) == FRAGMENTS
    stranger.close()


@pytest.mark.parametrize("size", [17, 19, 20, 21, 36, 37, 300, 1231, 1471, 1472, 1473, 3000])
def test_bursts_of_any_size_are_judged_like_each_by_itself(trio: Trio, clock: Clock, size: int) -> None:
    whole = sealed(trio, os.urandom(60_000), clock.now)[0].ljust(size, b"x")
    for last in (1, 16, 17, 20, 21, 36, 37, size):
        check(trio, trio.a, [whole[:size]] * (limits.SPILLS - 1) + [whole[:min(last, size)]], clock.now)


def test_datagrams_of_another_size_come_joined_once_they_are_usual(trio: Trio, clock: Clock) -> None:
    datagrams = [datagram[:1000] for datagram in sealed(trio, os.urandom(60_000), clock.now)]
    for _ in range(3):
        check(trio, trio.a, datagrams, clock.now)


# -- who receives --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cut", [1, 20, FRAGMENTS - 1])
def test_a_unit_that_comes_in_two_goes_is_put_together(trio: Trio, clock: Clock, cut: int) -> None:
    b, c, payload = trio.b, trio.c, os.urandom(60_000)
    datagrams = passed_on(sealed(trio, payload, clock.now))
    for part in (datagrams[:cut], datagrams[cut:]):
        burst(b, part, c.address)
        c.turn(clock.now)
    assert c.frames == [trio.a.frame(c, payload)]
    assert not c.core.lacking


def test_the_rest_of_a_unit_that_does_not_come_is_asked_for(trio: Trio, clock: Clock) -> None:
    b, c, payload = trio.b, trio.c, os.urandom(60_000)
    burst(b, passed_on(sealed(trio, payload, clock.now))[:30], c.address)
    c.turn(clock.now)
    assert clock.now < c.inlet.held_until <= clock.now + limits.NACK_TAIL_S
    trio.run(clock, lambda: bool(c.frames))
    assert c.frames == [trio.a.frame(c, payload)]


@pytest.mark.parametrize("seed", range(5))
def test_parts_in_disorder_and_twice_make_each_unit_once(trio: Trio, clock: Clock, seed: int) -> None:
    b, c, rng = trio.b, trio.c, random.Random(seed)
    payloads = [os.urandom(rng.randrange(2_000, 60_000)) for _ in range(4)]
    parts = []
    for payload in payloads:
        datagrams = passed_on(sealed(trio, payload, clock.now))
        cut = rng.randrange(1, len(datagrams))
        parts += [datagrams[:cut], datagrams[cut:]]
    parts += rng.choices(parts, k=3)
    rng.shuffle(parts)
    for part in parts:
        burst(b, part, c.address)
        if rng.random() < 0.5:
            c.turn(clock.now)
    trio.run(clock, lambda: len(c.frames) >= len(payloads) and not c.core.lacking)
    assert sorted(c.frames) == sorted(trio.a.frame(c, payload) for payload in payloads)


@pytest.mark.parametrize("at", [0, 7, FRAGMENTS - 1])
@pytest.mark.parametrize("cut", [None, 20])
def test_a_forged_fragment_is_found_out_and_the_unit_comes_again(
        trio: Trio, clock: Clock, at: int, cut: int | None) -> None:
    a, b, c, payload = trio.a, trio.b, trio.c, os.urandom(60_000)
    datagrams = passed_on(sealed(trio, payload, clock.now))
    kept = RELAY_BYTES + HEADER_BYTES
    datagrams[at] = datagrams[at][:kept] + os.urandom(len(datagrams[at]) - kept)
    for part in (datagrams[:cut], datagrams[cut:] if cut else []):
        if part:
            burst(b, part, c.address)
            c.turn(clock.now)
    assert c.inlet.counters["units that do not authenticate"] == 1
    a.send(a.frame(c, b"the next"), clock.now)
    trio.run(clock, lambda: len(c.frames) == 2)
    assert sorted(c.frames) == sorted([a.frame(c, payload), a.frame(c, b"the next")])


@pytest.mark.parametrize("at", [0, 7, FRAGMENTS - 1])
@pytest.mark.parametrize("fields", [(2, 3, 4), (Kind.DATA, 0, 0), (Kind.DATA, 255, 3), (Kind.DATA, FRAGMENTS, 41)])
def test_what_lies_between_the_fragments_of_a_unit_costs_no_other(
        trio: Trio, clock: Clock, at: int, fields: tuple[int, int, int]) -> None:
    a, b, c, payload = trio.a, trio.b, trio.c, os.urandom(60_000)
    datagrams = passed_on(sealed(trio, payload, clock.now))
    _, _, _, receiver, counter = HEADER.unpack_from(datagrams[at], RELAY_BYTES)
    foreign = HEADER.pack(*fields, receiver, counter + 5)
    datagrams[at] = datagrams[at][:RELAY_BYTES] + foreign + datagrams[at][RELAY_BYTES + HEADER_BYTES:]
    burst(b, datagrams, c.address)
    c.turn(clock.now)
    a.send(a.frame(c, b"the next"), clock.now)
    trio.run(clock, lambda: len(c.frames) == 2)
    assert sorted(c.frames) == sorted([a.frame(c, payload), a.frame(c, b"the next")])


def test_direct_and_relayed_units_do_not_disturb_each_other(trio: Trio, clock: Clock) -> None:
    a, b, c = trio.a, trio.b, trio.c
    direct, relayed = os.urandom(60_000), os.urandom(60_000)
    through = passed_on(sealed(trio, relayed, clock.now))
    b.send(b.frame(c, direct), clock.now)
    straight = c.waiting()
    for part in (straight[:20], through[:20], straight[20:], through[20:]):
        burst(b, part, c.address)
    c.turn(clock.now)
    trio.run(clock, lambda: len(c.frames) == 2)
    assert sorted(c.frames) == sorted([a.frame(c, relayed), b.frame(c, direct)])


def test_garbage_costs_nothing_but_a_count(trio: Trio, clock: Clock) -> None:
    a, b, c = trio.a, trio.b, trio.c
    prefix = passed_on(sealed(trio, os.urandom(2_000), clock.now))[0][:RELAY_BYTES]
    receiver = a.core.peers["c"].current
    assert receiver is not None
    for size in (1, 15, 16, 17, 32, 100, MTU - RELAY_BYTES, MTU, 9000):
        for kind in range(8):
            singly(b, [prefix + bytes([kind]) + os.urandom(size - 1)], c.address)
            singly(b, [prefix + (HEADER.pack(kind, 3, 0, receiver.session.remote, 5) + os.urandom(9000))[:size]],
                   c.address)
        c.turn(clock.now)
    a.send(a.frame(c, b"still here"), clock.now)
    trio.run(clock, lambda: a.frame(c, b"still here") in c.frames)
