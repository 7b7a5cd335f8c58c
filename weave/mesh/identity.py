"""Who a peer is: one seed, the two keys derived from it, and the name derived from the public one.

    seed (32 secret bytes, kept in the store)
      ├─ HKDF "signing" ─→ Ed25519 key: signs what the peer publishes ──hash──→ the 48-bit name
      └─ HKDF "static"  ─→ X25519 key: proves the peer in Noise handshakes
    binding = signature of the signing key over the static key: the pair belongs together

Every signature covers a context string first, so that bytes signed for one purpose prove nothing for another.
Invariant: a `PublicIdentity` that was decoded has a valid binding, so its static key speaks for its name, and that key
is of use in handshakes.
"""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from weave.errors import LocalError, RemoteError
from weave.names import PEER_NAME_BYTES, PeerName, peer_name_from_bytes
from weave.noise.keys import KeyPair, NoiseError

SEED_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
PUBLIC_IDENTITY_BYTES = KEY_BYTES + KEY_BYTES + SIGNATURE_BYTES

RECORD_CONTEXT = b"weave 3 record"
"""What `Identity.sign` signs unless told otherwise: something the peer publishes."""
_BINDING_CONTEXT = b"weave 3 static key"
_NAME_CONTEXT = b"weave 3 peer name\0"
_LOCALLY_ADMINISTERED = 0x02
_MULTICAST = 0x01
_ANYBODY = KeyPair.from_private(bytes(KEY_BYTES))
"""No secret of anybody: a static key that gives no exchange with this pair gives none with any."""


class IdentityError(RemoteError):
    """Bytes from outside that are no identity: the wrong length, or keys that do not belong together."""


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """What others know of a peer; make one with `decode` (checks the binding) or `Identity.public`."""

    signing_key: bytes
    static_key: bytes
    binding: bytes

    @property
    def name(self) -> PeerName:
        """Return the 48 bits others call this peer by: a unicast, locally administered MAC address."""
        octets = bytearray(hashlib.sha256(_NAME_CONTEXT + self.signing_key).digest()[:PEER_NAME_BYTES])
        octets[0] = (octets[0] | _LOCALLY_ADMINISTERED) & ~_MULTICAST & 0xFF
        return peer_name_from_bytes(bytes(octets))

    def verify(self, signature: bytes, data: bytes, context: bytes = RECORD_CONTEXT) -> bool:
        """Return whether this peer signed `data` in this context; never raises, whatever the bytes are."""
        try:
            Ed25519PublicKey.from_public_bytes(self.signing_key).verify(signature, _in_context(context, data))
        except (InvalidSignature, ValueError):
            return False
        return True

    def encode(self) -> bytes:
        """Return the 128 bytes that stand for this identity on the wire and in the store."""
        return self.signing_key + self.static_key + self.binding

    @classmethod
    def decode(cls, raw: bytes) -> "PublicIdentity":
        """Return the identity that `encode` wrote; raise `IdentityError` where its keys are of no use together."""
        if len(raw) != PUBLIC_IDENTITY_BYTES:
            raise IdentityError(f"an identity has {PUBLIC_IDENTITY_BYTES} bytes, this one has {len(raw)}")
        identity = cls(raw[:KEY_BYTES], raw[KEY_BYTES : 2 * KEY_BYTES], raw[2 * KEY_BYTES :])
        if not identity.verify(identity.binding, identity.static_key, _BINDING_CONTEXT):
            raise IdentityError(f"the static key of {identity.name} is not bound to its signing key")
        try:
            _ANYBODY.exchange(identity.static_key)
        except NoiseError as exc:
            raise IdentityError(f"the static key of {identity.name} is of low order: no handshake can be had") from exc
        return identity


def static_key_of(encoded: bytes) -> bytes:
    """Return the static key in an encoded identity that was checked before (the mesh pins no other)."""
    return encoded[KEY_BYTES : 2 * KEY_BYTES]


class Identity:
    """The secret side of a peer: signs for it and proves it in handshakes."""

    __slots__ = ("_signing_key", "public", "static_keys")

    def __init__(self, signing_key: Ed25519PrivateKey, static_keys: KeyPair) -> None:
        self._signing_key = signing_key
        self.static_keys = static_keys
        binding = self.sign(static_keys.public, _BINDING_CONTEXT)
        self.public = PublicIdentity(signing_key.public_key().public_bytes_raw(), static_keys.public, binding)

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Derive the identity of a 32-byte secret seed; the same seed is the same peer."""
        if len(seed) != SEED_BYTES:
            raise LocalError(f"the seed of an identity has {SEED_BYTES} bytes, this one has {len(seed)}")
        signing_key = Ed25519PrivateKey.from_private_bytes(_derive(seed, b"signing"))
        return cls(signing_key, KeyPair.from_private(_derive(seed, b"static")))

    @property
    def name(self) -> PeerName:
        """Return the name derived from the public signing key."""
        return self.public.name

    @property
    def static_private(self) -> bytes:
        """Return the X25519 private key (the data tunnel proves itself with it too); never log it."""
        return self.static_keys.private

    def sign(self, data: bytes, context: bytes = RECORD_CONTEXT) -> bytes:
        """Return the signature of `data` in a context; the context must not contain a zero byte."""
        return self._signing_key.sign(_in_context(context, data))

    def __repr__(self) -> str:
        return f"<Identity {self.name}>"


def _derive(seed: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=b"weave 3 identity", info=purpose).derive(seed)


def _in_context(context: bytes, data: bytes) -> bytes:
    """Return what is really signed; the zero byte ends the context, so no two pairs give the same bytes."""
    assert b"\0" not in context, "a signature context must not contain a zero byte"
    return context + b"\0" + data
