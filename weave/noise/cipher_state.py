"""CipherState (section 5.1): one key, one direction, a counter that never repeats.

Invariant: no nonce is used twice for sealing under one key. The counter only grows, is never written anywhere, and
stops at `NONCE_LIMIT`, long before AES-GCM or the 64 bits would mind; a new connection means new keys.
"""

from cryptography.exceptions import InvalidTag
from cryptography.utils import Buffer

from weave.noise.keys import NoiseError
from weave.noise.protocol import KEY_BYTES, Cipher

NONCE_LIMIT = 1 << 48
"""At 10 million packets a second this lasts most of a year; reaching it means a bug, not a busy link."""
_REKEY_NONCE = (1 << 64) - 1
_ZEROS = bytes(KEY_BYTES)


class CipherState:
    """Seals or opens a sequence of messages under one key."""

    __slots__ = ("_aead", "_cipher", "nonce")

    def __init__(self, cipher: Cipher, key: bytes) -> None:
        self._cipher = cipher
        self._aead = cipher.aead(key)
        self.nonce = 0
        """How many messages went through; a datagram tunnel sets it on the reading side (section 11.4)."""

    def encrypt(self, plaintext: Buffer, ad: bytes | None = None) -> bytes:
        """Seal the next message."""
        nonce = self._next_nonce()
        self.nonce += 1
        return self._aead.encrypt(nonce, plaintext, ad)

    def decrypt(self, ciphertext: Buffer, ad: bytes | None = None) -> bytes:
        """Open the next message; raise `NoiseError`, and count nothing, where it does not authenticate."""
        nonce = self._next_nonce()
        try:
            plaintext = self._aead.decrypt(nonce, ciphertext, ad)
        except (InvalidTag, ValueError) as exc:
            raise NoiseError("a message does not authenticate: altered, replayed, or of another key") from exc
        self.nonce += 1
        return plaintext

    def rekey(self) -> None:
        """Replace the key by one derived from it (section 4.2); the counter goes on."""
        sealed = self._aead.encrypt(self._cipher.nonce.pack(_REKEY_NONCE), _ZEROS, None)
        self._aead = self._cipher.aead(sealed[:KEY_BYTES])

    def _next_nonce(self) -> bytes:
        if self.nonce >= NONCE_LIMIT:
            raise NoiseError("the nonces of this session are used up; connect again")
        return self._cipher.nonce.pack(self.nonce)
