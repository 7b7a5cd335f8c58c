"""The sleeve as strangers on the underlay see it, and its socket as a router sees it.

Input: one byte of mode, the rest. Mode 0: a datagram to a sleeve with one peer; where it looks like an initiation it
is given the tag that only members can make, so that what lies behind the door is reached too. Mode 1: what is sealed in
a control datagram. Mode 2: a stream to the unix socket. Mode 3: fragments, 5 octets each, to the reassembly. Allowed:
nothing comes of it, or the one error of the decoder; never an answer longer than what asked for it.
"""

from random import Random
from struct import Struct

from weave.errors import RemoteError
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.handshake import initiate
from weave.net.sleeve.keys import tag, tag_key
from weave.net.sleeve.limits import MAX_PARTIAL, MAX_PARTIAL_BYTES
from weave.net.sleeve.messages import Keys, Macs, Peers, Reader, Status, frame
from weave.net.sleeve.model import PeerConfig, PeerStatus, Send
from weave.net.sleeve.reassembly import Reassembly
from weave.net.sleeve.replay import ReplayWindow
from weave.net.sleeve.ways import Figures
from weave.net.sleeve.wire import (
    INITIATION_BYTES,
    TAG_BYTES,
    Ask,
    Echo,
    Hint,
    Key,
    Kind,
    Lack,
    Nack,
    Probe,
    SleeveError,
    decode_control,
    encode_control,
)
from weave.noise.keys import KeyPair

MODES = 4
PSK = b"k" * 32
MUTATIONS = 1000
ADDRESS = ("192.0.2.2", 6783)
OWN, OTHER = KeyPair.from_private(b"a" * 32), KeyPair.from_private(b"b" * 32)
_FRAGMENT = Struct("<HBBB")


def target(data: bytes) -> None:
    if data:
        (_datagram, _control, _stream, _fragments)[data[0] % MODES](data[1:])


def _datagram(data: bytes) -> None:
    core = SleeveCore(OWN, [PSK], Random(1).randbytes, 1472)
    core.set_peers([PeerConfig("02:00:00:00:00:02", Key(OTHER.public), (ADDRESS,))], 1.0)
    if data[:1] == bytes([Kind.INITIATION]) and len(data) == INITIATION_BYTES:
        body = data[:-2 * TAG_BYTES]
        data = body + tag(tag_key(PSK, Key(OWN.public)), body) + data[-TAG_BYTES:]
    core.datagram(data, ADDRESS, 1.0)
    assert core.relaying.take(data, ADDRESS) is None, "nobody was authenticated yet"
    answers = [effect.datagram for effect in core.effects if isinstance(effect, Send)]
    assert sum(map(len, answers)) <= len(data)
    assert len(core.inboxes) <= 1


def _control(data: bytes) -> None:
    try:
        message = decode_control(data)
    except SleeveError:
        return
    if message is not None:
        assert decode_control(encode_control(message)) == message


def _stream(data: bytes) -> None:
    reader = Reader()
    try:
        for message in reader.feed(data):
            assert list(Reader().feed(frame(message))) == [message]
    except RemoteError:
        return


def _fragments(data: bytes) -> None:
    reassembly = Reassembly(ReplayWindow())
    for at in range(0, len(data) - _FRAGMENT.size, _FRAGMENT.size):
        counter, total, index, octets = _FRAGMENT.unpack_from(data, at)
        unit = reassembly.add(counter, total, index, bytes(octets), 0.0)
        assert unit is None or len(unit) <= total * 255
        assert len(reassembly.partial) <= MAX_PARTIAL
        assert sum(partial.octets for partial in reassembly.partial.values()) <= MAX_PARTIAL_BYTES


def _seeds() -> list[bytes]:
    key = Key(OTHER.public)
    status = PeerStatus("h2", True, ADDRESS, 0.001, 0.5, 1472, 10, 20, "h3", Figures(0.5, None), Figures(0.0, 0.001))
    begun = initiate(OTHER, Key(OWN.public), PSK, local=7, ephemeral=b"e" * 32, cookie=None, now=0.0)
    controls = [Probe(1472, 3, 9), Probe(0, 3, 9, is_trial=True), Echo(0, 3, ADDRESS), Echo(0, 3, None),
                Nack((Lack(5, 0), Lack(6, 0b1010))), Ask(key), Hint(key, ("2001:db8::1", 6783))]
    said = [Keys(b"s" * 32, (PSK,)), Peers((PeerConfig("h2", key, (ADDRESS,)),), is_all=True),
            Macs(((b"\2\0\0\0\0\1", "h2"),), is_fresh=True), Status((status,), {"lost": 1})]
    fragments = b"".join(_FRAGMENT.pack(3, 3, index, 200) for index in range(4))
    return [
        b"\0" + begun.datagram, *(b"\0" + bytes([kind]) + bytes(75) for kind in Kind),
        *(b"\1" + encode_control(message) for message in controls), *(b"\2" + frame(message) for message in said),
        b"\3" + fragments,
    ]


SEEDS: list[bytes] = _seeds()
