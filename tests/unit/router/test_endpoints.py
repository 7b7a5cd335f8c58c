"""Endpoints in gossip: what we announce is what others read, and nonsense is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.addresses import parse_interface
from weave.errors import RemoteError
from weave.names import PeerName
from weave.net import Endpoint
from weave.router.endpoints import choose, decode_endpoint, encode_endpoint
from weave.wire import pack

OWNER = PeerName("02:00:00:00:00:01")
ENDPOINT = Endpoint(mac="02:00:00:00:00:0a", addresses=(parse_interface("10.32.0.1/12"), parse_interface("fd00::1/64")),
                    container="c0ffee", interface="ethwe", peer=OWNER,
                    labels={"io.kubernetes.pod.name": "web-0", "app": "web"})


def test_an_endpoint_survives_the_way():
    assert decode_endpoint(OWNER, *encode_endpoint(ENDPOINT)) == ENDPOINT


def test_fields_of_a_later_version_are_skipped():
    key, _ = encode_endpoint(ENDPOINT)
    value = pack({"a": ["10.32.0.1/12"], "c": "c", "i": "eth0", "later": {"app": "web"}})
    assert decode_endpoint(OWNER, key, value).container == "c"


@pytest.mark.parametrize(("key", "value"), [
    (b"", pack({})), (bytes(6), encode_endpoint(ENDPOINT)[1]), (b"\x01\0\0\0\0\1", encode_endpoint(ENDPOINT)[1]),
    (b"\x02\0\0\0\0\1", pack([])), (b"\x02\0\0\0\0\1", pack({"a": ["10.0.0.1"], "c": "", "i": ""})),
    (b"\x02\0\0\0\0\1", pack({"a": ["10.0.0.1/8"] * 65, "c": "", "i": ""})),
    (b"\x02\0\0\0\0\1", pack({"a": [], "c": "", "i": "", "l": {"no key": "web"}})),
    (b"\x02\0\0\0\0\1", pack({"a": [], "c": "", "i": "", "l": {f"k{n}": "" for n in range(65)}})),
    (b"\x02\0\0\0\0\1", pack({"a": [], "c": "", "i": "", "l": []})),
    (b"\x02\0\0\0\0\1", pack({"a": [1], "c": "", "i": ""})), (b"\x02\0\0\0\0\1", b"\xc1"),
])
def test_nonsense_is_refused(key, value):
    with pytest.raises(RemoteError):
        decode_endpoint(OWNER, key, value)


@given(st.binary(max_size=8), st.binary(max_size=64))
def test_a_decoder_raises_one_type(key, value):
    try:
        decode_endpoint(OWNER, key, value)
    except RemoteError:
        return


def claimed(peer, mac, *addresses):
    return replace(ENDPOINT, peer=PeerName(f"02:00:00:00:00:0{peer}"), mac=f"02:00:00:00:00:{mac}",
                   addresses=tuple(map(parse_interface, addresses)))


def test_an_address_of_a_reachable_peer_is_no_longer_that_of_one_that_is_gone():
    gone, heir = claimed(1, "aa", "10.32.0.1/12", "10.32.0.2/12"), claimed(2, "bb", "10.32.0.1/12")
    assert choose([gone, heir], {heir.peer}) == ([claimed(1, "aa", "10.32.0.2/12"), heir], 0)
    assert choose([gone, heir], {gone.peer}) == ([gone, claimed(2, "bb")], 0)
    assert choose([gone, heir], set()) == ([gone, heir], 0)


def test_of_two_claims_of_a_mac_that_of_a_reachable_peer_counts():
    gone, heir = claimed(1, "aa", "10.32.0.1/12"), claimed(2, "aa", "10.32.0.2/12")
    assert choose([gone, heir], {heir.peer}) == ([heir], 1)
    assert choose([gone, heir], set()) == ([gone], 1)
