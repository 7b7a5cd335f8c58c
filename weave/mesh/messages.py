"""What peers say to each other on a control connection, and how it becomes bytes.

    [type, field, field, ...]      msgpack; what follows the known fields is skipped, so that fields may be added

A type that this version does not know decodes to `Unknown`; a message that is not what was agreed raises `WireError`;
an entry within a delta that is not what was agreed is left out and counted, because a bad record must never cost the
good ones beside it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from weave import wire
from weave.mesh import limits
from weave.mesh.channel import Summary
from weave.mesh.entries import Entry
from weave.names import PEER_NAME_BYTES, PeerName, peer_name_from_bytes, peer_name_to_bytes
from weave.wire import WireError

_U64 = (1 << 64) - 1
_GROUP_OVERHEAD_BYTES = 16


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Say that we live and what we hold; echo the last stamp heard, so that the other end knows the round trip."""

    stamp: int
    """Microseconds of the sender's own clock."""
    echo: int
    """The stamp last heard from the other end; 0 for none."""
    held: int
    """Microseconds between hearing it and sending this."""
    roots: tuple[tuple[str, int], ...]
    """The root of every channel that is not empty."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Begin an exchange: the hash of every bucket of owners."""

    channel: str
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SummaryList:
    """Say what we hold of each owner in a set of buckets (a bit mask)."""

    channel: str
    buckets: int
    rows: tuple[Summary, ...]


