from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave import wire
from weave.dns import NameEntry, decode_name_entry, encode_name_entry
from weave.dns.entry import _key_of, check_registration
from weave.errors import LocalError
from weave.wire import WireError

ENTRY = NameEntry("c1.weave.local.", ip_address("10.32.0.1"), "abc")


@given(
    st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9_]{1,20}){0,3}\.", fullmatch=True),
    st.ip_addresses().map(lambda a: ip_address(a.packed)),
    st.text(st.characters(categories=("Lu", "Ll", "Nd")), max_size=64),
)
def test_entries_survive_the_wire(fqdn: str, address: object, container: str) -> None:
    entry = NameEntry(fqdn, ip_address(str(address)), container)
    if entry.address.is_loopback or entry.address.is_multicast or entry.address.is_unspecified:
        return
    assert decode_name_entry(*encode_name_entry(entry)) == entry


def test_the_same_registration_has_the_same_key() -> None:
    again = NameEntry("c1.weave.local.", ip_address("10.32.0.1"), "abc")
    assert encode_name_entry(ENTRY) == encode_name_entry(again)
    assert len(encode_name_entry(ENTRY)[0]) == 17


def _entry(*fields: wire.Plain) -> tuple[bytes, bytes]:
    """Return an entry with any fields, under the key that belongs to it."""
    value = wire.pack(list(fields))
    return _key_of(value), value


ADDRESS = b"\x0a\x20\0\1"


@pytest.mark.parametrize("entry", [
    pytest.param((encode_name_entry(ENTRY)[0], b""), id="empty"),
    pytest.param((b"n" + bytes(16), encode_name_entry(ENTRY)[1]), id="another key"),
    pytest.param((encode_name_entry(ENTRY)[0], encode_name_entry(ENTRY)[1] + b"\0"), id="trailing octet"),
    pytest.param(_entry("c1.weave.local.", ADDRESS), id="a field less"),
    pytest.param(_entry("c1.weave.local.", ADDRESS, "abc", 1), id="a field more"),
    pytest.param(_entry("C1.weave.local.", ADDRESS, "abc"), id="upper case"),
    pytest.param(_entry("c1.weave.local", ADDRESS, "abc"), id="no final dot"),
    pytest.param(_entry("c 1.weave.local.", ADDRESS, "abc"), id="blank"),
    pytest.param(_entry(".", ADDRESS, "abc"), id="the root"),
    pytest.param(_entry("a" * 64 + ".", ADDRESS, "abc"), id="a long label"),
    pytest.param(_entry("a." * 128, ADDRESS, "abc"), id="a long name"),
    pytest.param(_entry("c1.weave.local.", b"\x0a\x20\0", "abc"), id="three octets"),
    pytest.param(_entry("c1.weave.local.", b"\x7f\0\0\1", "abc"), id="loopback"),
    pytest.param(_entry("c1.weave.local.", b"\xe0\0\0\1", "abc"), id="multicast"),
    pytest.param(_entry("c1.weave.local.", bytes(16), "abc"), id="unspecified"),
    pytest.param(_entry("c1.weave.local.", ADDRESS, "a" * 129), id="a long container"),
    pytest.param(_entry("c1.weave.local.", ADDRESS, "a\n"), id="a control character"),
    pytest.param(_entry(1, ADDRESS, "abc"), id="no text"),
])
def test_anything_else_is_refused(entry: tuple[bytes, bytes]) -> None:
    with pytest.raises(WireError):
        decode_name_entry(*entry)


@given(st.binary(max_size=40), st.binary(max_size=200))
def test_noise_is_refused_by_one_error(key: bytes, value: bytes) -> None:
    with pytest.raises(WireError):
        decode_name_entry(key, value)


def test_bad_registrations_are_told_to_the_caller() -> None:
    check_registration("", ip_address("192.0.2.1"))
    with pytest.raises(LocalError, match="container id"):
        check_registration("a" * 129, ip_address("10.32.0.1"))
    with pytest.raises(LocalError, match=r"127\.0\.0\.1"):
        check_registration("a", ip_address("127.0.0.1"))
