"""The announcements of a new interface, octet by octet."""

from ipaddress import IPv4Address, IPv6Address

from weave.net.frames import announcement, checksum

MAC = bytes.fromhex("021122334455")


def test_gratuitous_arp_asks_for_its_own_address() -> None:
    assert announcement(MAC, IPv4Address("10.32.0.1").packed).hex() == (
        "ffffffffffff" "021122334455" "0806" "0001" "0800" "06" "04" "0001"
        "021122334455" "0a200001" "000000000000" "0a200001")


def test_neighbour_advertisement_overrides_and_has_a_right_checksum() -> None:
    frame = announcement(MAC, IPv6Address("fd00::1").packed)
    ip, icmp = frame[14:54], frame[54:]
    assert frame[:14].hex() == "333300000001" "021122334455" "86dd"
    assert (ip[6], ip[7], int.from_bytes(ip[4:6])) == (58, 255, len(icmp))
    assert (icmp[0], icmp[4]) == (136, 0x20)
    assert icmp[24:] == bytes([2, 1]) + MAC
    assert checksum(ip[8:40] + len(icmp).to_bytes(4) + bytes([0, 0, 0, 58]) + icmp) == 0
