"""What router and sleeve say to each other over their unix socket: length-prefixed msgpack maps. Pure.

    router → sleeve   keys    static key, pre-shared keys          sleeve → router   hello   version, build, process
                      peers   the whole list                                         peers, macs   what it has so far
                      macs    which MACs are behind which peer                       status  ways and counters
                      quit
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weave.errors import RemoteError
from weave.net.sleeve import limits
from weave.net.sleeve.model import PeerConfig, PeerStatus
from weave.net.sleeve.ways import Figures
from weave.net.sleeve.wire import KEY_BYTES, Address, Key
from weave.wire import (
    MAX_MESSAGE_BYTES,
    Plain,
    WireError,
    expect_bytes,
    expect_int,
    expect_list,
    expect_map,
    expect_str,
    pack,
    unpack,
)

VERSION = 3
"""Of this protocol and of what the process does; a router replaces a sleeve of another one."""
PREFIX_BYTES = 4
MACS_PER_MESSAGE = 4096
PEERS_PER_MESSAGE = 1024
MAC_BYTES = 6
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of this host."""

    static: bytes
    psks: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "<Keys>"


@dataclass(frozen=True, slots=True)
class Peers:
    """Peers; `is_all` marks the last part of the whole list."""

    peers: tuple[PeerConfig, ...]
    is_all: bool


@dataclass(frozen=True, slots=True)
class Macs:
    """Which MACs are behind which peer now; an empty name takes one away. `is_fresh` forgets all others first."""

    macs: tuple[tuple[bytes, str], ...]
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Quit:
    """End."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What process this is."""

    version: int
    pid: int


@dataclass(frozen=True, slots=True)
class Status:
    """How every way is, and what was counted."""

    peers: tuple[PeerStatus, ...]
    counters: Mapping[str, int]


Message = Keys | Peers | Macs | Quit | Hello | Status


class Reader:
    """Cut a stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take in bytes and give the messages that are whole; raise `RemoteError` for nonsense."""
        self._buffer += data
        while len(self._buffer) >= PREFIX_BYTES:
            length = int.from_bytes(self._buffer[:PREFIX_BYTES], "little")
            if length > MAX_MESSAGE_BYTES:
                raise WireError(f"a message of {length} octets is too long")
            if len(self._buffer) < PREFIX_BYTES + length:
                return
            body = bytes(self._buffer[PREFIX_BYTES:PREFIX_BYTES + length])
            del self._buffer[:PREFIX_BYTES + length]
            yield decode(body)


def frame(message: Message) -> bytes:
    """Return a message as it travels."""
    body = pack(_plain(message))
    return len(body).to_bytes(PREFIX_BYTES, "little") + body


def peers_messages(configs: Sequence[PeerConfig]) -> list[Message]:
    """Return the messages that carry a whole list of peers."""
    parts = [tuple(configs[at:at + PEERS_PER_MESSAGE]) for at in range(0, len(configs), PEERS_PER_MESSAGE)] or [()]
    return [Peers(part, is_all=number == len(parts) - 1) for number, part in enumerate(parts)]


def macs_messages(macs: Mapping[bytes, str], *, is_fresh: bool) -> list[Message]:
    """Return the messages that carry MACs."""
    items = sorted(macs.items())
    parts = [tuple(items[at:at + MACS_PER_MESSAGE]) for at in range(0, len(items), MACS_PER_MESSAGE)]
    if not parts and is_fresh:
        parts = [()]
    return [Macs(part, is_fresh=is_fresh and number == 0) for number, part in enumerate(parts)]


