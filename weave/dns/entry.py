"""A name as it is gossiped: one entry of the channel `dns` for each (container, name, address).

The key is derived from the value, so that publishing the same registration twice changes nothing, and so that an
entry under a wrong key is recognised as bad. The decoder accepts exactly what the encoder makes.
"""

from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address

from weave.addresses import IPAddress
from weave.dns.labels import is_registrable
from weave.dns.limits import MAX_CONTAINER_ID
from weave.errors import LocalError
from weave.wire import WireError, expect_bytes, expect_list, expect_str, pack, unpack

_KEY_PREFIX = b"n"
_KEY_DIGEST_BYTES = 16
_MAX_VALUE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class NameEntry:
    """One registration: this name has this address, because of this container."""

    fqdn: str
    """Lower-case, with the final dot."""
    address: IPAddress
    container: str
    """Whatever the caller knows the container by; "" for what was added for something outside."""


def encode_name_entry(entry: NameEntry) -> tuple[bytes, bytes]:
    """Return the key and the value of an entry."""
    value = pack([entry.fqdn, entry.address.packed, entry.container])
    return _key_of(value), value


def decode_name_entry(key: bytes, value: bytes) -> NameEntry:
    """Return the entry that a peer published; raise `WireError` for anything that `encode_name_entry` does not make."""
    fields = expect_list(unpack(value, max_bytes=_MAX_VALUE_BYTES, max_items=3), "name entry", size=3)
    fqdn = expect_str(fields[0], "name")
    address = _address(expect_bytes(fields[1], "address of a name", most=16))
    container = expect_str(fields[2], "container of a name", most=MAX_CONTAINER_ID)
    if not is_registrable(fqdn):
        raise WireError(f"{fqdn!r} is no host name in lower case")
    if is_misleading(address):
        raise WireError(f"{fqdn} claims the address {address}")
    entry = NameEntry(fqdn, address, container)
    if (key, value) != encode_name_entry(entry):
        raise WireError(f"the entry of {fqdn} is not written in the one way it should be")
    return entry


def check_registration(container: str, address: IPAddress) -> None:
    """Raise `LocalError` for a container identifier or an address that no peer would accept."""
    if len(container) > MAX_CONTAINER_ID or not container.isprintable():
        raise LocalError(f"the container id {container[:40]!r} should be up to {MAX_CONTAINER_ID} printable characters")
    if is_misleading(address):
        raise LocalError(f"{address} is not an address at which others could reach a container")


def is_misleading(address: IPAddress) -> bool:
    """Say whether an address would lead everybody to themselves, to a group or to nowhere."""
    return address.is_loopback or address.is_multicast or address.is_unspecified


def _key_of(value: bytes) -> bytes:
    return _KEY_PREFIX + blake2b(value, digest_size=_KEY_DIGEST_BYTES).digest()


def _address(packed: bytes) -> IPAddress:
    if len(packed) == 4:
        return IPv4Address(packed)
    if len(packed) == 16:
        return IPv6Address(packed)
    raise WireError("address of a name should be 4 or 16 bytes")
