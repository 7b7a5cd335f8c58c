"""Names and tables of the Noise protocols we speak: patterns, ciphers and hashes (sections 7, 9 and 12).

    XXpsk3                          IKpsk2
      -> e                            <- s   (known beforehand)
      <- e, ee, s, es                 ...
      -> s, se, psk                   -> e, es, s, ss
                                      <- e, ee, se, psk

In both, `psk` is the last token of its message: all that stands before it is readable without the pre-shared key,
and only the payload proves it. That lets a reader try several keys, and tell a wrong key from a broken message.
"""

import enum
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

MAX_MESSAGE_BYTES = 65535
"""Section 3: no Noise message is longer."""
TAG_BYTES = 16
KEY_BYTES = 32
HASH_BYTES = 32
"""Of both hashes we use."""


class Token(enum.Enum):
    """One step of a handshake message."""

    E = "e"
    S = "s"
    EE = "ee"
    ES = "es"
    SE = "se"
    SS = "ss"
    PSK = "psk"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A handshake pattern: the initiator writes messages 0, 2, …, the responder 1, 3, …"""

    name: str
    responder_is_known: bool
    messages: tuple[tuple[Token, ...], ...]

    def __post_init__(self) -> None:
        for tokens in self.messages:
            assert Token.PSK not in tokens[:-1], "psk must end its message, readers rely on it"


@dataclass(frozen=True, slots=True)
class Cipher:
    """An AEAD and the way it lays a 64-bit counter out as a 96-bit nonce (section 12.3, 12.4)."""

    name: str
    aead: type[AESGCM] | type[ChaCha20Poly1305]
    nonce: struct.Struct


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash function by its Noise name and by its name in `hashlib`."""

    name: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """One full combination; `name` is what both ends hash first."""

    pattern: Pattern
    cipher: Cipher
    hash: Hash

    @property
    def name(self) -> bytes:
        """Return the Noise protocol name, such as `Noise_XXpsk3_25519_AESGCM_SHA256`."""
        return f"Noise_{self.pattern.name}_25519_{self.cipher.name}_{self.hash.name}".encode()


_E, _S, _EE, _ES, _SE, _SS, _PSK = Token

XXPSK3 = Pattern("XXpsk3", responder_is_known=False, messages=((_E,), (_E, _EE, _S, _ES), (_S, _SE, _PSK)))
IKPSK2 = Pattern("IKpsk2", responder_is_known=True, messages=((_E, _ES, _S, _SS), (_E, _EE, _SE, _PSK)))
PATTERNS = (XXPSK3, IKPSK2)

AES_GCM = Cipher("AESGCM", AESGCM, struct.Struct(">4xQ"))
CHACHA_POLY = Cipher("ChaChaPoly", ChaCha20Poly1305, struct.Struct("<4xQ"))
CIPHERS = (AES_GCM, CHACHA_POLY)

SHA256 = Hash("SHA256", "sha256")
BLAKE2S = Hash("BLAKE2s", "blake2s")
HASHES = (SHA256, BLAKE2S)
