"""Which key is derived from which, and the address a peer has inside WireGuard. Pure.

    static key of the identity ── HKDF "wireguard" ──→ WireGuard key of this peer (published, signed by the identity)
    key of the password ── HKDF "pact" ──→ pre-shared key of pacts
                             └─ HKDF, both WireGuard keys ──→ WireGuard's pre-shared key of a pair
    split keys of a pact, one a direction
      ├─ HKDF "confirm" ──→ MAC of the messages that end the agreement
      ├─ HKDF "probe"   ──→ MAC of probes
      └─ HKDF "esp", SPI ─→ 32 octets of AES-GCM and 4 of salt

WireGuard has a key of its own, because the kernel gives it to whoever may configure the network: that one must not be
able to speak for the peer in the mesh. It is derived and not random so that sessions outlive a restart of the router.
"""

from ipaddress import IPv6Address, IPv6Network

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from weave.names import PeerName, peer_name_to_bytes
from weave.noise.keys import KeyPair

KEY_BYTES = 32
ESP_KEY_BYTES = 36
_SALT = b"weave 3 encrypted links"
INNER_NETWORK = IPv6Network("fd77:6561:7665::/48")
"""Addresses of peers inside WireGuard; the octets after `fd` read `weave`."""


def wireguard_keys(static_private: bytes) -> KeyPair:
    """Return the WireGuard key of the peer with this static key.

    It is clamped (RFC 7748, 5), as the kernel keeps it: only so it is recognised there. The public key is the same.
    """
    key = bytearray(_derive(static_private, b"wireguard"))
    key[0] &= 0xF8
    key[31] = key[31] & 0x7F | 0x40
    return KeyPair.from_private(bytes(key))


def pact_key(password_key: bytes) -> bytes:
    """Return the pre-shared key of pacts: that of the mesh's handshakes serves these alone."""
    return _derive(password_key, b"pact")


def pair_key(password_key: bytes, one: bytes, other: bytes) -> bytes:
    """Return the pre-shared key of two peers, given their public WireGuard keys in either order."""
    return _derive(password_key, b"wireguard psk" + min(one, other) + max(one, other))


def confirm_key(split_key: bytes) -> bytes:
    """Return the key by which one end confirms an agreement."""
    return _derive(split_key, b"confirm")


def probe_key(split_key: bytes) -> bytes:
    """Return the key that authenticates probes in one direction."""
    return _derive(split_key, b"probe")


def esp_key(split_key: bytes, spi: int) -> bytes:
    """Return cipher key and salt of the association `spi`."""
    return _derive(split_key, b"esp" + spi.to_bytes(4), ESP_KEY_BYTES)


def inner_address(peer: PeerName) -> IPv6Address:
    """Return the address that a peer, and no other, has inside WireGuard."""
    return INNER_NETWORK[int.from_bytes(peer_name_to_bytes(peer))]


def _derive(secret: bytes, purpose: bytes, size: int = KEY_BYTES) -> bytes:
    return HKDF(SHA256(), size, salt=_SALT, info=purpose).derive(secret)
