"""Units through real sockets of the loopback: what one slot sends, another takes in, in one piece."""

import os
import select
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from weave.net.sleeve.buffers import SOL_UDP, UDP_GRO, Name, Slot
from weave.net.sleeve.udp import pack_address, unpack_address
from weave.net.sleeve.wire import HEADER_BYTES, Kind

DEADLINE_MS = 5000


@pytest.fixture(params=["GRO", "no GRO"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
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


def receive(slot: Slot, sock: socket.socket) -> tuple[bytes, bytes]:
    """Take in one whole unit; return what it holds and from where it came."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    held = 0
    while True:
        assert poll.poll(DEADLINE_MS), "nothing came"
        octets, size = slot.receive(sock.fileno(), held)
        count = -(-octets // size)
        assert slot.continues(held, count)
        _, _, total = slot.head()
        if held + count == total:
            return bytes(slot.payload[:held * slot.room + octets - count * HEADER_BYTES]), slot.sender
        held += count


@pytest.mark.parametrize("octets", [1, 1456, 1457, 20_000, 58_240, 64_400, 66_000])
@pytest.mark.parametrize("size", [1472, 548, 1232])
def test_a_unit_of_any_length_arrives_in_one_piece(ends: tuple[socket.socket, socket.socket], octets: int,
                                                   size: int) -> None:
    here, there = ends
    sent, taken = Slot(size), Slot(size)
    payload = os.urandom(octets)
    sent.payload[:octets] = payload
    sent.fill(77, 1 << 40, octets, -(-octets // sent.room))
    assert sent.send(here.fileno(), name_of(there)) == 0
    got, sender = receive(taken, there)
    assert got == payload
    assert unpack_address(sender) == here.getsockname()
    assert taken.head()[:2] == (77, 1 << 40)


def test_a_slot_is_used_again_in_another_size(ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    sent, taken = Slot(1472), Slot(1472)
    for size in (1472, 548, 1472):
        sent.lay_out(size)
        taken.lay_out(size)
        payload = os.urandom(9000)
        sent.payload[:9000] = payload
        sent.fill(1, size, 9000, -(-9000 // sent.room))
        assert sent.send(here.fileno(), name_of(there)) == 0
        assert receive(taken, there)[0] == payload


def test_fragments_taken_singly_are_those_that_were_sent() -> None:
    slot = Slot(548)
    slot.payload[:2000] = bytes(range(250)) * 8
    slot.fill(5, 6, 2000, 4)
    fragments = [slot.fragment(index) for index in range(4)]
    assert b"".join(fragment[HEADER_BYTES:] for fragment in fragments) == bytes(range(250)) * 8
    assert [fragment[:4] for fragment in fragments] == [bytes([Kind.DATA, 4, index, 0]) for index in range(4)]


def test_datagrams_of_another_size_come_out_in_one_piece(ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    slot = Slot(548)
    datagram = os.urandom(1400)
    here.sendto(datagram, there.getsockname())
    poll = select.poll()
    poll.register(there, select.POLLIN)
    assert poll.poll(DEADLINE_MS)
    octets, _ = slot.receive(there.fileno(), 0)
    assert slot.linear(0, octets) == datagram


def test_the_header_of_another_unit_does_not_continue_this_one(ends: tuple[socket.socket, socket.socket]) -> None:
    slot = Slot(548)
    slot.fill(5, 6, 2000, 4)
    assert slot.continues(0, 4)
    slot.headers[2 * HEADER_BYTES + 8] ^= 1
    assert not slot.continues(0, 4)
    assert slot.continues(0, 2)


@pytest.mark.parametrize("address", [("192.0.2.7", 6783), ("2001:db8::7", 1)])
def test_addresses_come_out_of_the_kernels_form_as_they_went_in(address: tuple[str, int]) -> None:
    assert unpack_address(pack_address(address)) == (str(ip_address(address[0])), address[1])