def decode(body: bytes) -> Message:
    """Return the message that these bytes are; raise `RemoteError` for anything else."""
    values = expect_map(unpack(body), "a message")
    match values.get("t"):
        case "keys":
            psks = expect_list(values.get("psks"), "keys", most=64)
            return Keys(expect_bytes(values.get("static"), "a static key", size=KEY_BYTES),
                        tuple(expect_bytes(psk, "a key", size=KEY_BYTES) for psk in psks))
        case "peers":
            rows = expect_list(values.get("peers"), "peers", most=PEERS_PER_MESSAGE)
            return Peers(tuple(map(_peer, rows)), is_all=values.get("all") is True)
        case "macs":
            rows = expect_list(values.get("macs"), "MACs", most=MACS_PER_MESSAGE)
            return Macs(tuple(map(_mac, rows)), is_fresh=values.get("fresh") is True)
        case "quit":
            return Quit()
        case "hello":
            return Hello(expect_int(values.get("version"), "a version"), expect_int(values.get("pid"), "a pid"))
        case "status":
            rows = expect_list(values.get("peers"), "peers", most=limits.MAX_PEERS)
            counters = expect_map(values.get("counters"), "counters")
            return Status(tuple(map(_status, rows)),
                          {key: expect_int(value, key) for key, value in sorted(counters.items())})
        case other:
            raise RemoteError(f"{other!r} is no message between router and sleeve")


def _plain(message: Message) -> dict[str, Plain]:
    match message:
        case Keys(static, psks):
            return {"t": "keys", "static": static, "psks": list(psks)}
        case Peers(peers, is_all):
            return {"t": "peers", "all": is_all, "peers": [
                {"name": peer.name, "key": peer.key, "at": [[host, port] for host, port in peer.addresses],
                 "standby": peer.standby}
                for peer in peers]}
        case Macs(macs, is_fresh):
            return {"t": "macs", "fresh": is_fresh, "macs": [[mac, name] for mac, name in macs]}
        case Quit():
            return {"t": "quit"}
        case Hello(version, pid):
            return {"t": "hello", "version": version, "pid": pid}
        case Status(peers, counters):
            return {"t": "status", "counters": dict(counters), "peers": [
                {"name": peer.name, "up": peer.established, "at": None if peer.address is None else [*peer.address],
                 "rtt": -1 if peer.rtt_s is None else round(peer.rtt_s * _MICRO),
                 "loss": round(peer.loss * _MICRO), "size": peer.size, "out": peer.sent, "in": peer.received,
                 "via": peer.helper, "direct": _measured(peer.direct), "through": _measured(peer.through)}
                for peer in peers]}


def _peer(row: object) -> PeerConfig:
    values = expect_map(row, "a peer")
    places = expect_list(values.get("at"), "addresses", most=64)
    return PeerConfig(expect_str(values.get("name"), "a name"),
                      Key(expect_bytes(values.get("key"), "a key", size=KEY_BYTES)), tuple(map(_address, places)),
                      values.get("standby") is True)


def _address(row: object) -> Address:
    host, port = expect_list(row, "an address", size=2)
    return expect_str(host, "a host"), expect_int(port, "a port", 1, 65535)


def _mac(row: object) -> tuple[bytes, str]:
    mac, name = expect_list(row, "a MAC and its peer", size=2)
    return expect_bytes(mac, "a MAC", size=MAC_BYTES), expect_str(name, "a name")


def _status(row: object) -> PeerStatus:
    values = expect_map(row, "a way")
    place, rtt = values.get("at"), expect_int(values.get("rtt"), "a round trip", low=-1)
    return PeerStatus(
        expect_str(values.get("name"), "a name"), values.get("up") is True,
        None if place is None else _address(place), None if rtt < 0 else rtt / _MICRO,
        expect_int(values.get("loss"), "a loss") / _MICRO, expect_int(values.get("size"), "a size"),
        expect_int(values.get("out"), "octets"), expect_int(values.get("in"), "octets"),
        expect_str(values.get("via"), "a name"), _figures(values.get("direct")), _figures(values.get("through")))


def _measured(figures: Figures | None) -> Plain:
    if figures is None:
        return None
    return [round(figures.loss * _MICRO), -1 if figures.rtt_s is None else round(figures.rtt_s * _MICRO)]


def _figures(row: object) -> Figures | None:
    if row is None:
        return None
    loss, rtt = expect_list(row, "what was measured of a way", size=2)
    micros = expect_int(rtt, "a round trip", low=-1)
    return Figures(expect_int(loss, "a loss") / _MICRO, None if micros < 0 else micros / _MICRO)
