from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.addresses import address_at, parse_address, parse_interface, parse_network
from weave.errors import LocalError


@given(st.ip_addresses())
def test_addresses_survive_text_and_number(address: object) -> None:
    parsed = parse_address(f" {address} ")
    assert parsed == address
    assert address_at(parsed.version, int(parsed)) == address


@pytest.mark.parametrize("text", ["", "host", "10.0.0", "10.0.0.256", "10.0.0.1/8", "010.0.0.1", "::g", "10.0.0.١"])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(LocalError, match="is not an IP address"):
        parse_address(text)


@pytest.mark.parametrize("text", ["10.32.0.0/12", "fd00::/64", "0.0.0.0/0", "10.0.0.1/32", " 10.32.0.0/12 "])
def test_subnets_of_both_families_are_read(text: str) -> None:
    assert parse_network(text) == ip_network(text.strip())


def test_an_address_alone_is_the_subnet_of_one_host() -> None:
    assert parse_network("10.0.0.1") == ip_network("10.0.0.1/32")


@pytest.mark.parametrize(
    ("text", "why"),
    [("10.32.0.1/12", "host bits"), ("10.32.0.0/33", "33"), ("", "subnet"), ("fd00::1/64", "host bits")],
)
def test_what_is_no_subnet_is_told_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        parse_network(text)


@pytest.mark.parametrize("text", ["10.32.0.1/12", "fd00::1/64", "10.0.0.1/32"])
def test_addresses_with_a_prefix_are_read(text: str) -> None:
    assert parse_interface(text) == ip_interface(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.32.0.1", "lacks a prefix"),
        ("10.32.0.1/", "not an address"),
        ("10.32.0.1/33", "33"),
        ("x/8", "not an address"),
    ],
)
def test_address_without_a_good_prefix_is_told(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=why):
        parse_interface(text)
