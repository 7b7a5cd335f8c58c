"""The first eight bytes of a control connection, in the clear: who we are, which versions, which passwords.

    | w e a v e | lowest version | highest version | flags |        flags: 1 password accepted, 2 open accepted

The routers of the archived Weave Net open with the same seven bytes (versions 1 to 2), so each of us tells the other
"version mismatch" and not nonsense. The preamble decides before any secret is used; what was read here is compared
with a copy under encryption later, so that nobody on the way can talk two ends down to an older version.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from weave.mesh.password import OPEN_PSK
from weave.mesh.reasons import HandshakeRefused, Reason

MAGIC = b"weave"
VERSIONS_END = len(MAGIC) + 2
PREAMBLE_BYTES = VERSIONS_END + 1
PROTOCOL_MIN = 3
"""The oldest protocol that this version speaks."""
PROTOCOL_MAX = 3
"""The newest protocol that this version speaks."""
_ACCEPTS_PASSWORD = 1
_ACCEPTS_OPEN = 2
_SHOWN_BYTES = 24


@dataclass(frozen=True, slots=True)
class Preamble:
    """What one end says before anything is encrypted; `raw` is exactly what was or will be on the wire."""

    protocol_min: int
    protocol_max: int
    accepts_password: bool
    accepts_open: bool
    raw: bytes

    @classmethod
    def of(cls, protocol_min: int, protocol_max: int, psks: Sequence[bytes]) -> "Preamble":
        """Return our own preamble; `psks` are the keys that this end can use in this connection."""
        accepts_password = any(psk != OPEN_PSK for psk in psks)
        accepts_open = OPEN_PSK in psks
        flags = _ACCEPTS_PASSWORD * accepts_password | _ACCEPTS_OPEN * accepts_open
        raw = MAGIC + bytes([protocol_min, protocol_max, flags])
        return cls(protocol_min, protocol_max, accepts_password, accepts_open, raw)

    @classmethod
    def parse(cls, raw: bytes) -> "Preamble":
        """Return what the other end said; unknown flags belong to newer versions and are ignored."""
        low, high, flags = raw[len(MAGIC) : PREAMBLE_BYTES]
        return cls(low, high, bool(flags & _ACCEPTS_PASSWORD), bool(flags & _ACCEPTS_OPEN), bytes(raw[:PREAMBLE_BYTES]))

    @property
    def versions(self) -> tuple[int, int]:
        """Return the lowest and the highest protocol version."""
        return self.protocol_min, self.protocol_max

    def agree(self, other: "Preamble") -> int:
        """Return the protocol version to speak; raise `HandshakeRefused` (without reply) where the two cannot talk."""
        version = agree_version(self.versions, other.versions)
        if (self.accepts_password and other.accepts_password) or (self.accepts_open and other.accepts_open):
            return version
        if not (other.accepts_password or other.accepts_open):
            raise HandshakeRefused(Reason.MALFORMED, "it accepts no connection, with password or without")
        missing_here = other.accepts_password
        raise HandshakeRefused(Reason.PASSWORD_MISSING_HERE if missing_here else Reason.PASSWORD_MISSING_THERE)


def check_beginning(received: bytes | bytearray, ours: Preamble) -> None:
    """Raise `HandshakeRefused` (without reply) as soon as the first bytes cannot become a preamble we can talk to."""
    if bytes(received[: len(MAGIC)]) != MAGIC[: len(received)]:
        raise HandshakeRefused(Reason.NOT_WEAVE, f"it begins with {bytes(received[:_SHOWN_BYTES])!r}")
    if len(received) >= VERSIONS_END:
        low, high = received[len(MAGIC) : VERSIONS_END]
        agree_version(ours.versions, (low, high))


def agree_version(ours: tuple[int, int], theirs: tuple[int, int]) -> int:
    """Return the highest version in both ranges; raise `HandshakeRefused` naming both where there is none."""
    if theirs[0] > theirs[1] or theirs[0] == 0:
        raise HandshakeRefused(Reason.MALFORMED, f"its protocol versions are {theirs[0]} to {theirs[1]}")
    version = min(ours[1], theirs[1])
    if version < max(ours[0], theirs[0]):
        raise HandshakeRefused(
            Reason.VERSION_MISMATCH, f"this end speaks {_range(ours)}, the other end {_range(theirs)}"
        )
    return version


def _range(versions: tuple[int, int]) -> str:
    low, high = versions
    return f"version {low}" if low == high else f"versions {low} to {high}"
