"""WireGuard's messages: as pyroute2 reads what we pack, and as we read what comes back."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from weave.netlink import codec, generic, wireguard
from weave.netlink.codec import GarbledNetlink
from weave.netlink.wireguard import Device, Peer, merge_devices, read_device

FAMILY, NAME = 33, "weave-wg"
KEY, OTHER, PSK = b"k" * 32, b"o" * 32, b"p" * 32
PEER = Peer(KEY, PSK, (ip_address("192.0.2.7"), 6785), frozenset({ip_network("fd77::7/128")}), 25)


def decoded(message: codec.Message) -> Any:
    from pyroute2.netlink.generic.wireguard import wgmsg

    body = message.body
    found = wgmsg(codec.HEADER.pack(16 + len(body), message.kind, message.flags, 1, 0) + body)
    found.decode()
    return found


def test_a_device_gets_its_key_and_its_port() -> None:
    found = decoded(wireguard.set_device(FAMILY, NAME, KEY, 6785))
    assert (found["cmd"], found.get_attr("WGDEVICE_A_IFNAME"), found.get_attr("WGDEVICE_A_LISTEN_PORT")) == (
        wireguard.WG_CMD_SET_DEVICE, NAME, 6785)
    assert dict(found["attrs"])["WGDEVICE_A_PRIVATE_KEY"]


def test_a_peer_is_set_as_a_whole() -> None:
    [message] = wireguard.set_peers(FAMILY, NAME, [PEER])
    [peer] = decoded(message).get_attr("WGDEVICE_A_PEERS")
    assert peer.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") == 25
    assert peer.get_attr("WGPEER_A_FLAGS") == wireguard.WGPEER_F_REPLACE_ALLOWEDIPS
    endpoint = peer.get_attr("WGPEER_A_ENDPOINT")
    assert (endpoint["addr"], endpoint["port"]) == ("192.0.2.7", 6785)
    [allowed] = peer.get_attr("WGPEER_A_ALLOWEDIPS")
    assert allowed.get_attr("WGALLOWEDIP_A_CIDR_MASK") == 128


def test_a_peer_is_removed_by_its_key() -> None:
    [message] = wireguard.remove_peers(FAMILY, NAME, [KEY])
    [peer] = decoded(message).get_attr("WGDEVICE_A_PEERS")
    assert peer.get_attr("WGPEER_A_FLAGS") == wireguard.WGPEER_F_REMOVE_ME


def test_many_peers_take_several_messages() -> None:
    peers = [Peer(index.to_bytes(32)) for index in range(300)]
    messages = wireguard.set_peers(FAMILY, NAME, peers)
    assert len(messages) == 3
    assert all(len(message.body) < 65536 for message in messages)
    read = merge_devices(read_device(message.body) for message in messages)
    assert read is not None
    assert {peer.public_key for peer in read.peers} == {peer.public_key for peer in peers}


@pytest.mark.parametrize("endpoint", [("192.0.2.7", 1), ("2001:db8::7", 65535)])
def test_what_is_packed_is_read(endpoint: tuple[str, int]) -> None:
    peer = Peer(KEY, PSK, (ip_address(endpoint[0]), endpoint[1]), PEER.allowed | {ip_network("10.0.0.0/8")}, 3)
    [message] = wireguard.set_peers(FAMILY, NAME, [peer])
    assert read_device(message.body).peers == (peer,)


def test_a_peer_cut_in_two_answers_is_one() -> None:
    first = Device(NAME, KEY, 6785, (PEER, Peer(OTHER, allowed=frozenset({ip_network("fd77::8/128")}))))
    second = Device(NAME, b"", 0, (Peer(OTHER, allowed=frozenset({ip_network("fd77::9/128")})),))
    whole = merge_devices([first, second])
    assert whole is not None
    assert (whole.port, len(whole.peers), len(whole.peers[1].allowed)) == (6785, 2, 2)
    assert merge_devices([]) is None


def test_a_device_without_a_key_has_none() -> None:
    body = wireguard.set_device(FAMILY, NAME, bytes(32), 1).body
    assert read_device(body).private_key == b""


@pytest.mark.parametrize("attributes", [
    codec.attribute(wireguard.WGDEVICE_A_PRIVATE_KEY, b"short"),
    codec.nested(wireguard.WGDEVICE_A_PEERS, codec.nested(0, codec.attribute(wireguard.WGPEER_A_PUBLIC_KEY, b"short"))),
    codec.nested(wireguard.WGDEVICE_A_PEERS, codec.nested(
        0, codec.attribute(wireguard.WGPEER_A_PUBLIC_KEY, KEY), codec.attribute(wireguard.WGPEER_A_ENDPOINT, b"odd"))),
    codec.nested(wireguard.WGDEVICE_A_PEERS, codec.nested(
        0, codec.attribute(wireguard.WGPEER_A_PUBLIC_KEY, KEY),
        codec.nested(wireguard.WGPEER_A_ALLOWEDIPS, codec.nested(
            0, codec.attribute(wireguard.WGALLOWEDIP_A_IPADDR, bytes(4)),
            codec.u8(wireguard.WGALLOWEDIP_A_CIDR_MASK, 33))))),
])
def test_nonsense_is_refused(attributes: bytes) -> None:
    with pytest.raises(GarbledNetlink):
        read_device(generic.GENERIC.pack(0, 1) + attributes)


def test_keys_are_not_shown() -> None:
    assert "p" * 8 not in repr(PEER)
    assert "k" * 8 not in repr(Device(NAME, KEY, 1, ()))


def test_a_family_is_found_by_name() -> None:
    assert b"wireguard\0" in generic.get_family("wireguard").body
    answer = generic.GENERIC.pack(1, 2) + codec.u16(generic.CTRL_ATTR_FAMILY_ID, 33)
    assert generic.read_family(answer) == 33
    with pytest.raises(GarbledNetlink):
        generic.read_family(generic.GENERIC.pack(1, 2))
