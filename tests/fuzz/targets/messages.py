"""Fuzz the decoder of mesh messages and of the topology's records: one error type, and what decodes survives again."""


from weave.mesh.channel import Summary
from weave.mesh.entries import Entry
from weave.mesh.messages import (
    Delta,
    Digest,
    Goodbye,
    Group,
    Heartbeat,
    Message,
    SummaryList,
    Unicast,
    Unknown,
    Want,
    decode,
    encode,
)
from weave.mesh.topology import LinkRecord, decode_links, decode_peer, encode_links
from weave.names import PeerName
from weave.wire import WireError

_ONE = PeerName("7a:9f:eb:b6:0c:6e")
_TWO = PeerName("02:00:00:00:00:01")
_ENTRIES = (
    Entry(_ONE, b"k", 1 << 33, b"value", b"s" * 64),
    Entry(_ONE, b"gone", 3, None, b"s" * 64),
    Entry(_ONE, b"", 2, b"", b"s" * 64),
)
EXAMPLES: tuple[Message, ...] = (
    Heartbeat(1, 0, 0, ()),
    Heartbeat(123456, 7, 8, (("dns", 1 << 63), ("topology", 5))),
    Digest("dns", tuple((1 << 63) + n for n in range(64))),
    SummaryList("topology", (1 << 64) - 1, (Summary(_ONE, 1 << 33, (1 << 64) - 1), Summary(_TWO, 0, 0))),
    Want("ipam", ((_ONE, 0), (_TWO, 1 << 40))),
    Delta("dns", (Group(_ONE, b"i" * 160, _ENTRIES), Group(_TWO, b"", ()))),
    Delta("dns", (), root=7),
    Unicast(_ONE, _TWO, 3, "ipam", b"payload"),
    Goodbye("no longer needed"),
)
SEEDS: list[bytes] = [
    *map(encode, EXAMPLES),
    encode_links((LinkRecord(_ONE, True, "10.0.0.1:6783", True),)),
]


def target(data: bytes) -> None:
    """Decode as everything a peer may send; raise only for bugs."""
    try:
        message = decode(data)
    except WireError:
        pass
    else:
        if not isinstance(message, Unknown):
            assert encode(decode(encode(message))) == encode(message)
    for read in (decode_peer, lambda value: decode_links(_ONE, value)):
        try:
            read(data)
        except WireError:
            continue


