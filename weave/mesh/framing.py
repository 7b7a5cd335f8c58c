"""Messages over an encrypted stream: how plaintexts become records, and records plaintexts again.

    record:  | length, 2 bytes, big endian | Noise transport message (at most 65,535 bytes)            |
    inside:  | 1 byte: 0 last, 1 more follows | a piece of the message                     | tag, 16 bytes |

A message longer than one record is split; pieces of different messages never interleave. Both directions replace
their key after every `REKEY_RECORDS` records, each by its own count, so nothing has to be said about it.
Invariant: a session that raised `FramingError` stays broken; nothing after a bad record is ever delivered.
"""

import struct

from weave.errors import LocalError, RemoteError
from weave.noise.cipher_state import CipherState
from weave.noise.keys import NoiseError
from weave.noise.protocol import MAX_MESSAGE_BYTES as MAX_RECORD_BYTES
from weave.noise.protocol import TAG_BYTES
from weave.wire import MAX_MESSAGE_BYTES

REKEY_RECORDS = 1 << 16
"""How many records a key seals: some GB at most, and a stolen key reads no more than that of the past."""
MAX_PIECE_BYTES = MAX_RECORD_BYTES - TAG_BYTES - 1
MIN_RECORD_BYTES = TAG_BYTES + 1
_LENGTH = struct.Struct(">H")
_LAST = b"\0"
_MORE = b"\1"


class FramingError(RemoteError):
    """The stream is not what the other end sealed: altered, replayed, out of bounds. Close it."""


class Session:
    """Both directions of an established connection."""

    __slots__ = ("_buffer", "_is_broken", "_partial", "_receive", "_send")

    def __init__(self, send: CipherState, receive: CipherState) -> None:
        """Take over the transport states of a finished handshake."""
        self._send = send
        self._receive = receive
        self._buffer = bytearray()
        """The beginning of a record; between calls shorter than one record."""
        self._partial = bytearray()
        """The pieces of a message whose last piece is still to come; at most `MAX_MESSAGE_BYTES`."""
        self._is_broken = False

    def seal(self, message: bytes) -> bytes:
        """Return the records that carry a message; records must be sent in the order in which they were sealed."""
        if len(message) <= MAX_PIECE_BYTES:
            return self._seal_piece(_LAST, message)
        if len(message) > MAX_MESSAGE_BYTES:
            raise LocalError(f"a message of {len(message)} bytes is over the limit of {MAX_MESSAGE_BYTES}; split it")
        last = (len(message) - 1) // MAX_PIECE_BYTES * MAX_PIECE_BYTES
        pieces = [message[at : at + MAX_PIECE_BYTES] for at in range(0, last, MAX_PIECE_BYTES)]
        records = [self._seal_piece(_MORE, piece) for piece in pieces]
        return b"".join(records) + self._seal_piece(_LAST, message[last:])

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete with these bytes, in order; raise `FramingError` once and for all."""
        if self._is_broken:
            raise FramingError("the session broke before")
        try:
            return self._receive_records(data)
        except FramingError:
            self._is_broken = True
            raise

    def _seal_piece(self, flag: bytes, piece: bytes) -> bytes:
        send = self._send
        sealed = send.encrypt(flag + piece)
        if send.nonce % REKEY_RECORDS == 0:
            send.rekey()
        return _LENGTH.pack(len(sealed)) + sealed

    def _receive_records(self, data: bytes) -> list[bytes]:
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start, available = 0, len(buffer)
        while available - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length < MIN_RECORD_BYTES:
                raise FramingError(f"a record of {length} bytes is too short")
            end = start + _LENGTH.size + length
            if end > available:
                break
            message = self._open_record(buffer[start + _LENGTH.size : end])
            if message is not None:
                messages.append(message)
            start = end
        del buffer[:start]
        return messages

    def _open_record(self, sealed: bytearray) -> bytes | None:
        """Return the message that this record ends, or None where more follows."""
        receive = self._receive
        try:
            plaintext = receive.decrypt(sealed)
        except NoiseError as exc:
            raise FramingError(f"a record cannot be opened: {exc}") from exc
        if receive.nonce % REKEY_RECORDS == 0:
            receive.rekey()
        flag, piece = plaintext[:1], plaintext[1:]
        if flag == _LAST and not self._partial:
            return piece
        if len(self._partial) + len(piece) > MAX_MESSAGE_BYTES:
            raise FramingError(f"a message is over the limit of {MAX_MESSAGE_BYTES} bytes")
        if flag == _MORE and piece:
            self._partial += piece
            return None
        if flag != _LAST:
            raise FramingError("a record has an unknown flag, or says that more follows after nothing")
        message = bytes(self._partial + piece)
        self._partial.clear()
        return message
