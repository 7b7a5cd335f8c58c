"""Secrets of the sleeve derived from those of the mesh, and the keyed tags at its door. Pure.

    password key ── HKDF "sleeve" ─→ pre-shared key of the handshake
                                └─ BLAKE2s, with the receiver's static key ─→ tag key: whoever lacks the password is
                                   turned away by one hash, before any exchange of keys
"""

from collections.abc import Sequence
from hashlib import blake2s
from hmac import compare_digest

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from weave.net.sleeve.wire import TAG_BYTES, Key

PSK_BYTES = 32
_PERSON = b"sleeve"


def sleeve_psk(mesh_psk: bytes) -> bytes:
    """Return the pre-shared key of the sleeve, of no use for the control connections."""
    return HKDF(SHA256(), PSK_BYTES, salt=b"weave 3 sleeve", info=b"psk").derive(mesh_psk)


def tag_key(psk: bytes, receiver: Key) -> bytes:
    """Return the key of the tags on what is sent to a peer."""
    return blake2s(receiver, key=psk, person=_PERSON).digest()


def tag(key: bytes, data: bytes | memoryview) -> bytes:
    """Return the tag of some bytes."""
    return blake2s(data, key=key, digest_size=TAG_BYTES, person=_PERSON).digest()


def which_key(keys: Sequence[bytes], data: bytes, claimed: bytes) -> int | None:
    """Return the number of the key that the tag was made with, or None."""
    for number, key in enumerate(keys):
        if compare_digest(tag(key, data), claimed):
            return number
    return None
