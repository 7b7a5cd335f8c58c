"""Each port may send from its own MAC and addresses; the table that says so is recognised, and told from another."""

import pytest

from weave.net.model import Attachment, Mac, Packed
from weave.net.port_guard import (
    MACS,
    SOURCES4,
    SOURCES6,
    TARGETS6,
    Port,
    differs,
    dropped,
    elements,
    port_of,
    reads_targets,
    replacement,
)

V4, V6 = Packed(bytes([10, 32, 0, 1])), Packed(bytes.fromhex("fd000032000000000000000000000001"))
PORT = Port("vethwe1", Mac(bytes.fromhex("020000000001")), frozenset({V4, V6}))
NAME = b"vethwe1".ljust(16, b"\0")


def listing(*, targets: bool = True, **changes: object) -> dict[str, object]:
    """Return what nft lists for PORT."""
    rules: list[tuple[str, str]] = []
    chain = ""
    for line in replacement([], targets=targets).splitlines():
        chain = line.split()[1] if line.startswith("chain") else chain
        if "comment" in line:
            rules.append((chain, line.rpartition('comment "')[2].rstrip('"')))
    sets = {MACS: "02:00:00:00:00:01", SOURCES4: "10.32.0.1", SOURCES6: "fd00:32::1",
            TARGETS6: "0xfd000032000000000000000000000001" if targets else "fd00:32::1"} | changes
    return {"nftables": [
        {"metainfo": {}},
        *({"set": {"name": name, **({} if value is None else {"elem": [{"concat": ["vethwe1", value]}]})}}
          for name, value in sets.items()),
        *({"rule": {"chain": chain, "comment": comment, "expr": [{"counter": {"packets": 2}}]}}
          for chain, comment in rules),
    ]}


def test_a_port_is_admitted_with_its_mac_and_its_addresses() -> None:
    assert [element[2:4] for element in elements(PORT)] == [
        (MACS, NAME + bytes.fromhex("020000000001") + bytes(2)), (SOURCES4, NAME + V4), (SOURCES6, NAME + V6),
        (TARGETS6, NAME + V6)]


def test_elements_of_one_set_stand_together() -> None:
    many = frozenset(Packed(bytes([number, *rest])) for number in (1, 0xFD) for rest in (bytes(3), bytes(15)))
    names = [element.name for element in elements(Port("vethwe1", PORT.mac, many))]
    assert names == [MACS, *[SOURCES4] * 2, *[SOURCES6] * 2, *[TARGETS6] * 2], "one message to the kernel for each set"


def test_an_attachment_has_the_port_of_its_host_interface() -> None:
    attachment = Attachment("c", "eth0", "02:00:00:00:00:01", (), 1450, "vethwe1")
    assert port_of(attachment) == Port("vethwe1", PORT.mac, frozenset())


def test_the_replacement_is_one_transaction_that_knows_every_port() -> None:
    text = replacement([PORT])
    assert text.startswith("table bridge weave_ports\ndelete table bridge weave_ports\n")
    assert '"vethwe1" . 02:00:00:00:00:01' in text
    assert '"vethwe1" . fd00:32::1' in text
    assert '"vethwe1" . 0xfd000032000000000000000000000001' in text
    assert "elements" not in replacement([])


def test_a_tag_hides_nothing() -> None:
    rules = [line for line in replacement([]).splitlines() if "comment" in line]
    tagged = next(number for number, line in enumerate(rules) if "ether type { 0x8100, 0x88a8 } counter drop" in line)
    assert all("ether type" not in line for line in rules[:tagged]), "before anything is said by what type a frame is"


def test_the_table_as_wanted_is_recognised() -> None:
    assert not differs(listing(), [PORT])
    assert dropped(listing()) == 32
    assert not differs(listing(targets=False), [PORT], targets=False)


def test_a_number_is_recognised_as_nft_writes_it() -> None:
    small = Port("vethwe1", PORT.mac, frozenset({V4, Packed(bytes(15) + b"\7")}))
    assert not differs(listing(**{SOURCES6: "::7", TARGETS6: 7}), [small])


@pytest.mark.parametrize(("version", "does"), [
    ("nftables v1.0.6 (Lester Gooch #5)", True), ("nftables v1.0.3 (x)", True), ("nftables v1.1.0 (x)", True),
    ("nftables v1.0.2 (Lester Gooch)", False), ("nftables v0.9.8 (E.D.S.)", False), ("", True),
])
def test_an_older_nft_cannot_look_at_what_is_advertised(version: str, does: bool) -> None:
    assert reads_targets(version) is does
    assert ("@th" in replacement([PORT], targets=does)) is does


@pytest.mark.parametrize("shown", [
    listing(**{SOURCES4: "10.32.0.2"}), listing(**{SOURCES6: None}), listing(**{TARGETS6: "0x7"}),
    listing(**{TARGETS6: "x"}), listing(targets=False),
    {"nftables": listing()["nftables"][:-1]},  # type: ignore[index]
    {"nftables": [*listing()["nftables"], {"rule": {"chain": "another", "expr": []}}]},  # type: ignore[misc]
    {}, {"nftables": [{"set": {}}]}, {"nftables": [{"rule": {"expr": []}}]},
])
def test_whatever_is_not_as_wanted_is_told_apart(shown: dict[str, object]) -> None:
    assert differs(shown, [PORT])
