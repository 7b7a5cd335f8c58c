"""Build and read the messages of WireGuard's generic netlink family. Pure.

Numbers from linux/wireguard.h. A device is configured by its name; peers are known by their public key. The kernel
cuts a long list of peers, even the list of addresses of one peer, into several answers: `read_device` reads one of
them, `merge_devices` puts them together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from socket import AF_INET, AF_INET6
from struct import Struct

from weave.addresses import IPAddress, IPNetwork
from weave.netlink import codec
from weave.netlink.codec import GarbledNetlink, Message, read_attributes, read_list, read_text
from weave.netlink.generic import GENERIC

FAMILY = "wireguard"
KIND = "wireguard"
"""As a kind of link."""
VERSION = 1
WG_CMD_GET_DEVICE = 0
WG_CMD_SET_DEVICE = 1
WGDEVICE_A_IFNAME = 2
WGDEVICE_A_PRIVATE_KEY = 3
WGDEVICE_A_LISTEN_PORT = 6
WGDEVICE_A_PEERS = 8
WGPEER_A_PUBLIC_KEY = 1
WGPEER_A_PRESHARED_KEY = 2
WGPEER_A_FLAGS = 3
WGPEER_A_ENDPOINT = 4
WGPEER_A_KEEPALIVE = 5
WGPEER_A_LAST_HANDSHAKE_TIME = 6
WGPEER_A_RX_BYTES = 7
WGPEER_A_TX_BYTES = 8
WGPEER_A_ALLOWEDIPS = 9
WGPEER_F_REMOVE_ME = 1
WGPEER_F_REPLACE_ALLOWEDIPS = 2
WGALLOWEDIP_A_FAMILY = 1
WGALLOWEDIP_A_IPADDR = 2
WGALLOWEDIP_A_CIDR_MASK = 3
PEERS_IN_MESSAGE = 128
"""A nest has at most 65,535 octets; a peer takes about 150."""
KEY_BYTES = 32
_ENDPOINT4 = Struct("=H2s4s8x")
_ENDPOINT6 = Struct("=H2sI16sI")
_TIMESPEC = Struct("=qq")
_U64 = Struct("=Q")
_U16 = Struct("=H")


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer of a WireGuard device, as it should be or as the kernel has it."""

    public_key: bytes
    preshared_key: bytes = field(repr=False, default=bytes(KEY_BYTES))
    endpoint: tuple[IPAddress, int] | None = None
    allowed: frozenset[IPNetwork] = frozenset()
    keepalive_s: int = 0
    """0: never."""
    last_handshake_s: int = 0
    """On the wall clock of the kernel; 0: never."""
    received: int = 0
    """Octets."""
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A WireGuard device."""

    name: str
    private_key: bytes = field(repr=False)
    """Empty: it has none."""
    port: int
    peers: tuple[Peer, ...]


def get_device(family: int, name: str) -> Message:
    """Ask for a device and all its peers; the answer is a dump."""
    return Message(family, 0, GENERIC.pack(WG_CMD_GET_DEVICE, VERSION) + codec.text(WGDEVICE_A_IFNAME, name))


def set_device(family: int, name: str, private_key: bytes, port: int) -> Message:
    """Give a device its key and its port; peers stay as they are."""
    return _set(family, name, codec.attribute(WGDEVICE_A_PRIVATE_KEY, private_key),
                codec.u16(WGDEVICE_A_LISTEN_PORT, port))


def set_peers(family: int, name: str, peers: Sequence[Peer]) -> list[Message]:
    """Add peers, or change those there are; a peer without endpoint keeps the one it has."""
    return _in_slices(family, name, [_peer(peer) for peer in peers])


def remove_peers(family: int, name: str, public_keys: Sequence[bytes]) -> list[Message]:
    """Remove peers, with their keys and sessions."""
    gone = codec.u32(WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME)
    return _in_slices(family, name, [codec.attribute(WGPEER_A_PUBLIC_KEY, key) + gone for key in public_keys])


def _in_slices(family: int, name: str, peers: Sequence[bytes]) -> list[Message]:
    return [
        _set(family, name, codec.nested(WGDEVICE_A_PEERS, *(
            codec.nested(index, peer) for index, peer in enumerate(peers[start:start + PEERS_IN_MESSAGE]))))
        for start in range(0, len(peers), PEERS_IN_MESSAGE)
    ]


def _set(family: int, name: str, *attributes: bytes) -> Message:
    return Message(family, 0, GENERIC.pack(WG_CMD_SET_DEVICE, VERSION) + codec.text(WGDEVICE_A_IFNAME, name)
                   + b"".join(attributes))


def _peer(peer: Peer) -> bytes:
    allowed = sorted(peer.allowed, key=lambda net: (net.version, net))
    endpoint = b"" if peer.endpoint is None else codec.attribute(WGPEER_A_ENDPOINT, _socket_address(*peer.endpoint))
    return b"".join((
        codec.attribute(WGPEER_A_PUBLIC_KEY, peer.public_key),
        codec.attribute(WGPEER_A_PRESHARED_KEY, peer.preshared_key),
        codec.u32(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS),
        endpoint,
        codec.u16(WGPEER_A_KEEPALIVE, peer.keepalive_s),
        codec.nested(WGPEER_A_ALLOWEDIPS, *(codec.nested(index, _allowed(net)) for index, net in enumerate(allowed))),
    ))


def _allowed(network: IPNetwork) -> bytes:
    return b"".join((
        codec.u16(WGALLOWEDIP_A_FAMILY, AF_INET if network.version == 4 else AF_INET6),
        codec.attribute(WGALLOWEDIP_A_IPADDR, network.network_address.packed),
        codec.u8(WGALLOWEDIP_A_CIDR_MASK, network.prefixlen),
    ))


def _socket_address(address: IPAddress, port: int) -> bytes:
    if isinstance(address, IPv4Address):
        return _ENDPOINT4.pack(AF_INET, port.to_bytes(2), address.packed)
    return _ENDPOINT6.pack(AF_INET6, port.to_bytes(2), 0, address.packed, int(address.scope_id or 0))


def read_device(body: bytes) -> Device:
    """Read one answer of the dump."""
    codec.read_fixed(GENERIC, body)
    found = read_attributes(body, GENERIC.size)
    key = found.get(WGDEVICE_A_PRIVATE_KEY, b"")
    if len(key) not in (0, KEY_BYTES):
        raise GarbledNetlink(f"WireGuard key of {len(key)} octets")
    return Device(read_text(found.get(WGDEVICE_A_IFNAME)), b"" if key == bytes(KEY_BYTES) else key,
                  _number(_U16, found.get(WGDEVICE_A_LISTEN_PORT)),
                  tuple(_read_peer(item) for item in read_list(found.get(WGDEVICE_A_PEERS, b""))))


def merge_devices(pieces: Iterable[Device]) -> Device | None:
    """Put the answers of one dump together: the first names the device, all have peers; None where there is none."""
    whole: Device | None = None
    peers: dict[bytes, Peer] = {}
    for piece in pieces:
        whole = whole or piece
        for peer in piece.peers:
            known = peers.setdefault(peer.public_key, peer)
            if known is not peer:  # the rest of its addresses
                peers[peer.public_key] = replace(known, allowed=known.allowed | peer.allowed)
    return None if whole is None else replace(whole, peers=tuple(peers.values()))


def _read_peer(payload: bytes) -> Peer:
    found = read_attributes(payload)
    key = found.get(WGPEER_A_PUBLIC_KEY, b"")
    preshared = found.get(WGPEER_A_PRESHARED_KEY, bytes(KEY_BYTES))
    if len(key) != KEY_BYTES or len(preshared) != KEY_BYTES:
        raise GarbledNetlink("WireGuard peer with keys of another length than 32 octets")
    return Peer(
        key, preshared, _read_socket_address(found.get(WGPEER_A_ENDPOINT)),
        frozenset(_read_allowed(item) for item in read_list(found.get(WGPEER_A_ALLOWEDIPS, b""))),
        _number(_U16, found.get(WGPEER_A_KEEPALIVE)), _number(_TIMESPEC, found.get(WGPEER_A_LAST_HANDSHAKE_TIME)),
        _number(_U64, found.get(WGPEER_A_RX_BYTES)), _number(_U64, found.get(WGPEER_A_TX_BYTES)),
    )


def _read_allowed(payload: bytes) -> IPNetwork:
    found = read_attributes(payload)
    address, mask = found.get(WGALLOWEDIP_A_IPADDR, b""), found.get(WGALLOWEDIP_A_CIDR_MASK, b"")
    if len(address) not in (4, 16) or len(mask) != 1 or mask[0] > 8 * len(address):
        raise GarbledNetlink("WireGuard address that is none")
    try:
        return ip_network((address, mask[0]))
    except ValueError as exc:
        raise GarbledNetlink(f"WireGuard address with a prefix of {mask[0]} bits") from exc


def _read_socket_address(payload: bytes | None) -> tuple[IPAddress, int] | None:
    if payload is None:
        return None
    if len(payload) == _ENDPOINT4.size:
        _, port, address = _ENDPOINT4.unpack(payload)
        return IPv4Address(address), int.from_bytes(port)
    if len(payload) == _ENDPOINT6.size:
        _, port, _, address, _ = _ENDPOINT6.unpack(payload)
        return IPv6Address(address), int.from_bytes(port)
    raise GarbledNetlink(f"WireGuard endpoint of {len(payload)} octets")


def _number(layout: Struct, payload: bytes | None) -> int:
    if payload is None:
        return 0
    if len(payload) != layout.size:
        raise GarbledNetlink(f"WireGuard number of {len(payload)} octets where {layout.size} are due")
    return int(layout.unpack(payload)[0])
