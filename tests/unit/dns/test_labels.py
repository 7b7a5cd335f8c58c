from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.dns.labels import (
    is_registrable,
    labels_of,
    registered_name,
    reverse_apex_depth,
    reverse_network,
    reverse_of,
    text_of,
    wire_of,
)
from weave.errors import LocalError

DOMAIN = "weave.local."
ADDRESSES = st.ip_addresses()


@pytest.mark.parametrize(("text", "name"), [
    ("c1", "c1.weave.local."),
    ("c1.", "c1.weave.local."),
    (" C1 ", "c1.weave.local."),
    ("my_project_web_1", "my_project_web_1.weave.local."),
    ("c1.weave.local", "c1.weave.local."),
    ("C1.Weave.Local.", "c1.weave.local."),
    ("db.prod.weave.local", "db.prod.weave.local."),
    ("7", "7.weave.local."),
    ("a" * 63, "a" * 63 + ".weave.local."),
])
def test_names_are_completed_and_folded(text: str, name: str) -> None:
    assert registered_name(text, DOMAIN) == name


@pytest.mark.parametrize(("text", "says"), [
    ("c1.example.com", "is not in our domain"),
    ("web.prod", r"ends in \.weave\.local"),
    ("xweave.local.", "is not in our domain"),
    ("weave.local.", "is not in our domain"),
    ("", "empty part"),
    (".", "empty part"),
    ("a..weave.local", "empty part"),
    ("-c1", "no host name"),
    ("c1-", "no host name"),
    ("c 1", "no host name"),
    ("küche", "no host name"),
    ("c1\n", None),
    ("*", "no host name"),
    ("a" * 64, "longer than 63"),
    (".".join(["a" * 63] * 4) + ".weave.local", "characters"),
])
def test_bad_names_are_refused_in_words(text: str, says: str | None) -> None:
    if says is None:
        assert registered_name(text, DOMAIN) == "c1.weave.local."
        return
    with pytest.raises(LocalError, match=says):
        registered_name(text, DOMAIN)


@given(st.text(max_size=300))
def test_what_is_accepted_every_peer_accepts(text: str) -> None:
    try:
        name = registered_name(text, DOMAIN)
    except LocalError:
        return
    assert is_registrable(name)
    assert len(wire_of(labels_of(name))) <= 255
    assert registered_name(name, DOMAIN) == name


def test_text_escapes_what_would_mislead() -> None:
    assert text_of((b"a.b", b"\\", b"\xff x", b"c")) == "a\\046b.\\092.\\255\\032x.c."
    assert text_of(()) == "."


@given(ADDRESSES)
def test_reverse_names_stand_for_their_address(address: object) -> None:
    ip = ip_address(str(address).partition("%")[0])
    assert reverse_network(reverse_of(ip)) == ip_network(ip)


@pytest.mark.parametrize(("name", "network"), [
    ("in-addr.arpa", "0.0.0.0/0"),
    ("10.in-addr.arpa", "10.0.0.0/8"),
    ("32.10.in-addr.arpa", "10.32.0.0/16"),
    ("d.f.ip6.arpa", "fd00::/8"),
    ("256.in-addr.arpa", None),
    ("01.in-addr.arpa", None),
    ("0001.in-addr.arpa", None),
    ("1.1.1.1.1.in-addr.arpa", None),
    ("fd.ip6.arpa", None),
    ("g.ip6.arpa", None),
    ("example.com", None),
    ("arpa", None),
])
def test_reverse_network(name: str, network: str | None) -> None:
    assert reverse_network(labels_of(name)) == (None if network is None else ip_network(network))


@pytest.mark.parametrize(("served", "depth"), [
    ("10.32.0.0/12", 4), ("10.0.0.0/8", 3), ("10.1.2.0/24", 5), ("10.1.2.0/26", 6), ("0.0.0.0/0", 2),
    ("fd00::/8", 4), ("fd00::/62", 18),
])
def test_zones_begin_at_the_next_octet_or_nibble(served: str, depth: int) -> None:
    assert reverse_apex_depth(ip_network(served)) == depth
