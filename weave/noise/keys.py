"""X25519 key pairs, and the one error of the Noise modules.

A `KeyPair` holds the loaded key object beside the bytes: loading costs as much as an exchange does.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from weave.errors import RemoteError

DH_BYTES = 32


class NoiseError(RemoteError):
    """A Noise message that does not authenticate, has the wrong shape, or holds a key that is none."""


class KeyPair:
    """An X25519 private key with its public half."""

    __slots__ = ("_key", "public")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def from_private(cls, private: bytes) -> "KeyPair":
        """Return the pair of 32 secret bytes."""
        assert len(private) == DH_BYTES, "an X25519 private key has 32 bytes"
        return cls(X25519PrivateKey.from_private_bytes(private))

    @property
    def private(self) -> bytes:
        """Return the 32 secret bytes; never log them."""
        return self._key.private_bytes_raw()

    def exchange(self, public: bytes) -> bytes:
        """Return the shared secret with another's public key; raise `NoiseError` for points that give none."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as exc:
            raise NoiseError("the other end sent a public key of low order") from exc

    def __repr__(self) -> str:
        return f"<KeyPair {self.public.hex()[:16]}>"
