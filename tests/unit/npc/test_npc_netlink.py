"""Elements as octets for the kernel, and its answers read without trust."""

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.netlink.codec import GarbledNetlink, Message, attribute, frame
from weave.npc.kernel import key_octets, packed
from weave.npc.kernel_reports import PAYLOAD, PREFIX, ULOG_PACKET, Report, read_reports
from weave.npc.ruleset import Kind
from weave.npc.ruleset_change import ADMISSION_TABLE, POLICY_TABLE, Change, Element

KEYS = [
    (Kind.IPV4, "10.32.0.1", "0a200001"),
    (Kind.IPV4_PAIR, "10.32.0.1 . 10.32.0.2", "0a2000010a200002"),
    (Kind.IPV4_PORT, "10.32.0.1 . 80", "0a20000100500000"),
    (Kind.IPV6, "fd00::1", "fd000000000000000000000000000001"),
    (Kind.IPV6_PORT, "fd00::1 . 443", "fd00000000000000000000000000000101bb0000"),
]


@pytest.mark.parametrize(("kind", "key", "octets"), KEYS, ids=lambda value: getattr(value, "name", None))
def test_keys_are_as_the_kernel_has_them(kind: Kind, key: str, octets: str) -> None:
    assert key_octets(kind, key) == bytes.fromhex(octets)


def test_a_change_goes_to_the_tables_of_its_elements() -> None:
    admitted = Element(ADMISSION_TABLE, "admitted4", Kind.IPV4, "10.32.0.1")
    profile = Element(POLICY_TABLE, "ingress4", Kind.IPV4, "10.32.0.1", "ingress-abc")
    [_, removed, added, _] = packed(Change({}, {}, (admitted,), (profile,), (), ()))
    assert (removed.body[0], added.body[0]) == (7, 1)
    assert b"admitted4\0" in removed.body
    assert b"ingress-abc\0" in added.body


@given(st.binary(max_size=80))
def test_garbled_answers_are_refused(data: bytes) -> None:
    with suppress(GarbledNetlink):
        read_reports(data)


def report_of(packet: str, tag: bytes = b"abc\0") -> list[Report]:
    body = bytes(4) + attribute(PREFIX, tag) + attribute(PAYLOAD, bytes.fromhex(packet))
    return read_reports(frame(Message(ULOG_PACKET, 0, body), 0))


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
