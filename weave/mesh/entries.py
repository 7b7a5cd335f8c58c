"""The unit of replicated state: an entry, written and signed by one owner.

An entry is never changed, only replaced by one of a higher version. Versions are logical: the owner's incarnation in
the upper bits, a counter in the lower 32, so that a later life always writes above an earlier one. A value of None
is a tombstone. The reserved key `FLOOR_KEY` holds the owner's floor in the channel: every other entry of the owner
with a version up to the floor's own is dead. Keys and signatures come in through `Signer` and `Verifier`, so that
this module knows no cryptography.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from weave import wire
from weave.names import PeerName, peer_name_to_bytes

FLOOR_KEY = b""
INCARNATION_SHIFT = 32
SIGNATURE_BYTES = 64
"""Of Ed25519."""
_CONTEXT = "weave mesh entry 1"


class Signer(Protocol):
    """The secret half of an identity."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        ...


class Verifier(Protocol):
    """What judges the identities and signatures of others."""

    def verify(self, identity: bytes, signature: bytes, data: bytes) -> bool:
        """Say whether the owner of the encoded `identity` signed `data`."""
        ...

    def name_of(self, identity: bytes) -> PeerName:
        """Return the name derived from an encoded identity; raise `RemoteError` where it is none."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One owner's value for one key, at one version."""

    owner: PeerName
    key: bytes
    version: int
    value: bytes | None
    signature: bytes
    digest: int = field(init=False, compare=False, repr=False)
    """64 bits over everything but the signature; a replica's hash is the XOR of these."""
    size: int = field(init=False, compare=False, repr=False)
    """About the octets it takes in a message."""

    def __post_init__(self) -> None:
        hashed = blake2b(self.key, digest_size=8)
        hashed.update(b"%s%d;%d;" % (self.owner.encode(), self.version, len(self.key)))
        hashed.update(b"-" if self.value is None else b"+" + self.value)
        object.__setattr__(self, "digest", int.from_bytes(hashed.digest(), "big"))
        object.__setattr__(self, "size", size_of(self.key, self.value, len(self.signature)))


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """What a listener is told: the owner's key now has this value, or none."""

    owner: PeerName
    key: bytes
    value: bytes | None


def size_of(key: bytes, value: bytes | None, signature_bytes: int) -> int:
    """Return about the octets that an entry takes in a message."""
    return len(key) + len(value or b"") + signature_bytes + 16


def supersedes(new: Entry, held: Entry) -> bool:
    """Say whether `new` replaces `held`: the higher version, and of two with one version the larger content."""
    if new.version != held.version:
        return new.version > held.version
    return _rank(new) > _rank(held)


def signed_bytes(channel: str, owner: PeerName, key: bytes, version: int, value: bytes | None) -> bytes:
    """Return what the owner signs: the whole entry and the channel it belongs to."""
    return wire.pack([_CONTEXT, channel, peer_name_to_bytes(owner), key, version, value])


def write_entry(
    channel: str, owner: PeerName, key: bytes, version: int, value: bytes | None, signer: Signer
) -> Entry:
    """Make a signed entry of our own."""
    return Entry(owner, key, version, value, signer.sign(signed_bytes(channel, owner, key, version, value)))


def _rank(entry: Entry) -> tuple[bool, bytes]:
    """Order entries of one version; equal rank means the same content, whatever the signature."""
    return entry.value is not None, entry.value or b""
