"""Frames made one go into a real TAP device; a socket behind it gets the datagrams one by one, as they were sent."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.unit.sleeve.test_sleeve_merging import frame, unit
from weave.net.namespace import new_namespace, run_there
from weave.net.sleeve import tap
from weave.net.sleeve.merging import SEGMENTS_MOST, merged

from .hosts import LAB, Place

pytestmark = [*LAB, pytest.mark.skipif(not tap.has_tap(), reason="this kernel has no TAP devices")]
HERE = {4: "10.32.0.2", 6: "fd00::2"}
THERE = {4: "10.32.0.1", 6: "fd00::1"}
PORT = 2000
DEADLINE_S = 10.0


@pytest.fixture
def place() -> Iterator[Place]:
    descriptor = new_namespace()
    yield Place(descriptor)
    os.close(descriptor)


def device(place: Place) -> int:
    """Make a TAP device with the addresses and the MAC that the frames are for."""
    descriptor, takes_large_udp = run_there(place.descriptor, lambda: tap.attach("tap0"))
    if not takes_large_udp:
        os.close(descriptor)
        pytest.skip("this kernel takes no large UDP frames; the sleeve writes none to it")
    place.run("ip", "link", "set", "tap0", "address", "02:00:00:00:00:0b", "up")
    place.run("ip", "address", "add", f"{HERE[4]}/24", "dev", "tap0")
    place.run("ip", "address", "add", f"{HERE[6]}/64", "dev", "tap0", "nodad")
    return descriptor


def listener(version: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((HERE[version], PORT))
    sock.settimeout(DEADLINE_S)
    return sock


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("count", "size"), [(2, 1), (SEGMENTS_MOST, 64), (40, 1400), (100, 18)])
def test_datagrams_come_out_of_a_large_frame_one_by_one(place: Place, version: int, count: int, size: int) -> None:
    descriptor = device(place)
    payloads = [os.urandom(size) for _ in range(count)]
    frames = [frame(payload, source=THERE[version], port=1000) for payload in payloads]
    with run_there(place.descriptor, lambda: listener(version)) as sock:
        written = [os.writev(descriptor, parts) for parts in merged(unit(frames))]
        assert len(written) == -(-count // SEGMENTS_MOST)
        arrived = [sock.recvfrom(2048) for _ in payloads]
    os.close(descriptor)
    assert [data for data, _ in arrived] == payloads
    assert {(ip_address(source[0]), source[1]) for _, source in arrived} == {(ip_address(THERE[version]), 1000)}
