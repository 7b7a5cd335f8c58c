"""What other peers say about the keys of links, and what arrives at the port for probes.

Input: one byte of mode, the rest. Mode 0: a message to the initiating end of a pact, 1: to the answering one, each with
an agreement behind it; 2: sealed terms; 3: a probe; 4: features; 5: a probe of plain VXLAN. Allowed: a value,
`WireError`; an end counts what it refuses and never raises.
"""

from ipaddress import ip_address
from random import Random

from weave.names import PeerName
from weave.net import vxlan_probe
from weave.net.crypt import pact_messages, probe_messages
from weave.net.crypt.candidates import read_features
from weave.net.crypt.pact import Pact, Party, Send
from weave.net.crypt.pact_messages import Terms, Way
from weave.net.crypt.probe_messages import Probe
from weave.noise.keys import KeyPair
from weave.wire import WireError, pack, unpack

LOW, HIGH = PeerName("02:00:00:00:00:01"), PeerName("02:00:00:00:00:02")
_STATIC = {LOW: KeyPair.from_private(b"\1" * 32), HIGH: KeyPair.from_private(b"\2" * 32)}
_VXLAN_BYTES = 8
_WAY = Way(ip_address("192.0.2.1"), ip_address("192.0.2.2"))


def _end(name: PeerName, other: PeerName, way: Way) -> Pact:
    rng = Random(1)
    pact = Pact(Party(name, _STATIC[name], 1, (b"p" * 32,)), other, _STATIC[other].public, rng=rng,
                entropy=rng.randbytes, now=0.0)
    pact.want(way, 0.0)
    return pact


def _conversation() -> tuple[dict[PeerName, Pact], list[tuple[PeerName, bytes]]]:
    """Return both ends after an agreement, and what was said: receiver and payload."""
    ends = {LOW: _end(LOW, HIGH, _WAY), HIGH: _end(HIGH, LOW, Way(_WAY.other, _WAY.own))}
    said: list[tuple[PeerName, bytes]] = []
    queue = [(HIGH, effect.payload) for effect in ends[LOW].renew(2.0) if isinstance(effect, Send)]
    while queue:
        name, payload = queue.pop(0)
        said.append((name, payload))
        other = LOW if name == HIGH else HIGH
        queue += [(other, effect.payload) for effect in ends[name].message(payload, 2.0) if isinstance(effect, Send)]
    return ends, said


ENDS, SAID = _conversation()
_FLOOR = pact_messages.pack_floor((9, 120))


def target(data: bytes) -> None:
    if not data:
        return
    mode, body = data[0] % 6, data[1:]
    try:
        match mode:
            case 0 | 1:
                ENDS[(LOW, HIGH)[mode]].message(body, 2.0)
            case 2:
                (pact_messages.unpack_floor if body[:1] == _FLOOR[:1] else pact_messages.unpack_terms)(body)
            case 3:
                probe = probe_messages.decode(body)
                assert probe_messages.decode(probe_messages.encode(probe, b"k" * 32)) == probe
            case 5:
                name, found = vxlan_probe.decode(body)
                frame = vxlan_probe.encode(found, LOW, name, vni=1)[_VXLAN_BYTES:]
                assert vxlan_probe.decode(frame) == (name, found)
            case _:
                value = unpack(body)
                read_features(value if isinstance(value, dict) else {})
    except WireError:
        return


SEEDS: list[bytes] = [
    *(bytes([name == HIGH]) + payload for name, payload in SAID),
    b"\2" + pact_messages.pack_terms(Terms(256, _WAY, 1, 1, b"e" * 8)),
    b"\2" + _FLOOR,
    b"\3" + probe_messages.encode(Probe(1, 2, True, b"e" * 8, b"t" * 8), b"k" * 32),
    b"\5" + vxlan_probe.encode(vxlan_probe.Probe(1, True, b"t" * 8), LOW, HIGH, vni=1)[_VXLAN_BYTES:],
    b"\4" + pack({"wg": b"k" * 32, "wgp": 6785, "esp": [4, 6], "pp": 6786}),
]
