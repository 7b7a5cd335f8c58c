"""The handshake as strangers and people on the way see it.

Input: one byte that chooses the role, the place to spoil in the other end's recorded stream and the chunk size; the
rest replaces the recording from there on. Allowed: `HandshakeRefused`, waiting, and, unspoilt, a connection.
"""

import hashlib

from weave.mesh.handshake import Handshake, HandshakeRefused, Hello
from weave.mesh.identity import Identity

IDENTITIES = {True: Identity.from_seed(b"a" * 32), False: Identity.from_seed(b"b" * 32)}
PSK = hashlib.sha256(b"secret").digest()
CONTROL_BYTES = 4
MAX_REPLY_BYTES = 4096
MAX_SENTENCE_CHARACTERS = 400


def make(initiator: bool) -> Handshake:
    identity = IDENTITIES[initiator]
    hello = Hello(identity.public, "fuzz", 1 + initiator, 3, 3, 6783, False)
    ephemeral = hashlib.sha256(b"ephemeral %d" % initiator).digest()
    return Handshake(identity=identity, hello=hello, psks=[PSK], initiator=initiator, ephemeral=ephemeral)


def record() -> dict[bool, bytes]:
    """Return what each role hears in an undisturbed handshake; all keys are fixed, so it can be played again."""
    initiator, responder = make(True), make(False)
    first = initiator.start()
    second = responder.receive(first)
    third = initiator.receive(second)
    fourth = responder.receive(third)
    return {True: second + fourth, False: first + third}


RECORDED = record()


def target(data: bytes) -> None:
    if len(data) < CONTROL_BYTES:
        return
    initiator, kept, size = data[0] % 2 == 1, int.from_bytes(data[1:3]), data[3] + 1
    recorded = RECORDED[initiator]
    stream = recorded[: kept % (len(recorded) + 1)] + data[CONTROL_BYTES:]
    handshake = make(initiator)
    said = len(handshake.start())
    for at in range(0, len(stream), size):
        try:
            said += len(handshake.receive(stream[at : at + size]))
        except HandshakeRefused as refusal:
            said += len(refusal.reply)
            expect_readable(refusal)
            break
        if handshake.established is not None:
            assert stream.startswith(recorded), "a spoilt handshake connected"
            break
    assert said <= MAX_REPLY_BYTES


def expect_readable(refusal: HandshakeRefused) -> None:
    assert str(refusal).isprintable()
    assert len(str(refusal)) <= MAX_SENTENCE_CHARACTERS


def seed(initiator: bool, kept: int, tail: bytes) -> bytes:
    return bytes([initiator]) + kept.to_bytes(2) + b"\xff" + tail


SEEDS: list[bytes] = [
    b"",
    *(seed(role, 0, stream) for role, stream in RECORDED.items()),
    *(seed(role, len(stream), b"leftover") for role, stream in RECORDED.items()),
    *(seed(role, cut, stream[cut:]) for role, stream in RECORDED.items() for cut in (5, 8, 59, 62)),
    *(seed(role, 8, b"\2\0\3\x92\1\xa0") for role in RECORDED),
    *(seed(False, 0, junk) for junk in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"weave\1\2", b"weave\3\3\2")),
]
