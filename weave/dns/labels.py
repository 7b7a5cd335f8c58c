"""Domain names as tuples of labels: the one form in which names are compared.

A label is any octets, dots included, so a name is never compared as text. `Labels` are lower-case (ASCII only,
RFC 4343) unless said otherwise, leftmost first, without the root. What a person or a container calls itself comes
in through `registered_name`, which says in words what is wrong.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from weave.addresses import IPAddress, IPNetwork
from weave.dns.limits import MAX_LABEL_BYTES, MAX_NAME_BYTES
from weave.errors import LocalError

Labels: TypeAlias = tuple[bytes, ...]

IN_ADDR_ARPA: Labels = (b"in-addr", b"arpa")
IP6_ARPA: Labels = (b"ip6", b"arpa")
_HOST_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_NIBBLES = {b"%x" % value: value for value in range(16)}


def labels_of(text: str) -> Labels:
    """Return the labels of a plain name (`c1.weave.local.`), lower-case; the final dot may be missing."""
    return tuple(part.encode() for part in text.lower().rstrip(".").split(".") if part)


def text_of(labels: Labels) -> str:
    """Return a name as text with the final dot, octets that are not plain escaped as `\\DDD`."""
    return "".join(_escaped(label) + "." for label in labels) or "."


def _escaped(label: bytes) -> str:
    return "".join(
        chr(octet) if 33 <= octet < 127 and octet not in b".\\" else f"\\{octet:03d}" for octet in label
    )


def wire_of(labels: Labels) -> bytes:
    """Return the uncompressed wire form of a name."""
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def is_registrable(text: str) -> bool:
    """Say whether `text` is a lower-case name of host labels, with the final dot, within the limits of the wire."""
    parts = text.removesuffix(".").split(".")
    return (
        text.endswith(".")
        and len(text) + 1 <= MAX_NAME_BYTES
        and all(len(part) <= MAX_LABEL_BYTES and _HOST_LABEL.fullmatch(part) for part in parts)
    )


def registered_name(text: str, domain: str) -> str:
    """Return the full name under which `text` is registered in `domain`; raise `LocalError` saying what is wrong.

    A single label is taken to be in the domain; a name of several labels must say that it is.
    """
    name = text.strip().lower()
    if "." not in name.removesuffix("."):
        name = name.removesuffix(".") + "." + domain
    if not name.endswith("."):
        name += "."
    if not name.endswith("." + domain):
        raise LocalError(f"{text!r} is not in our domain; give a single word, or a name that ends in .{domain}")
    for part in name.removesuffix("." + domain).split("."):
        _check_host_label(part, text)
    if len(name) + 1 > MAX_NAME_BYTES:
        raise LocalError(f"the name {name[:40]}... has {len(name)} characters; {MAX_NAME_BYTES - 1} are allowed")
    return name


def _check_host_label(part: str, text: str) -> None:
    if not part:
        raise LocalError(f"{text!r} has an empty part; write it like c1 or c1.weave.local")
    if len(part) > MAX_LABEL_BYTES:
        raise LocalError(f"{part[:40]}... in {text[:80]!r} is longer than {MAX_LABEL_BYTES} characters")
    if not _HOST_LABEL.fullmatch(part):
        raise LocalError(f"{text!r} is no host name; use letters, digits, - and _, with no - at either end of a part")


def reverse_of(address: IPAddress) -> Labels:
    """Return the name below which the names of an address are found: `4.3.2.1.in-addr.arpa`."""
    return labels_of(address.reverse_pointer)


def reverse_network(labels: Labels) -> IPNetwork | None:
    """Return the addresses that a name in a reverse zone stands for; None where it stands for none.

    `4.3.2.1.in-addr.arpa` is 1.2.3.4/32, `2.1.in-addr.arpa` is 1.2.0.0/16; the same by nibbles in `ip6.arpa`.
    """
    digits = labels[-3::-1]
    if labels[-2:] == IN_ADDR_ARPA and len(digits) <= 4:
        return _network4(digits)
    if labels[-2:] == IP6_ARPA and len(digits) <= 32:
        return _network6(digits)
    return None


def _network4(digits: Labels) -> IPNetwork | None:
    number = 0
    for digit in digits:
        if not (digit.isdigit() and len(digit) <= 3 and int(digit) <= 255 and (digit == b"0" or digit[0] != 0x30)):
            return None
        number = number << 8 | int(digit)
    bits = 8 * len(digits)
    return IPv4Network((IPv4Address(number << 32 - bits), bits))


def _network6(digits: Labels) -> IPNetwork | None:
    number = 0
    for digit in digits:
        if digit not in _NIBBLES:
            return None
        number = number << 4 | _NIBBLES[digit]
    bits = 4 * len(digits)
    return IPv6Network((IPv6Address(number << 128 - bits), bits))


def reverse_apex_depth(served: IPNetwork) -> int:
    """Return how many labels the zones have that `served` falls into: the next octet or nibble below its prefix."""
    step = 8 if served.version == 4 else 4
    return 2 + -(-served.prefixlen // step)
