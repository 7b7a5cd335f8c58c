"""The transport records: a spoilt stream, and an insider who seals nonsense.

Input: one byte of mode, one of chunk size, the rest. Mode 0: raw bytes from the wire. Mode 1: the rest is cut into
plaintexts of records, sealed properly. Allowed: `FramingError`, once and for ever; memory stays within bounds.
"""

from weave.mesh.framing import FramingError, Session
from weave.noise.cipher_state import CipherState
from weave.noise.protocol import AES_GCM, MAX_MESSAGE_BYTES
from weave.wire import MAX_MESSAGE_BYTES as MAX_PLAINTEXT_BYTES

KEY = bytes(range(32))
CONTROL_BYTES = 2
MAX_PLAINTEXTS = 64


def seal_by_hand(data: bytes, most: int) -> bytes:
    cipher, stream = CipherState(AES_GCM, KEY), bytearray()
    for at in range(0, min(len(data), most * MAX_PLAINTEXTS), most):
        sealed = cipher.encrypt(data[at : at + most])
        stream += len(sealed).to_bytes(2) + sealed
    return bytes(stream)


def target(data: bytes) -> None:
    if len(data) < CONTROL_BYTES:
        return
    size, body = data[1] + 1, data[CONTROL_BYTES:]
    stream = seal_by_hand(body, size) if data[0] % 2 else body
    session = Session(CipherState(AES_GCM, KEY), CipherState(AES_GCM, KEY))
    for at in range(0, len(stream), size):
        try:
            for message in session.receive(stream[at : at + size]):
                assert len(message) <= MAX_PLAINTEXT_BYTES
        except FramingError:
            expect_broken(session)
            return
        assert len(session._buffer) <= MAX_MESSAGE_BYTES + 2
        assert len(session._partial) <= MAX_PLAINTEXT_BYTES


def expect_broken(session: Session) -> None:
    try:
        session.receive(b"")
    except FramingError:
        return
    raise AssertionError("a broken session went on")


SEEDS: list[bytes] = [
    b"",
    b"\0\x07" + seal_by_hand(b"\0hello", 8),
    b"\0\xff" + seal_by_hand(b"\1abc\1def\0ghi", 4),
    b"\0\0\0\0",
    b"\1\4\0one\0two",
    b"\1\1\1a\1b\0c",
    b"\1\0\1",
    b"\1\7\2unknown",
]
