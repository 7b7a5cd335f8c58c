"""Attributes and datagrams: what is packed is read back, what is garbled is refused by one error."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.netlink import codec
from weave.netlink.codec import GarbledNetlink, Reply
from weave.netlink.constants import NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NLMSGERR_ATTR_MSG


def message(kind: int, body: bytes, flags: int = 0, sequence: int = 7) -> bytes:
    return codec.HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_a_mapping_of_attributes_is_read_back(values: dict[int, bytes]) -> None:
    packed = codec.mapping(1, values)
    assert len(packed) % 4 == 0
    assert codec.read_attributes(codec.read_attributes(packed)[1]) == values


@pytest.mark.parametrize(("packed", "payload"), [
    (codec.u8(9, 200), b"\xc8"), (codec.u16(9, 513), struct.pack("=H", 513)),
    (codec.u32(9, 1 << 30), struct.pack("=I", 1 << 30)), (codec.text(9, "weave"), b"weave\0"),
])
def test_scalars_are_aligned_and_read_back(packed: bytes, payload: bytes) -> None:
    assert len(packed) % 4 == 0
    assert codec.read_attributes(packed) == {9: payload}


def test_a_datagram_is_split_into_its_messages() -> None:
    data = message(16, b"abcde") + message(17, b"", sequence=8)
    assert codec.split_datagram(data) == [Reply(16, 0, 7, b"abcde"), Reply(17, 0, 8, b"")]


def test_a_datagram_cut_anywhere_but_between_messages_is_refused() -> None:
    data = message(16, b"abcd") + message(17, b"efgh")
    for end in range(len(data)):
        if end in (0, 20):
            codec.split_datagram(data[:end])
            continue
        with pytest.raises(GarbledNetlink):
            codec.split_datagram(data[:end])


@pytest.mark.parametrize("size", [0, 3, 9, 0xFFFF])
def test_an_attribute_that_claims_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(GarbledNetlink, match="attribute 5"):
        codec.read_attributes(struct.pack("=HH", size, 5) + b"1234")


@pytest.mark.parametrize("payload", [b"", b"123", b"12345678"])
def test_a_number_of_a_wrong_size_is_refused(payload: bytes) -> None:
    with pytest.raises(GarbledNetlink):
        codec.read_u32(payload)


def test_an_error_brings_the_words_of_the_kernel() -> None:
    words = codec.text(NLMSGERR_ATTR_MSG, "Port already in use")
    capped = struct.pack("=i", -17) + codec.HEADER.pack(60, 16, 0, 7, 0) + words
    assert codec.read_error(Reply(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, 7, capped)) == (17, "Port already in use")
    whole = struct.pack("=i", -17) + codec.HEADER.pack(21, 16, 0, 7, 0) + b"fiveX\0\0\0" + words
    assert codec.read_error(Reply(NLMSG_ERROR, NLM_F_ACK_TLVS, 7, whole)) == (17, "Port already in use")
    assert codec.read_error(Reply(NLMSG_ERROR, NLM_F_CAPPED, 7, bytes(20))) == (0, "")


def test_the_end_of_a_dump_says_whether_it_broke_off() -> None:
    assert codec.read_done(Reply(NLMSG_DONE, 0, 7, bytes(4))) == (0, "")
    assert codec.read_done(Reply(NLMSG_DONE, 0, 7, struct.pack("=i", -19))) == (19, "")
    body = struct.pack("=i", -2) + codec.text(NLMSGERR_ATTR_MSG, "FIB table does not exist")
    assert codec.read_done(Reply(NLMSG_DONE, NLM_F_ACK_TLVS, 7, body)) == (2, "FIB table does not exist")
    with pytest.raises(GarbledNetlink):
        codec.read_done(Reply(NLMSG_DONE, 0, 7, b""))


def test_text_is_read_whatever_its_octets() -> None:
    assert codec.read_text(b"caf\xe9\0rest") == "caf�"
    assert codec.read_text(None) == ""