@dataclass(frozen=True, slots=True)
class Want:
    """Ask for entries: of each owner, what is above a version."""

    channel: str
    rows: tuple[tuple[PeerName, int], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one owner, with the identity that signed them."""

    owner: PeerName
    identity: bytes
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """Entries: pushed, or the answer in an exchange, whose last delta carries the sender's root."""

    channel: str
    groups: tuple[Group, ...]
    root: int | None = None
    malformed: int = 0
    """Entries that decoding left out; not on the wire."""


@dataclass(frozen=True, slots=True)
class Unicast:
    """A message for one peer, relayed hop by hop."""

    source: PeerName
    destination: PeerName
    hops: int
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Say why the connection ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a later version."""

    type: int


Message: TypeAlias = Heartbeat | Digest | SummaryList | Want | Delta | Unicast | Goodbye | Unknown

HEARTBEAT, DIGEST, SUMMARY_LIST, WANT, DELTA, UNICAST, GOODBYE = range(7)


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    return wire.pack(_fields(message))


def _fields(message: Message) -> list[wire.Plain]:
    match message:
        case Heartbeat():
            roots: list[wire.Plain] = [[name, root] for name, root in message.roots]
            return [HEARTBEAT, message.stamp, message.echo, message.held, roots]
        case Digest():
            return [DIGEST, message.channel, list(message.buckets)]
        case SummaryList():
            rows: list[wire.Plain] = [[peer_name_to_bytes(row.owner), row.top, row.hash] for row in message.rows]
            return [SUMMARY_LIST, message.channel, message.buckets, rows]
        case Want():
            wants: list[wire.Plain] = [[peer_name_to_bytes(owner), above] for owner, above in message.rows]
            return [WANT, message.channel, wants]
        case Delta():
            return [DELTA, message.channel, [_group_fields(group) for group in message.groups], message.root]
        case Unicast():
            ends = peer_name_to_bytes(message.source), peer_name_to_bytes(message.destination)
            return [UNICAST, *ends, message.hops, message.kind, message.payload]
        case Goodbye():
            return [GOODBYE, message.reason]
        case Unknown():
            return [message.type]


def _group_fields(group: Group) -> list[wire.Plain]:
    entries = [[entry.key, entry.version, entry.value, entry.signature] for entry in group.entries]
    return [peer_name_to_bytes(group.owner), group.identity, entries]


def size_of(message: Message) -> int:
    """Return about the octets of an encoded message, without encoding it."""
    match message:
        case Heartbeat():
            return 20 + sum(len(name) + 11 for name, _ in message.roots)
        case Digest():
            return 12 + 9 * len(message.buckets)
        case SummaryList():
            return 24 + 26 * len(message.rows)
        case Want():
            return 12 + 17 * len(message.rows)
        case Delta():
            return 24 + sum(size_of_group(group) for group in message.groups)
        case Unicast():
            return 24 + len(message.kind) + len(message.payload)
        case Goodbye():
            return 4 + len(message.reason)
        case Unknown():
            return 2


def size_of_group(group: Group) -> int:
    """Return about the octets of an encoded group."""
    return _GROUP_OVERHEAD_BYTES + len(group.identity) + sum(entry.size for entry in group.entries)


def decode(data: bytes) -> Message:
    """Return the message that a peer sent; raise `WireError` for what was not agreed."""
    fields = wire.expect_list(wire.unpack(data), "message")
    if not fields:
        raise WireError("message is empty")
    kind = wire.expect_int(fields[0], "message type", 0, 255)
    if kind >= len(_DECODERS):
        return Unknown(kind)
    decoder, size = _DECODERS[kind]
    if len(fields) <= size:
        raise WireError(f"message of type {kind} has {len(fields) - 1} fields, it should have {size}")
    return decoder(fields)


def _decode_heartbeat(fields: list[object]) -> Message:
    stamp, echo, held = (wire.expect_int(field, "heartbeat time") for field in fields[1:4])
    pairs = [_pair(item, "root") for item in wire.expect_list(fields[4], "roots", most=limits.MAX_CHANNELS)]
    roots = tuple((_channel(name), wire.expect_int(root, "root", 0, _U64)) for name, root in pairs)
    return Heartbeat(stamp, echo, held, roots)


def _decode_digest(fields: list[object]) -> Message:
    buckets = wire.expect_list(fields[2], "buckets", size=limits.DIGEST_BUCKETS)
    return Digest(_channel(fields[1]), tuple(wire.expect_int(item, "bucket", 0, _U64) for item in buckets))


def _decode_summary_list(fields: list[object]) -> Message:
    rows = []
    for item in wire.expect_list(fields[3], "summaries", most=limits.MAX_OWNERS):
        owner, top, digest = wire.expect_list(item, "summary")[:3] if _has(item, 3) else _short("summary")
        rows.append(Summary(_owner(owner), _version(top), wire.expect_int(digest, "hash", 0, _U64)))
    return SummaryList(_channel(fields[1]), wire.expect_int(fields[2], "buckets", 0, _U64), tuple(rows))


def _decode_want(fields: list[object]) -> Message:
    pairs = [_pair(item, "want") for item in wire.expect_list(fields[2], "wants", most=limits.MAX_OWNERS)]
    return Want(_channel(fields[1]), tuple((_owner(owner), _version(above)) for owner, above in pairs))


def _decode_delta(fields: list[object]) -> Message:
    groups = []
    malformed = 0
    for item in wire.expect_list(fields[2], "groups", most=limits.MAX_GROUPS):
        try:
            group, bad = _decode_group(item)
        except WireError:
            malformed += 1
            continue
        groups.append(group)
        malformed += bad
    root = None if fields[3] is None else wire.expect_int(fields[3], "root", 0, _U64)
    return Delta(_channel(fields[1]), tuple(groups), root, malformed)


def _decode_group(item: object) -> tuple[Group, int]:
    if not _has(item, 3):
        _short("group")
    fields = wire.expect_list(item, "group")
    owner = _owner(fields[0])
    identity = wire.expect_bytes(fields[1], "identity", most=limits.MAX_IDENTITY_BYTES)
    entries = []
    malformed = 0
    for raw in wire.expect_list(fields[2], "entries", most=limits.MAX_ENTRIES_PER_DELTA):
        try:
            entries.append(decode_entry(owner, raw))
        except WireError:
            malformed += 1
    return Group(owner, identity, tuple(entries)), malformed


def decode_entry(owner: PeerName, raw: object) -> Entry:
    """Return an entry from its fields; raise `WireError`."""
    if not _has(raw, 4):
        _short("entry")
    fields = wire.expect_list(raw, "entry")
    key = wire.expect_bytes(fields[0], "key", most=limits.MAX_KEY_BYTES)
    value = None if fields[2] is None else wire.expect_bytes(fields[2], "value", most=limits.MAX_VALUE_BYTES)
    signature = wire.expect_bytes(fields[3], "signature", most=limits.MAX_SIGNATURE_BYTES)
    return Entry(owner, key, wire.expect_int(fields[1], "version", 1), value, signature)


def _decode_unicast(fields: list[object]) -> Message:
    return Unicast(
        _owner(fields[1]),
        _owner(fields[2]),
        wire.expect_int(fields[3], "hops", 0, limits.MAX_HOPS),
        wire.expect_str(fields[4], "kind", most=limits.MAX_KIND_CHARS),
        wire.expect_bytes(fields[5], "payload", most=limits.MAX_PAYLOAD_BYTES),
    )


def _decode_goodbye(fields: list[object]) -> Message:
    return Goodbye(wire.expect_str(fields[1], "reason", most=limits.MAX_REASON_CHARS))


_DECODERS = (
    (_decode_heartbeat, 4),
    (_decode_digest, 2),
    (_decode_summary_list, 3),
    (_decode_want, 2),
    (_decode_delta, 3),
    (_decode_unicast, 5),
    (_decode_goodbye, 1),
)


def _channel(value: object) -> str:
    return wire.expect_str(value, "channel", most=limits.MAX_CHANNEL_CHARS)


def _version(value: object) -> int:
    return wire.expect_int(value, "version")


def _owner(value: object) -> PeerName:
    return peer_name_from_bytes(wire.expect_bytes(value, "peer name", size=PEER_NAME_BYTES))


def _has(value: object, size: int) -> bool:
    return isinstance(value, list) and len(value) >= size


def _pair(value: object, what: str) -> tuple[object, object]:
    if not _has(value, 2):
        _short(what)
    fields = wire.expect_list(value, what)
    return fields[0], fields[1]


def _short(what: str) -> list[object]:
    raise WireError(f"{what} lacks a field")
