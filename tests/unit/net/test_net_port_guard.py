"""Each port may send from its own MAC and addresses; the table that says so is recognised, and told from another."""

import pytest

from weave.net.model import Attachment, Mac, Packed
from weave.net.port_guard import MACS, SOURCES4, SOURCES6, Port, differs, dropped, elements, port_of, replacement

V4, V6 = Packed(bytes([10, 32, 0, 1])), Packed(bytes.fromhex("fd000032000000000000000000000001"))
PORT = Port("vethwe1", Mac(bytes.fromhex("020000000001")), frozenset({V4, V6}))
NAME = b"vethwe1".ljust(16, b"\0")


def listing(**changes: object) -> dict[str, object]:
    """Return what nft lists for PORT."""
    lines = [line for line in replacement([]).splitlines() if "comment" in line]
    comments = [line.rpartition('comment "')[2].rstrip('"') for line in lines]
    sets = {MACS: "02:00:00:00:00:01", SOURCES4: "10.32.0.1", SOURCES6: "fd00:32::1"} | changes
    return {"nftables": [
        {"metainfo": {}},
        *({"set": {"name": name, **({} if value is None else {"elem": [{"concat": ["vethwe1", value]}]})}}
          for name, value in sets.items()),
        *({"rule": {"comment": comment, "expr": [{"counter": {"packets": 2}}]}} for comment in comments),
    ]}


def test_a_port_is_admitted_with_its_mac_and_its_addresses() -> None:
    assert [element[2:4] for element in elements(PORT)] == [
        (MACS, NAME + bytes.fromhex("020000000001") + bytes(2)), (SOURCES4, NAME + V4), (SOURCES6, NAME + V6)]


def test_an_attachment_has_the_port_of_its_host_interface() -> None:
    attachment = Attachment("c", "eth0", "02:00:00:00:00:01", (), 1450, "vethwe1")
    assert port_of(attachment) == Port("vethwe1", PORT.mac, frozenset())


def test_the_replacement_is_one_transaction_that_knows_every_port() -> None:
    text = replacement([PORT])
    assert text.startswith("table bridge weave_ports\ndelete table bridge weave_ports\n")
    assert '"vethwe1" . 02:00:00:00:00:01' in text
    assert '"vethwe1" . fd00:32::1' in text
    assert "elements" not in replacement([])


def test_a_tag_hides_nothing() -> None:
    rules = [line for line in replacement([]).splitlines() if "comment" in line]
    tagged = next(number for number, line in enumerate(rules) if "ether type { 0x8100, 0x88a8 } counter drop" in line)
    assert all("ether type" not in line for line in rules[:tagged]), "before anything is said by what type a frame is"


def test_the_table_as_wanted_is_recognised() -> None:
    assert not differs(listing(), [PORT])
    assert dropped(listing()) == 18


@pytest.mark.parametrize("shown", [
    listing(**{SOURCES4: "10.32.0.2"}), listing(**{SOURCES6: None}),
    {"nftables": listing()["nftables"][:-1]},  # type: ignore[index]
    {}, {"nftables": [{"set": {}}]}, {"nftables": [{"rule": {"expr": []}}]},
])
def test_whatever_is_not_as_wanted_is_told_apart(shown: dict[str, object]) -> None:
    assert differs(shown, [PORT])
