"""Elements as octets for the kernel, and its answers read without trust."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.npc import nft_netlink as wire
from weave.npc.kernel_reports import PAYLOAD, PREFIX, ULOG_PACKET, Report, read_reports
from weave.npc.nft_netlink import ELEMENTS_PER_MESSAGE, GarbledNetlink
from weave.npc.ruleset import Kind
from weave.npc.ruleset_change import ADMISSION_TABLE, POLICY_TABLE, Element

KEYS = [
    (Kind.IPV4, "10.32.0.1", "0a200001"),
    (Kind.IPV4_PAIR, "10.32.0.1 . 10.32.0.2", "0a2000010a200002"),
    (Kind.IPV4_PORT, "10.32.0.1 . 80", "0a20000100500000"),
    (Kind.IPV6, "fd00::1", "fd000000000000000000000000000001"),
    (Kind.IPV6_PORT, "fd00::1 . 443", "fd00000000000000000000000000000101bb0000"),
]
ENOENT = 2


def elements(count: int, name: str = "admitted4") -> list[Element]:
    return [Element(ADMISSION_TABLE, name, Kind.IPV4, str(ip_address(0x0A200000 + number))) for number in range(count)]


def kinds(octets: bytes) -> list[int]:
    return [notice.kind for notice in wire.notices(octets)]


@pytest.mark.parametrize(("kind", "key", "octets"), KEYS, ids=lambda value: getattr(value, "name", None))
def test_keys_are_as_the_kernel_has_them(kind: Kind, key: str, octets: str) -> None:
    assert wire.key_octets(kind, key) == bytes.fromhex(octets)


def test_a_batch_removes_before_it_adds() -> None:
    octets, last = wire.batch(elements(1), elements(1), 7)
    assert kinds(octets) == [wire.BATCH_BEGIN, wire.DELSETELEM, wire.NEWSETELEM, wire.BATCH_END]
    assert [notice.sequence for notice in wire.notices(octets)] == [7, 8, 9, 10]
    assert last == 9


def test_many_elements_are_several_messages_of_one_batch() -> None:
    octets, _ = wire.batch([], [*elements(ELEMENTS_PER_MESSAGE + 1), *elements(1, "admitted6")], 1)
    assert kinds(octets).count(wire.NEWSETELEM) == 3


def test_an_element_of_a_map_names_its_chain() -> None:
    element = Element(POLICY_TABLE, "ingress4", Kind.IPV4, "10.32.0.1", "ingress-abc")
    octets, _ = wire.batch([], [element], 1)
    assert b"ingress-abc\0" in octets
    assert (-4).to_bytes(4, "big", signed=True) in octets


def test_a_notification_names_its_table() -> None:
    body = bytes(4) + wire.attribute(1, b"weave-npc\0")
    assert wire.names_table(wire.Notice(wire.NEWSETELEM, 0, 1, body), "weave-npc")
    assert not wire.names_table(wire.Notice(wire.NEWSETELEM, 0, 1, body), "weave")
    assert not wire.names_table(wire.Notice(wire.NEWGEN, 0, 1, body), "weave-npc")


@given(st.binary(max_size=80))
def test_garbled_answers_are_refused(data: bytes) -> None:
    for read in (wire.notices, read_reports, lambda data: wire.attributes(data, 0)):
        try:
            read(data)
        except GarbledNetlink:
            continue


def report_of(packet: str, tag: bytes = b"abc\0") -> list[Report]:
    body = bytes(4) + wire.attribute(PREFIX, tag) + wire.attribute(PAYLOAD, bytes.fromhex(packet))
    return read_reports(wire.message(ULOG_PACKET, 0, 0, 2, 0, body[4:]))


IPV4 = "4500003c000040004006000" + "00a2000010a200002"
IPV6 = "6000000000141140" + "fd000000000000000000000000000001" + "fd000000000000000000000000000002"


def test_a_report_tells_the_connection() -> None:
    [report] = report_of(IPV4 + "c3500050")
    assert report == Report("abc", ip_address("10.32.0.1"), ip_address("10.32.0.2"), "TCP", 50000, 80)
    [report] = report_of(IPV6 + "c3500035")
    assert report == Report("abc", ip_address("fd00::1"), ip_address("fd00::2"), "UDP", 50000, 53)


@pytest.mark.parametrize("packet", ["", "45", IPV4[:38], "60" + "00" * 38, "ff" * 60])
def test_a_report_of_no_packet_is_left_out(packet: str) -> None:
    assert report_of(packet) == []


def test_a_report_without_room_for_ports_has_none() -> None:
    [report] = report_of(IPV4)
    assert (report.source_port, report.destination_port) == (0, 0)


def test_an_error_tells_its_code() -> None:
    assert wire.Notice(wire.NLMSG_ERROR, 1, 0, (-ENOENT).to_bytes(4, "little", signed=True)).code == ENOENT
    with pytest.raises(GarbledNetlink):
        _ = wire.Notice(wire.NLMSG_ERROR, 1, 0, b"\0").code
