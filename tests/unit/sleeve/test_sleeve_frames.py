"""Frames from bridge to bridge through real sockets: in order, once each, joined by the kernel or not."""

import os
import random
import threading
from collections.abc import Iterator

import pytest

from tests.unit.sleeve.ends import Clock, End, burst
from weave.net.sleeve import limits
from weave.net.sleeve.warmth import Warmth
from weave.net.sleeve.wire import HEADER, HEADER_BYTES

PEERS = 50
A_DATAGRAM = 1200
"""Octets of a frame that fits one."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["joined", "singly"])
def pair(request: pytest.FixtureRequest, clock: Clock) -> Iterator[tuple[End, End]]:
    a, b = End("a", joins=request.param == "joined"), End("b", joins=request.param == "joined")
    a.meet([b], clock.now)
    b.meet([a], clock.now)
    clock.run([a, b], lambda: a.knows(b) and b.knows(a) and a.core.peers["b"].sizes.size == 1472)
    yield a, b
    for end in (a, b):
        end.close()


def sealed(end: End, other: End, payload: bytes, now: float) -> list[bytes]:
    """Have a large unit sealed and sent; return its datagrams."""
    end.bridge.send(end.frame(other, payload))
    end.outlet.pump(now)
    [slot] = [slot for slot in end.outlet.kept.values() if slot.key == max(end.outlet.kept)]
    return [slot.fragment(index) for index in range(slot.total)]


def lose(end: End) -> None:
    """Throw away what waits at an end."""
    while True:
        try:
            end.sock.recv(1 << 16)
        except BlockingIOError:
            return


@pytest.mark.parametrize("sizes", [
    [1], [A_DATAGRAM], [1400, 1410, 1420, 1430, 1440], [60_000], [65_000], [60_000] * 20, [64] * 300,
    [64, 60_000, 64, 1500, 64_000, 1, 20_000] * 5,
], ids=lambda sizes: f"{len(sizes)} of {max(sizes)}")
def test_frames_of_any_size_arrive_in_order(pair: tuple[End, End], clock: Clock, sizes: list[int]) -> None:
    a, b = pair
    frames = [a.frame(b, os.urandom(size)) for size in sizes]
    for frame in frames:
        a.bridge.send(frame)
        a.turn(clock.now)
        b.turn(clock.now)
    clock.run([a, b], lambda: len(b.frames) >= len(frames))
    assert b.frames == frames


@pytest.mark.parametrize("cut", [1, 20, 41])
def test_a_unit_that_comes_in_two_goes_is_put_together(pair: tuple[End, End], clock: Clock, cut: int) -> None:
    a, b = pair
    payload = os.urandom(60_000)
    datagrams = sealed(a, b, payload, clock.now)
    lose(b)
    for part in (datagrams[:cut], datagrams[cut:]):
        for datagram in part:
            a.sockets.send(datagram, b.address)
        b.turn(clock.now)
    assert b.frames == [a.frame(b, payload)]
    assert not b.core.lacking


@pytest.mark.parametrize("seed", range(5))
def test_fragments_in_disorder_and_twice_make_the_unit_once(pair: tuple[End, End], clock: Clock, seed: int) -> None:
    a, b = pair
    rng = random.Random(seed)
    payloads = [os.urandom(rng.randrange(2_000, 60_000)) for _ in range(3)]
    datagrams = [datagram for payload in payloads for datagram in sealed(a, b, payload, clock.now)]
    lose(b)
    datagrams += rng.choices(datagrams, k=5)
    rng.shuffle(datagrams)
    for datagram in datagrams:
        a.sockets.send(datagram, b.address)
        if rng.random() < 0.2:
            b.turn(clock.now)
    clock.run([b], lambda: len(b.frames) >= len(payloads))
    clock.run([b], lambda: not b.core.lacking)
    assert sorted(b.frames) == sorted(a.frame(b, payload) for payload in payloads)


@pytest.mark.parametrize("at", [0, 7, 41])
def test_a_fragment_of_another_unit_within_one_is_found_out_and_the_unit_comes_again(
        pair: tuple[End, End], clock: Clock, at: int) -> None:
    a, b = pair
    payload = os.urandom(60_000)
    datagrams = sealed(a, b, payload, clock.now)
    lose(b)
    kind, total, index, receiver, counter = HEADER.unpack_from(datagrams[at])
    forged = HEADER.pack(kind, total, index, receiver, counter) + os.urandom(len(datagrams[at]) - HEADER_BYTES)
    for datagram in [*datagrams[:at], forged, *datagrams[at + 1:]]:
        a.sockets.send(datagram, b.address)
    b.turn(clock.now)
    assert b.inlet.counters["units that do not authenticate"] == 1
    a.bridge.send(a.frame(b, b"the next"))
    clock.run([a, b], lambda: len(b.frames) == 2)
    assert sorted(b.frames) == sorted([a.frame(b, payload), a.frame(b, b"the next")])


@pytest.mark.parametrize("lost", [[0], [5, 6], [41], list(range(42))], ids=str)
def test_what_is_lost_is_asked_for_and_comes_in_order(pair: tuple[End, End], clock: Clock, lost: list[int]) -> None:
    a, b = pair
    payload = os.urandom(60_000)
    datagrams = sealed(a, b, payload, clock.now)
    lose(b)
    for number, datagram in enumerate(datagrams):
        if number not in lost:
            a.sockets.send(datagram, b.address)
    rest = [os.urandom(64), os.urandom(A_DATAGRAM)]
    for each in rest:
        a.bridge.send(a.frame(b, each))
        a.turn(clock.now)
    clock.run([a, b], lambda: len(b.frames) == 3)
    assert b.frames == [a.frame(b, each) for each in (payload, *rest)]


def test_the_newest_unit_is_delivered_once_it_is_whole_and_is_not_taken_for_lost(
        pair: tuple[End, End], clock: Clock) -> None:
    a, b = pair
    payload = os.urandom(60_000)
    datagrams = sealed(a, b, payload, clock.now)
    lose(b)
    for datagram in datagrams[1:]:
        a.sockets.send(datagram, b.address)
    clock.run([a, b], lambda: bool(b.frames))
    assert b.frames == [a.frame(b, payload)]
    clock.run([a, b], lambda: not b.core.lacking)
    assert not any(inbox.recovery.lost for inbox in b.core.inboxes.values())


def test_small_units_that_are_lost_are_sent_again_too(pair: tuple[End, End], clock: Clock) -> None:
    a, b = pair
    payloads = [os.urandom(A_DATAGRAM) for _ in range(10)]
    for number, payload in enumerate(payloads):
        a.bridge.send(a.frame(b, payload))
        a.outlet.pump(clock.now)
        if number in (2, 3, 7):
            b.inlet.pump(clock.now)
            lose(b)
    lose(b)
    a.bridge.send(a.frame(b, b"the last"))
    clock.run([a, b], lambda: len(b.frames) == 11)
    assert b.frames == [a.frame(b, payload) for payload in (*payloads, b"the last")]


def test_bulk_that_comes_upon_a_quiet_time_is_taken_in_whole(pair: tuple[End, End], clock: Clock) -> None:
    a, b = pair
    bulk = [a.frame(b, os.urandom(3_000)) for _ in range(2 * limits.SPILLS)]
    single = [a.frame(b, os.urandom(64)) for _ in range(limits.SINGLES)]
    for frames in ([bulk[0]], single, bulk):
        for frame in frames:
            a.bridge.send(frame)
            a.outlet.pump(clock.now)
        b.turn(clock.now)
        b.turn(clock.now)
    assert b.frames == [bulk[0], *single, *bulk]
    assert not +b.inlet.counters


@pytest.mark.parametrize("count", [2, 9, 40])
def test_small_units_that_the_kernel_joined_all_arrive(pair: tuple[End, End], clock: Clock, count: int) -> None:
    a, b = pair
    payloads = [os.urandom(100) for _ in range(count)]
    lose(b)
    for payload in payloads:
        a.bridge.send(a.frame(b, payload))
        a.outlet.pump(clock.now)
    burst(a, b.waiting(), b.address)
    b.turn(clock.now)
    assert b.frames == [a.frame(b, payload) for payload in payloads]


def test_garbage_costs_nothing_but_a_count(pair: tuple[End, End], clock: Clock) -> None:
    a, b = pair
    receiver = next(iter(b.core.inboxes))
    for size in (1, 15, 16, 17, 32, 100, 1472, 1473, 9000):
        for kind in range(8):
            a.sockets.send(bytes([kind]) + os.urandom(size - 1), b.address)
            a.sockets.send((HEADER.pack(kind, 3, 0, receiver, 5) + os.urandom(9000))[:size], b.address)
        b.turn(clock.now)
    a.bridge.send(a.frame(b, b"still here"))
    clock.run([a, b], lambda: bool(b.frames))
    assert b.frames == [a.frame(b, b"still here")]


def test_a_walk_for_warmth_leaves_no_trace(pair: tuple[End, End], clock: Clock) -> None:
    a, b = pair
    warmth = Warmth()
    a.bridge.send(a.frame(b, b"a frame"))
    clock.run([a, b], lambda: bool(b.frames))

    def trace() -> tuple[object, ...]:
        return (a.core.deadline(), a.core.statuses(), +a.outlet.counters, +a.inlet.counters, +a.core.refused,
                +b.inlet.counters, +b.core.refused)

    before = trace()
    for _ in range(100):
        warmth.walk(a.outlet, a.inlet, clock.now)
    b.turn(clock.now)
    assert trace() == before
    assert not a.core.effects
    assert (len(a.frames), len(b.frames)) == (0, 1)


def test_fifty_peers_share_one_way_in_and_one_way_out(clock: Clock) -> None:
    hub, ends = End("hub"), [End(f"p{number:02}") for number in range(PEERS)]
    threads = threading.active_count()
    hub.meet(ends, clock.now)
    for end in ends:
        end.meet([hub], clock.now)
    clock.run([hub, *ends], lambda: all(end.knows(hub) and hub.knows(end) for end in ends), step_s=0.02)
    rng = random.Random(1)
    to_hub: dict[str, list[bytes]] = {end.name: [] for end in ends}
    from_hub: dict[str, list[bytes]] = {end.name: [] for end in ends}
    for size in (64, 1_400, 9_000):
        for end in rng.sample(ends, len(ends)):
            to_hub[end.name].append(end.frame(hub, os.urandom(size)))
            end.bridge.send(to_hub[end.name][-1])
            from_hub[end.name].append(hub.frame(end, os.urandom(size)))
            hub.bridge.send(from_hub[end.name][-1])
            hub.turn(clock.now)
            end.turn(clock.now)
    clock.run([hub, *ends], lambda: len(hub.frames) == 3 * PEERS and all(len(end.frames) == 3 for end in ends))
    assert {end.name: [frame for frame in hub.frames if frame[16:22] == end.mac] for end in ends} == to_hub
    assert {end.name: end.frames for end in ends} == from_hub
    assert threading.active_count() == threads
    for end in (hub, *ends):
        end.close()
