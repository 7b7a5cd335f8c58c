"""Addresses and prefixes of both families, as the standard library has them.

IPv4 and IPv6 are the same type to everyone outside this module: an `IPAddress` or an `IPNetwork`. What parses text
from a person raises `LocalError` with the reason in words.
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)

from weave.errors import LocalError

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
"""An address together with the prefix of its subnet: `10.32.0.1/12`."""
IPNetwork = IPv4Network | IPv6Network


def parse_address(text: str) -> IPAddress:
    """Return the address a person typed; raise `LocalError` where it is none."""
    try:
        return ip_address(text.strip())
    except ValueError as exc:
        raise LocalError(f"{text!r} is not an IP address") from exc


def parse_network(text: str) -> IPNetwork:
    """Return the subnet a person typed (`10.32.0.0/12`); an address alone is the subnet of that one host.

    Raise `LocalError` where host bits are set or it is none.
    """
    try:
        return ip_network(text.strip())
    except ValueError as exc:
        raise LocalError(f"{text!r} is not a subnet: {exc}") from exc


def parse_interface(text: str) -> IPInterface:
    """Return the address with prefix length a person typed (`10.32.0.1/12`); raise `LocalError` without a prefix."""
    if "/" not in text:
        raise LocalError(f"{text!r} lacks a prefix length; write it like 10.32.0.1/12")
    try:
        return ip_interface(text.strip())
    except ValueError as exc:
        raise LocalError(f"{text!r} is not an address with a prefix length: {exc}") from exc


def address_at(family: int, number: int) -> IPAddress:
    """Return the address of `family` (4 or 6) whose integer value is `number`."""
    return IPv4Address(number) if family == 4 else IPv6Address(number)
