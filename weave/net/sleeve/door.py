"""Who may cost us a key exchange: tags, recorded messages, rates and cookies. Pure.

Without the mesh's password nobody gets past the first tag. Beyond a rate only those who show a cookie are served: it
proves that they receive at the address they send from. A cookie is answered to whoever has the first tag right, is
shorter than what asked for it, and is sealed so that only the asker can read it.
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from hmac import compare_digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from weave.net.sleeve import limits
from weave.net.sleeve.keys import tag
from weave.net.sleeve.wire import COOKIE_HEAD, TAG_BYTES, Address, Kind

_NONCE_BYTES = 12
_SECRET_BYTES = 32


class Verdict(Enum):
    """What becomes of an initiation."""

    SERVE = "serve"
    REFUSE = "refuse"
    COOKIE = "cookie"


class Bucket:
    """So many a second, and a burst."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._level, self._at = rate, burst, burst, 0.0

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class Door:
    """The one for initiations to us."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._free = Bucket(limits.HANDSHAKES_PER_S, limits.HANDSHAKES_BURST)
        self._proven = Bucket(limits.HANDSHAKES_HARD_PER_S, limits.HANDSHAKES_HARD_PER_S)
        self._replies = Bucket(limits.HANDSHAKES_HARD_PER_S, limits.HANDSHAKES_HARD_PER_S)
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._secrets = (random(_SECRET_BYTES), random(_SECRET_BYTES))
        self._renewed = 0.0

    def judge(self, signed: bytes, first: bytes, second: bytes, address: Address, now: float) -> Verdict:
        """Decide about an initiation whose first tag is right; `signed` is what its second tag covers."""
        if first in self._seen:
            return Verdict.REFUSE
        if not self._free.take(now) and not self._is_proven(signed, second, address, now):
            return Verdict.COOKIE if self._replies.take(now) else Verdict.REFUSE
        self._seen[first] = None
        if len(self._seen) > limits.SEEN_INITIATIONS:
            self._seen.popitem(last=False)
        return Verdict.SERVE

    def cookie_for(self, key: bytes, first: bytes, receiver: int, address: Address, now: float) -> bytes:
        """Return the datagram that gives the asker its cookie; `key` is that of the first tag."""
        self._renew(now)
        nonce = self._random(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, _cookie(self._secrets[0], address), first)
        return COOKIE_HEAD.pack(Kind.COOKIE, receiver, nonce, sealed)

    def _is_proven(self, signed: bytes, second: bytes, address: Address, now: float) -> bool:
        self._renew(now)
        return any(compare_digest(tag(_cookie(secret, address), signed), second)
                   for secret in self._secrets) and self._proven.take(now)

    def _renew(self, now: float) -> None:
        if now - self._renewed >= limits.COOKIE_LIFE_S:
            self._secrets = (self._random(_SECRET_BYTES), self._secrets[0])
            self._renewed = now


def open_cookie(datagram: bytes, key: bytes, first: bytes) -> bytes | None:
    """Return the cookie in a reply to our initiation with that first tag; None where it is forged."""
    _, _, nonce, sealed = COOKIE_HEAD.unpack(datagram)
    try:
        return AESGCM(key).decrypt(nonce, sealed, first)
    except InvalidTag:
        return None


def _cookie(secret: bytes, address: Address) -> bytes:
    return tag(secret, f"{address[0]}|{address[1]}".encode())[:TAG_BYTES]
