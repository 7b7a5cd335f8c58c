"""SymmetricState (section 5.2): the running hash and chaining key of a handshake.

Everything either end sends is mixed into `hash`, every shared secret into the chaining key; so a message opens only
where both ends saw the same bytes and hold the same secrets.
"""

import hashlib
import hmac

from weave.noise.cipher_state import CipherState
from weave.noise.protocol import HASH_BYTES, KEY_BYTES, Protocol


class SymmetricState:
    """The symmetric half of a handshake in progress."""

    __slots__ = ("_chaining_key", "_cipher_state", "_protocol", "hash")

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        name = protocol.name
        self.hash = name.ljust(HASH_BYTES, b"\0") if len(name) <= HASH_BYTES else self._digest(name)
        self._chaining_key = self.hash
        self._cipher_state: CipherState | None = None

    def mix_hash(self, data: bytes) -> None:
        """Bind public bytes."""
        self.hash = self._digest(self.hash + data)

    def mix_key(self, secret: bytes) -> None:
        """Bind a shared secret; what is encrypted from here on needs it."""
        self._chaining_key, key = self._hkdf(secret, 2)
        self._cipher_state = CipherState(self._protocol.cipher, key)

    def mix_key_and_hash(self, secret: bytes) -> None:
        """Bind a pre-shared key (section 9)."""
        self._chaining_key, mixed, key = self._hkdf(secret, 3)
        self.mix_hash(mixed)
        self._cipher_state = CipherState(self._protocol.cipher, key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Seal (once there is a key) and bind what goes onto the wire."""
        state = self._cipher_state
        ciphertext = plaintext if state is None else state.encrypt(plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Open and bind what came from the wire; raise `NoiseError` where it does not authenticate."""
        state = self._cipher_state
        plaintext = ciphertext if state is None else state.decrypt(ciphertext, self.hash)
        self.mix_hash(ciphertext)
        return plaintext

    @property
    def has_key(self) -> bool:
        """Return whether what is sent now is encrypted."""
        return self._cipher_state is not None

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the transport states: initiator to responder, responder to initiator."""
        first, second = self.split_keys()
        return CipherState(self._protocol.cipher, first), CipherState(self._protocol.cipher, second)

    def split_keys(self) -> tuple[bytes, bytes]:
        """Return the bare keys of `split`, for who keeps counters of its own."""
        first, second = self._hkdf(b"", 2)
        return first, second

    def fork(self) -> "SymmetricState":
        """Return a snapshot to try a pre-shared key on: mix it first, until then the cipher state is shared."""
        twin = SymmetricState.__new__(SymmetricState)
        twin._protocol, twin._chaining_key, twin.hash = self._protocol, self._chaining_key, self.hash
        twin._cipher_state = self._cipher_state
        return twin

    def _digest(self, data: bytes) -> bytes:
        return hashlib.new(self._protocol.hash.algorithm, data).digest()

    def _hkdf(self, secret: bytes, outputs: int) -> tuple[bytes, ...]:
        """Return two or three keys (section 4.3)."""
        algorithm = self._protocol.hash.algorithm
        temporary = hmac.digest(self._chaining_key, secret, algorithm)
        keys: list[bytes] = []
        for index in range(1, outputs + 1):
            keys.append(hmac.digest(temporary, (keys[-1] if keys else b"") + bytes([index]), algorithm))
        return tuple(key[:KEY_BYTES] for key in keys)
