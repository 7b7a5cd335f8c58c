"""Elements of nftables as octets for the kernel, and its notices read without trust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.netlink.codec import GarbledNetlink, Message, Reply, attribute, frame, split_datagram
from weave.netlink.nftables import (
    ELEMENTS_PER_MESSAGE,
    NFPROTO_BRIDGE,
    NFPROTO_INET,
    Element,
    TableState,
    changed_table,
    get_element,
    get_generation,
    get_table,
    read_generation,
    read_table,
    transaction,
)

BEGIN, ADD, REMOVE, END, GENERATION = 0x10, 0xA0C, 0xA0E, 0x11, 0xA0F


def elements(count: int, name: str = "admitted4") -> list[Element]:
    return [Element(NFPROTO_BRIDGE, "weave-npc", name, (0x0A200000 + number).to_bytes(4)) for number in range(count)]


def kinds(messages: list[Message]) -> list[int]:
    return [message.kind for message in messages]


def test_a_transaction_removes_before_it_adds() -> None:
    assert kinds(transaction(elements(1), elements(1))) == [BEGIN, REMOVE, ADD, END]


def test_a_generation_is_asked_for_and_read() -> None:
    assert get_generation() == Message(0xA10, 0, bytes(4))
    assert read_generation(bytes(4) + attribute(1, b"\0\0\1\2") + attribute(2, b"\0\0\0\7")) == 258


def test_elements_of_one_set_share_a_message() -> None:
    assert kinds(transaction([], [*elements(2), *elements(1, "admitted6")])) == [BEGIN, ADD, ADD, END]


def test_many_elements_are_several_messages() -> None:
    assert kinds(transaction([], elements(ELEMENTS_PER_MESSAGE + 1))) == [BEGIN, ADD, ADD, END]


def test_an_element_of_a_map_names_its_chain() -> None:
    [_, message, _] = transaction([], [Element(NFPROTO_INET, "weave-npc", "ingress4", bytes(4), "ingress-abc")])
    assert b"ingress-abc\0" in message.body
    assert (-4).to_bytes(4, "big", signed=True) in message.body
    assert message.body[0] == NFPROTO_INET


def test_one_element_is_asked_for_like_it_is_added() -> None:
    [element] = elements(1)
    [_, added, _] = transaction([], [element])
    assert get_element(element).body == added.body


def test_a_table_is_asked_for_by_name_and_told_by_handle_and_use() -> None:
    assert get_table(NFPROTO_BRIDGE, "weave-npc").body.endswith(b"weave-npc\0\0\0")
    assert read_table(bytes(4) + attribute(4, b"h") + attribute(3, b"u")) == TableState(b"h", b"u")


def test_a_notice_names_its_table() -> None:
    body = bytes(4) + attribute(1, b"weave-npc\0")
    assert changed_table(Reply(ADD, 0, 0, body)) == "weave-npc"
    assert changed_table(Reply(GENERATION, 0, 0, body)) == ""
    assert changed_table(Reply(ADD & 0xFF, 0, 0, body)) == ""


def test_a_frame_is_split_into_what_it_was() -> None:
    assert split_datagram(frame(Message(ADD, 5, b"abcde"), 7)) == [Reply(ADD, 5, 7, b"abcde")]


@given(st.binary(max_size=80))
def test_garbled_notices_are_refused(data: bytes) -> None:
    for read in (lambda: [changed_table(notice) for notice in split_datagram(data)], lambda: read_table(data)):
        try:
            read()
        except GarbledNetlink:
            continue


def test_an_attribute_that_claims_too_much_is_refused() -> None:
    with pytest.raises(GarbledNetlink):
        read_table(bytes(4) + b"\xff\xff\x01\x00")
