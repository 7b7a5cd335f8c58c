"""XFRM's messages: laid out as linux/xfrm.h says, field by field, and read back."""

import socket
import struct
from ipaddress import ip_address

import pytest

from weave.netlink import codec, xfrm
from weave.netlink.codec import GarbledNetlink, read_attributes
from weave.netlink.xfrm import Association, PolicyKey, PolicyState

ONE, TWO = ip_address("192.0.2.1"), ip_address("192.0.2.2")
SIX, SEVEN = ip_address("2001:db8::6"), ip_address("2001:db8::7")
ENDS = [(ONE, TWO), (SIX, SEVEN)]
KEY = bytes(range(36))


@pytest.mark.parametrize(("source", "destination"), ENDS)
def test_an_association_is_read_as_it_was_packed(source: object, destination: object) -> None:
    body = xfrm.add_association(Association(source, destination, 0x1234, KEY)).body  # type: ignore[arg-type]
    state = xfrm.read_association(body)
    assert (state.source, state.destination, state.spi, state.reqid) == (source, destination, 0x1234, xfrm.REQID)


def test_an_association_is_esp_in_transport_mode_with_gcm_and_esn() -> None:
    body = xfrm.add_association(Association(ONE, TWO, 0x1234, KEY)).body
    spi, protocol = struct.unpack_from(">IB", body, 56 + 16)
    family, mode, window, flags = struct.unpack_from("=HBBB", body, 212)
    assert (spi, protocol, family, mode) == (0x1234, socket.IPPROTO_ESP, socket.AF_INET, 0)
    assert (window, flags) == (0, xfrm.XFRM_STATE_ESN)
    attributes = read_attributes(body, xfrm.STATE_BYTES)
    name, bits, tag = struct.unpack_from("=64sII", attributes[xfrm.XFRMA_ALG_AEAD])
    assert (name.rstrip(b"\0"), bits, tag) == (b"rfc4106(gcm(aes))", 288, 128)
    assert attributes[xfrm.XFRMA_ALG_AEAD][72:] == KEY
    words, *_, window = struct.unpack_from("=6I", attributes[xfrm.XFRMA_REPLAY_ESN_VAL])
    assert (32 * words, window) == (xfrm.REPLAY_WINDOW, xfrm.REPLAY_WINDOW)
    assert len(attributes[xfrm.XFRMA_REPLAY_ESN_VAL]) == 24 + 4 * words


def test_an_association_wears_out_by_octets_and_by_nothing_else() -> None:
    body = xfrm.add_association(Association(ONE, TWO, 0x1234, KEY)).body
    soft_bytes, hard_bytes, soft_packets, hard_packets, *seconds = struct.unpack_from("=8Q", body, 96)
    assert (soft_bytes, hard_bytes) == (xfrm.SOFT_BYTES, xfrm.HARD_BYTES)
    assert soft_packets == hard_packets == (1 << 64) - 1
    assert seconds == [0, 0, 0, 0]


@pytest.mark.parametrize("outbound", [True, False])
@pytest.mark.parametrize(("source", "destination"), ENDS)
def test_a_policy_is_read_as_it_was_packed(source: object, destination: object, outbound: bool) -> None:
    key = PolicyKey(outbound, source, destination, 6784)  # type: ignore[arg-type]
    message = xfrm.set_policy(key, 77)
    assert xfrm.read_policy(message.body) == PolicyState(key, xfrm.REQID, 77)
    assert len(message.body) == xfrm.POLICY_BYTES + 4 + xfrm.TEMPLATE_BYTES


def test_a_policy_is_about_udp_between_two_hosts_to_one_port() -> None:
    body = xfrm.set_policy(PolicyKey(True, ONE, TWO, 6784), 77).body
    assert body[:4] == TWO.packed
    assert body[16:20] == ONE.packed
    assert struct.unpack_from(">HHHH", body, 32) == (6784, 0xFFFF, 0, 0)
    assert struct.unpack_from("=HBBB", body, 40) == (socket.AF_INET, 32, 32, socket.IPPROTO_UDP)


def test_its_template_is_required_and_names_the_association() -> None:
    body = xfrm.set_policy(PolicyKey(True, ONE, TWO, 6784), 77).body
    template = read_attributes(body, xfrm.POLICY_BYTES)[xfrm.XFRMA_TMPL]
    assert struct.unpack_from(">IB", template, 16) == (77, socket.IPPROTO_ESP)
    reqid, mode, share, optional = struct.unpack_from("=IBBB", template, 44)
    assert (reqid, mode, share, optional) == (xfrm.REQID, 0, 0, 0)


def test_policies_of_others_are_not_of_our_kind() -> None:
    body = bytearray(xfrm.set_policy(PolicyKey(True, ONE, TWO, 6784), 77).body)
    body[44] = socket.IPPROTO_TCP
    assert xfrm.read_policy(bytes(body)) is None
    assert xfrm.read_policy(bytes(body[:xfrm.POLICY_BYTES])) is None


def test_removal_names_what_was_added() -> None:
    association = xfrm.delete_association(TWO, 0x1234).body
    assert (association[:4], association[16:20], len(association)) == (TWO.packed, b"\0\0\x12\x34", 24)
    key = PolicyKey(True, ONE, TWO, 6784)
    policy = xfrm.delete_policy(key).body
    assert (policy[:56], policy[60], len(policy)) == (xfrm.set_policy(key, 1).body[:56], xfrm.XFRM_POLICY_OUT, 64)


@pytest.mark.parametrize("hard", [True, False])
def test_what_expires_is_named(hard: bool) -> None:
    state = xfrm.add_association(Association(ONE, TWO, 0x1234, KEY)).body[:xfrm.STATE_BYTES]
    assert xfrm.read_expire(state + bytes([hard]) + bytes(7)) == xfrm.Expired(ONE, TWO, 0x1234, hard)


def test_what_lacks_is_named() -> None:
    selector = xfrm.set_policy(PolicyKey(True, ONE, TWO, 6784), 77).body[:56]
    body = bytes(24 + 16) + selector + bytes(xfrm.ACQUIRE_BYTES - 96)
    assert xfrm.read_acquire(body) == xfrm.Acquire(ONE, TWO)


@pytest.mark.parametrize("read", [xfrm.read_association, xfrm.read_policy, xfrm.read_expire, xfrm.read_acquire])
def test_what_is_cut_off_is_refused(read: object) -> None:
    with pytest.raises(GarbledNetlink):
        read(bytes(60))  # type: ignore[operator]


def test_an_unknown_family_is_refused() -> None:
    body = bytearray(xfrm.add_association(Association(ONE, TWO, 0x1234, KEY)).body)
    body[212] = 99
    with pytest.raises(GarbledNetlink):
        xfrm.read_association(bytes(body))


def test_keys_are_not_shown() -> None:
    assert KEY.hex() not in repr(Association(ONE, TWO, 1, KEY))
    assert repr(KEY)[2:10] not in repr(Association(ONE, TWO, 1, KEY))


def test_requests_have_the_numbers_of_the_header() -> None:
    kinds = [xfrm.dump_associations().kind, xfrm.dump_policies().kind, xfrm.delete_association(TWO, 1).kind]
    assert kinds == [0x12, 0x15, 0x11]
    assert codec.HEADER.size == 16
