"""Units through real sockets of the loopback: what one slot sends, another takes in, in one piece."""

import os
import select
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from weave.net.sleeve.buffers import SOL_UDP, UDP_GRO, Name, Slot
from weave.net.sleeve.landing import Landing
from weave.net.sleeve.udp import pack_address, unpack_address
from weave.net.sleeve.wire import HEADER_BYTES, Kind

DEADLINE_MS = 5000
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["GRO", "no GRO"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM) as there:
        for sock in (here, there):
            sock.bind(("127.0.0.1", 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if request.param == "GRO":
            there.setsockopt(SOL_UDP, UDP_GRO, 1)
        yield here, there


def name_of(sock: socket.socket) -> Name:
    return Name(pack_address(sock.getsockname()))


def receive_joined(landing: Landing, sock: socket.socket, held: int) -> tuple[int, int, int]:
    """Take in what waits; return how many fragments, octets of the last, and the place of its sender."""
    octets, size = landing.receive_joined(sock.fileno(), held)
    count = -(-octets // size)
    assert size == landing.size or count == 1
    return count, octets - (count - 1) * size, 0


def receive_many(landing: Landing, sock: socket.socket, held: int) -> tuple[int, int, int]:
    came = landing.receive_many(sock.fileno(), held)
    last = held + came - 1
    assert landing.are_full(held, last)
    return came, landing.octets(last), last


Receive = Callable[[Landing, socket.socket, int], tuple[int, int, int]]


def unit_from(landing: Landing, sock: socket.socket, receive: Receive) -> tuple[bytes, bytes]:
    """Take in one whole unit; return what it holds and from where it came."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    held = 0
    while True:
        assert poll.poll(DEADLINE_MS), "nothing came"
        came, last, named = receive(landing, sock, held)
        held += came
        _, total, index, receiver, counter = landing.header(0)
        assert index == 0
        assert [landing.header(at) for at in range(held)] == [(Kind.DATA, total, at, receiver, counter)
                                                             for at in range(held)]
        if held == total:
            octets = (held - 1) * landing.room + last - HEADER_BYTES
            return bytes(landing.payload[:octets]), landing.sender(named)


@pytest.mark.parametrize("receive", [receive_joined, receive_many])
@pytest.mark.parametrize("octets", [1, 1456, 1457, 20_000, 58_240, 64_400, 66_000])
@pytest.mark.parametrize("size", [1472, 548, 1232])
def test_a_unit_of_any_length_arrives_in_one_piece(ends: Ends, octets: int, size: int, receive: Receive) -> None:
    here, there = ends
    if receive is receive_many:
        there.setsockopt(SOL_UDP, UDP_GRO, 0)
    sent, taken = Slot(size), Landing(size, 16)
    payload = os.urandom(octets)
    sent.payload[:octets] = payload
    sent.fill(77, 1 << 40, octets, -(-octets // sent.room))
    assert sent.send(here.fileno(), name_of(there)) == 0
    got, sender = unit_from(taken, there, receive)
    assert got == payload
    assert unpack_address(sender) == here.getsockname()
    assert taken.header(0)[3:] == (77, 1 << 40)


def test_a_slot_is_used_again_in_another_size(ends: Ends) -> None:
    here, there = ends
    sent, taken = Slot(1472), Landing(1472, 16)
    for size in (1472, 548, 1472):
        sent.lay_out(size)
        taken.lay_out(size)
        payload = os.urandom(9000)
        sent.payload[:9000] = payload
        sent.fill(1, size, 9000, -(-9000 // sent.room))
        assert sent.send(here.fileno(), name_of(there)) == 0
        assert unit_from(taken, there, receive_joined)[0] == payload


def test_fragments_taken_singly_are_those_that_were_sent() -> None:
    slot = Slot(548)
    slot.payload[:2000] = bytes(range(250)) * 8
    slot.fill(5, 6, 2000, 4)
    fragments = [slot.fragment(index) for index in range(4)]
    assert b"".join(fragment[HEADER_BYTES:] for fragment in fragments) == bytes(range(250)) * 8
    assert [fragment[:4] for fragment in fragments] == [bytes([Kind.DATA, 4, index, 0]) for index in range(4)]


@pytest.mark.parametrize("octets", [1, 15, 16, 17, 548, 549, 1400])
def test_datagrams_of_another_size_come_out_in_one_piece(ends: Ends, octets: int) -> None:
    here, there = ends
    landing = Landing(548, 16)
    datagram = os.urandom(octets)
    poll = select.poll()
    poll.register(there, select.POLLIN)
    here.sendto(datagram, there.getsockname())
    assert poll.poll(DEADLINE_MS)
    assert landing.receive_joined(there.fileno(), 0) == (octets, octets)
    assert landing.linear(0, octets) == datagram
    here.sendto(datagram, there.getsockname())
    assert poll.poll(DEADLINE_MS)
    assert landing.receive_many(there.fileno(), 3) == 1
    assert landing.datagram(3) == datagram
    assert landing.joined_size(3) == octets


def test_many_datagrams_come_in_one_call_each_with_its_sender(ends: Ends) -> None:
    here, there = ends
    landing = Landing(548, 16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        for round_ in range(3):
            sent = [(sock, os.urandom(20 + number)) for number in range(5) for sock in (here, other)]
            for sock, datagram in sent:
                sock.sendto(datagram, there.getsockname())
            assert landing.receive_many(there.fileno(), round_) == len(sent)
            assert [(unpack_address(landing.sender(at)), landing.datagram(at))
                    for at in range(round_, round_ + len(sent))] == [
                        (sock.getsockname(), datagram) for sock, datagram in sent]
        assert landing.receive_many(there.fileno(), 0) == 0


def test_what_the_kernel_joined_is_told_apart_where_it_was_not_expected(ends: Ends) -> None:
    here, there = ends
    landing, slot = Landing(1472, 16), Slot(1472)
    payload = os.urandom(9000)
    slot.payload[:9000] = payload
    slot.fill(1, 2, 9000, 7)
    assert slot.send(here.fileno(), name_of(there)) == 0
    if there.getsockopt(SOL_UDP, UDP_GRO):
        assert landing.receive_many(there.fileno(), 0) == 1
        assert landing.joined_size(0) == 1472
        assert landing.datagram(0) == b"".join(slot.fragment(index) for index in range(7))
    else:
        assert landing.receive_many(there.fileno(), 0) == 7
        assert [landing.joined_size(at) for at in range(7)] == [len(slot.fragment(index)) for index in range(7)]


def test_the_beginning_of_a_unit_moves_in_one_piece() -> None:
    landing = Landing(548, 16)
    landing.headers[:] = os.urandom(len(landing.headers))
    landing.payload[:5320] = os.urandom(5320)
    headers, payload = bytes(landing.headers[48:48 + 80]), bytes(landing.payload[3 * 532:8 * 532])
    landing.move(3, 5)
    assert (landing.headers[:80], landing.payload[:5 * 532]) == (headers, payload)


@pytest.mark.parametrize("address", [("192.0.2.7", 6783), ("2001:db8::7", 1)])
def test_addresses_come_out_of_the_kernels_form_as_they_went_in(address: tuple[str, int]) -> None:
    assert unpack_address(pack_address(address)) == (str(ip_address(address[0])), address[1])
