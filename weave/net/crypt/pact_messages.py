"""The messages by which two peers agree on keys, as they travel over the mesh. Pure.

    1 offer    Noise message 1      {"i": incarnation, "n": number, "cur", "spi", "from", "to"}
    2 accept   id of the offer (8)  Noise message 2  {"spi", "from", "to", "why"}
    3 confirm  id of the epoch (8)  MAC (32)
    4 done     id of the epoch (8)  MAC (32)
    5 poke     flags (1: without IPsec there is no way)
    6 stale    id of the offer (8)  Noise message 2  {"floor": [incarnation, number]}

`Noise_IKpsk2_25519_AESGCM_SHA256`, its prologue a context and the names of both. The id of an offer is the beginning
of its ephemeral key, that of an epoch comes from the hash of the handshake; `cur` is the epoch that the sender has.
`spi` is that under which the sender wants to receive, 0 for no IPsec; `from` is the address it sends from and `to` the
one it sends to. A stale offer is one that does not rise above the floor, the latest that was heard. The kind of a
message is not sealed: hence what is sealed in an accept makes no sense in a stale, nor the other way round.
Decoders raise `WireError` alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest, digest
from ipaddress import ip_address

from weave.addresses import IPAddress
from weave.names import PeerName
from weave.net.crypt.limits import MAX_MESSAGE_BYTES, MAX_PENDING_WORDS, MAX_SPI, MIN_SPI
from weave.noise.protocol import AES_GCM, IKPSK2, SHA256, Protocol
from weave.wire import Plain, WireError, expect_bytes, expect_int, expect_list, expect_map, expect_str, pack, unpack

PROTOCOL = Protocol(IKPSK2, AES_GCM, SHA256)
OFFER, ACCEPT, CONFIRM, DONE, POKE, STALE = 1, 2, 3, 4, 5, 6
ID_BYTES = 8
MAC_BYTES = 32
MAX_NUMBER = (1 << 48) - 1
_CONTEXT = b"weave link keys 1\0"


@dataclass(frozen=True, slots=True)
class Way:
    """The two underlay addresses of a link, as one end sees them."""

    own: IPAddress
    other: IPAddress

    def fits(self, seen: "Way | None") -> bool:
        """Say whether the other end sees the same two: nobody translates addresses in between."""
        return seen is not None and (seen.own, seen.other) == (self.other, self.own)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one end brings into an agreement."""

    spi: int = 0
    """Under which it wants to receive ESP; 0: it wants none."""
    way: Way | None = None
    incarnation: int = 0
    number: int = 0
    """Rises with every offer of one incarnation."""
    current: bytes = b""
    """Id of the epoch it has."""
    why: str = ""
    """Why there is no IPsec."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message, split but not opened."""

    kind: int
    id: bytes
    body: bytes


def prologue(initiator: PeerName, responder: PeerName) -> bytes:
    """Return what both ends must believe alike before anything is agreed."""
    return _CONTEXT + f"{initiator} {responder}".encode()


def encode(kind: int, id_: bytes, body: bytes) -> bytes:
    """Return a message."""
    return bytes([kind]) + id_ + body


def decode(data: bytes) -> Parcel:
    """Split a message; one of an unknown kind is returned as it is."""
    if not 1 <= len(data) <= MAX_MESSAGE_BYTES:
        raise WireError(f"a message about keys has {len(data)} octets")
    kind = data[0]
    if kind in (ACCEPT, CONFIRM, DONE, STALE):
        if len(data) <= 1 + ID_BYTES:
            raise WireError("a message about keys is cut off")
        return Parcel(kind, data[1:1 + ID_BYTES], data[1 + ID_BYTES:])
    if kind == OFFER and len(data) <= ID_BYTES:
        raise WireError("an offer of keys is cut off")
    return Parcel(kind, data[1:1 + ID_BYTES] if kind == OFFER else b"", data[1:])


def epoch_id(handshake_hash: bytes) -> bytes:
    """Return the id of the epoch that a handshake made."""
    return sha256(_CONTEXT + handshake_hash).digest()[:ID_BYTES]


def seal(key: bytes, kind: int, id_: bytes) -> bytes:
    """Return the MAC of a confirmation."""
    return digest(key, bytes([kind]) + id_, "sha256")


def is_sealed(key: bytes, parcel: Parcel) -> bool:
    """Say whether a confirmation is genuine."""
    return compare_digest(parcel.body, seal(key, parcel.kind, parcel.id))


def pack_terms(terms: Terms) -> bytes:
    """Return terms as they are sealed."""
    value: dict[str, Plain] = {"i": terms.incarnation, "n": terms.number, "cur": terms.current, "spi": terms.spi,
                               "why": terms.why[:MAX_PENDING_WORDS]}
    if terms.way is not None:
        value |= {"from": terms.way.own.packed, "to": terms.way.other.packed}
    return pack(value)


def unpack_terms(data: bytes) -> Terms:
    """Return the terms that the other end sealed."""
    body = expect_map(unpack(data), "terms of a link")
    spi = expect_int(body.get("spi"), "an SPI", high=MAX_SPI)
    if 0 < spi < MIN_SPI:
        raise WireError(f"SPI {spi} is reserved")
    way = _way(body)
    return Terms(spi if way is not None else 0, way,
                 expect_int(body.get("i"), "an incarnation", high=MAX_SPI),
                 expect_int(body.get("n"), "a number", high=MAX_NUMBER),
                 expect_bytes(body.get("cur"), "an epoch", most=ID_BYTES),
                 expect_str(body.get("why"), "a reason", most=MAX_PENDING_WORDS))


def pack_floor(floor: tuple[int, int]) -> bytes:
    """Return the incarnation and number of the latest offer as they are sealed."""
    return pack({"floor": list(floor)})


def unpack_floor(data: bytes) -> tuple[int, int]:
    """Return the incarnation and number above which an offer has to be."""
    body = expect_map(unpack(data), "what is told of a stale offer")
    life, number = expect_list(body.get("floor"), "a floor", size=2)
    return expect_int(life, "an incarnation", high=MAX_SPI), expect_int(number, "a number", high=MAX_NUMBER - 1)


def _way(body: Mapping[str, object]) -> Way | None:
    if "from" not in body:
        return None
    ends = [expect_bytes(body.get(key), "an address") for key in ("from", "to")]
    if any(len(end) not in (4, 16) for end in ends) or len(ends[0]) != len(ends[1]):
        raise WireError("the addresses of a link are none")
    return Way(ip_address(ends[0]), ip_address(ends[1]))
