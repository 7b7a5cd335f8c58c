"""The text of addresses that can be dialled: `host`, `host:port`, `10.0.0.2`, `[fd00::2]:6783`.

Two texts that mean one address have one *key* (`host:port`, lower case, always with a port), by which the planner
recognises them. Names are not resolved here. What a person typed may be a name; what a peer claims must be an address,
so that no peer can make us ask the DNS.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from weave.errors import LocalError

LONGEST_HOST = 253
"""The longest name the DNS has; an address with a scope is shorter."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LAST_LABEL_IS_NUMBER = re.compile(r"(.*\.)?\d+")
"""What looks like an IPv4 address, and is none if it comes here: 10.0.0 or 10.0.0.256."""
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?")


def dial_key(text: str, default_port: int) -> str:
    """Return the key of an address that a person typed; raise `LocalError` where it cannot be one."""
    host, port = _split(text.strip().lower(), default_port)
    address = _literal(host)
    if address is not None:
        return _join(address, port)
    if not _is_host_name(host):
        raise LocalError(f"{text!r} is not an address to connect to; write it like 192.0.2.7, [fd00::7]:6783 or host1")
    return f"{host}:{port}"


@lru_cache(maxsize=1 << 14)
def gossiped_key(text: str) -> str | None:
    """Return the key of an `ip:port` that a peer claims; None where it is none or can belong to no peer."""
    try:
        host, port = _split(text, 0)
    except LocalError:
        return None
    address = _literal(host)
    if address is None or port == 0 or ip_address(address).is_multicast or ip_address(address).is_unspecified:
        return None
    return _join(address, port)


def key_host(key: str) -> str:
    """Return the host of a key, without brackets."""
    return key.rpartition(":")[0].strip("[]")


def _is_host_name(host: str) -> bool:
    """Tell whether the DNS or the hosts file could know a name."""
    if len(host) > LONGEST_HOST or _LAST_LABEL_IS_NUMBER.fullmatch(host):
        return False
    return _HOST_NAME.fullmatch(host.removesuffix(".")) is not None


def _split(text: str, default_port: int) -> tuple[str, int]:
    """Split into host and port."""
    if bracketed := _BRACKETED.fullmatch(text):
        return bracketed[1], default_port if bracketed[2] is None else _port(bracketed[2], text)
    host, colon, port = text.partition(":")
    if not colon or ":" in port:
        return text, default_port
    return host, _port(port, text)


def _port(text: str, whole: str) -> int:
    """Return a port number."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 1 << 16:
        return int(text)
    raise LocalError(f"{whole!r} has no port number (1 to 65535) after the colon")


def _literal(host: str) -> str | None:
    """Return an IP address in its one canonical form; None where the host is none."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _join(address: str, port: int) -> str:
    """Write an IP address and a port."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
