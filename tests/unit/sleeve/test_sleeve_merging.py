"""Small UDP frames made one: what the kernel cuts out of it again is what went in."""

import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.net.sleeve.merging import SEGMENTS_MOST, merged
from weave.net.sleeve.wire import RECORD_LENGTH, SleeveError, records

MACS = bytes.fromhex("02000000000b" "02000000000a")
ALONE = struct.Struct("<BBHHHH")
UDP, TCP = 17, 6


def checksum(octets: bytes) -> int:
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame(payload: bytes, *, source: str = "10.32.0.1", port: int = 1000, protocol: int = UDP, number: int = 1,
          flags: int = 0x4000, has_checksum: bool = False, padding: bytes = b"", options: bytes = b"") -> bytes:
    """Return a frame as the bridge hands it over: the UDP checksum is that of the pseudo header alone."""
    here = ip_address(source)
    there = ip_address("10.32.0.2" if here.version == 4 else "fd00::2")
    ends, octets = here.packed + there.packed, 8 + len(payload)
    udp = struct.pack(">HHHH", port, 2000, octets, checksum(ends + struct.pack(">HH", protocol, octets)))
    if here.version == 4:
        words = 5 + len(options) // 4
        head = struct.pack(">BBHHHBBH", 0x40 | words, 0, 4 * words + octets, number, flags, 64, protocol, 0)
        ip = head[:10] + struct.pack(">H", 0xFFFF ^ checksum(head + ends + options)) + ends + options
        ethernet = MACS + b"\x08\0"
    else:
        ip = struct.pack(">IHBB", 0x6000_0000, octets, protocol, 64) + ends
        ethernet = MACS + b"\x86\xdd"
    virtio = bytes(10) if has_checksum else ALONE.pack(1, 0, 0, 0, len(ethernet + ip), 6)
    return virtio + ethernet + ip + udp + payload + padding


def unit(frames: list[bytes]) -> memoryview:
    return memoryview(b"".join(RECORD_LENGTH.pack(len(each)) + each for each in frames))


def written(frames: list[bytes]) -> list[bytes]:
    return [b"".join(parts) for parts in merged(unit(frames))]


def cut(large: bytes) -> list[bytes]:
    """Do what the kernel does with a large frame: check it, and make small ones of it."""
    flags, kind, head_bytes, size, start, offset = ALONE.unpack_from(large)
    if kind == 0:
        return [large]
    assert (flags, kind, offset, head_bytes) == (1, 5, 6, start + 8)
    body = large[10:]
    ip, udp, payload = body[14:start], body[start:head_bytes], body[head_bytes:]
    assert -(-len(payload) // size) <= SEGMENTS_MOST
    is_v4 = body[12:14] == b"\x08\0"
    ends = ip[12:20] if is_v4 else ip[8:40]
    octets = 8 + len(payload)
    assert struct.unpack_from(">H", udp, 4)[0] == octets
    assert struct.unpack_from(">H", udp, 6)[0] == checksum(ends + struct.pack(">HH", UDP, octets))
    if is_v4:
        assert checksum(ip) == 0xFFFF
        assert struct.unpack_from(">H", ip, 2)[0] == 20 + octets
    else:
        assert struct.unpack_from(">H", ip, 4)[0] == octets
    number, fragment = struct.unpack_from(">HH", ip, 4)
    return [frame(payload[at:at + size], source=str(ip_address(ends[:len(ends) // 2])),
                  port=struct.unpack_from(">H", udp)[0], number=number + at // size if is_v4 else 1,
                  flags=fragment if is_v4 else 0x4000)
            for at in range(0, len(payload), size)]


@pytest.mark.parametrize("source", ["10.32.0.1", "fd00::1"])
@pytest.mark.parametrize("count", [2, 64, 65, 200])
def test_frames_of_one_flow_and_size_become_large_ones(source: str, count: int) -> None:
    frames = [frame(bytes([number]) * 64, source=source, number=number) for number in range(count)]
    large = written(frames)
    assert len(large) == -(-count // SEGMENTS_MOST)
    assert [small for each in large for small in cut(each)] == frames


FRAMES = st.builds(frame, st.sampled_from([b"", b"a", b"b", b"abc", b"x" * 64, b"y" * 64, b"z" * 20_000]),
                   source=st.sampled_from(["10.32.0.1", "10.32.0.9", "fd00::1", "fd00::9"]), port=st.integers(1, 2))


@given(st.lists(FRAMES, max_size=40))
def test_whatever_comes_every_frame_comes_out_in_its_place(frames: list[bytes]) -> None:
    out = [small for each in written(frames) for small in cut(each)]
    assert [without_number(each) for each in out] == [without_number(each) for each in frames]


def without_number(each: bytes) -> bytes:
    return each if each[22:24] != b"\x08\0" else each[:28] + each[30:34] + each[36:]


@pytest.mark.parametrize("special", [
    {"has_checksum": True}, {"protocol": TCP}, {"flags": 0x2000}, {"flags": 0x0001}, {"padding": b"\0\0"},
    {"options": b"\1\1\1\1"}, {"source": "fd00::1", "protocol": TCP},
], ids=str)
def test_what_is_special_stays_as_it_is(special: dict[str, object]) -> None:
    frames = [frame(b"x" * 64, **special)] * 3  # type: ignore[arg-type]
    assert written(frames) == frames


def test_a_frame_of_another_flow_between_two_keeps_its_place() -> None:
    frames = [frame(b"x" * 64, port=port) for port in (1, 1, 2, 1, 1)]
    assert [len(cut(each)) for each in written(frames)] == [2, 1, 2]


@given(st.lists(FRAMES, min_size=1, max_size=5), st.data())
def test_a_unit_cut_short_gives_the_frames_before_the_cut(frames: list[bytes], data: st.DataObject) -> None:
    whole = unit(frames)
    out: list[bytes] = []
    try:
        for parts in merged(whole[:data.draw(st.integers(0, len(whole) - 1))]):
            out += cut(b"".join(parts))
    except SleeveError:
        pass
    assert [without_number(each) for each in out] == [without_number(each) for each in frames[:len(out)]]
    assert len(out) < len(frames)


@pytest.mark.parametrize("broken", [b"\0", b"\0\0\0", b"\5\0\0\0abcd", b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("read", [records, merged])
def test_a_record_that_is_not_whole_is_refused(read: Callable[[memoryview], Iterator[object]], broken: bytes) -> None:
    several = read(memoryview(b"".join([unit([frame(b"a")]), broken])))
    next(several)
    with pytest.raises(SleeveError, match="within a record"):
        next(several)
