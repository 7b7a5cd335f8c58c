"""From a fresh byte stream to an authenticated session, or to one reason that both ends show.

    initiator                                                            responder
    preamble, NOISE e                              ──────────→   preambles decide version, password or none
                  refused already? ←──────────  preamble, NOISE e ee s es {preamble, hello}
    judges the hello
    NOISE s se psk {preamble, hello}, VERDICT {…}  ──────────→   tries each password, judges the hello
    established                                    ←──────────   VERDICT {…}                        established

Braces are encrypted. After the preamble all is records: kind (1 byte), length (2 bytes), body. Either end may send
REFUSAL in the clear while no keys are agreed (a wrong password leaves none); with keys it refuses in its VERDICT.
The initiator's preamble is the Noise prologue, and both ends repeat their preamble under encryption, so that a
downgrade on the way is noticed. A stranger without the password learns a responder's hello, and nothing else.
Not kept here: deadlines, addresses, who is connected already (`judge` knows).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from weave.errors import LocalError, RemoteError
from weave.mesh.framing import Session
from weave.mesh.hello import MAX_HELLO_BYTES, Hello
from weave.mesh.identity import Identity
from weave.mesh.preamble import PREAMBLE_BYTES, Preamble, check_beginning
from weave.mesh.reasons import (
    MAX_REFUSAL_BYTES,
    HandshakeRefused,
    Reason,
    decode_refusal,
    encode_refusal,
    printable,
)
from weave.noise.cipher_state import CipherState
from weave.noise.handshake_state import HandshakeState, PskMismatchError
from weave.noise.keys import DH_BYTES, NoiseError
from weave.noise.protocol import AES_GCM, SHA256, TAG_BYTES, XXPSK3, Protocol

__all__ = ["Established", "Handshake", "HandshakeRefused", "Hello", "Reason"]

NOISE_PROTOCOL = Protocol(XXPSK3, AES_GCM, SHA256)
_PROLOGUE = b"weave mesh control\0"
_HEADER = struct.Struct(">BH")


class _Kind(IntEnum):
    NOISE = 1
    REFUSAL = 2
    VERDICT = 3


_MAX_BODY_BYTES = {
    _Kind.NOISE: 2 * DH_BYTES + 2 * TAG_BYTES + PREAMBLE_BYTES + MAX_HELLO_BYTES,
    _Kind.REFUSAL: MAX_REFUSAL_BYTES,
    _Kind.VERDICT: MAX_REFUSAL_BYTES + TAG_BYTES,
}
"""Known before a body is buffered. A handshake takes each kind a fixed number of times: 5 KiB all in all."""


class _Step(Enum):
    """What we wait for."""

    PREAMBLE = "preamble"
    MESSAGE_1 = "message 1"
    MESSAGE_2 = "message 2"
    MESSAGE_3 = "message 3"
    VERDICT = "verdict"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Established:
    """What a finished handshake gives: who is there, the session, and bytes that belong to it already."""

    hello: Hello
    session: Session
    leftover: bytes
    protocol: int
    """The version both ends speak from here on."""
    psk_index: int
    """Which of our pre-shared keys the other end used: shows who still dials with the password of before."""


class Handshake:
    """One end of a handshake; feed it what arrives, send what it returns."""

    def __init__(
        self,
        *,
        identity: Identity,
        hello: Hello,
        psks: Sequence[bytes],
        initiator: bool,
        ephemeral: bytes,
        judge: Callable[[Hello], Reason | None] = lambda _: None,
    ) -> None:
        """Begin; an initiator uses `psks[0]`, a responder accepts any; `ephemeral` is 32 fresh random bytes.

        `judge` may refuse an introduction whose key is proven: it knows what a single handshake cannot.
        """
        if hello.identity != identity.public:
            raise LocalError("a handshake must introduce the identity that it proves")
        self.established: Established | None = None
        self._initiator = initiator
        self._hello = hello
        self._judge = judge
        self._psks = tuple(psks[:1] if initiator else psks)
        self._identity = identity
        self._ephemeral = ephemeral
        self._preamble = Preamble.of(hello.protocol_min, hello.protocol_max, self._psks)
        self._noise: HandshakeState | None = None
        self._ciphers: tuple[CipherState, CipherState] | None = None
        self._remote_preamble: Preamble | None = None
        self._remote: Hello | None = None
        self._protocol = 0
        self._preamble_sent = False
        self._step = _Step.PREAMBLE
        self._buffer = bytearray()
        self._outbox = bytearray()

    def start(self) -> bytes:
        """Return the initiator's first bytes; a responder has none."""
        if self._initiator:
            self._noise = self._begin_noise(self._preamble)
            self._send(_Kind.NOISE, self._noise.write_message())
        return self._take_outbox()

    def receive(self, data: bytes) -> bytes:
        """Take what arrived and return what to send, perhaps nothing; raise `HandshakeRefused` where it ends."""
        if self._step is _Step.OVER:
            raise LocalError("the handshake is over; what arrives belongs to the session")
        self._buffer += data
        try:
            if self._step is _Step.PREAMBLE:
                self._receive_preamble()
            while self._step not in (_Step.PREAMBLE, _Step.OVER) and (record := self._take_record()) is not None:
                self._receive_record(*record)
        except HandshakeRefused:
            self._step = _Step.OVER
            raise
        return self._take_outbox()

    def refuse(self, reason: Reason, detail: str = "") -> HandshakeRefused:
        """End an unfinished handshake for a reason of ours; send the `reply` of what this returns, then raise it."""
        assert self.established is None, "an established connection is closed, not refused"
        self._step = _Step.OVER
        body = encode_refusal(reason, detail)
        if self._ciphers:
            self._send(_Kind.VERDICT, self._ciphers[0].encrypt(body))
        else:
            self._send(_Kind.REFUSAL, body)
        return HandshakeRefused(reason, printable(detail), self._take_outbox())

    # -- the preamble -----------------------------------------------------------------------------------------------

    def _receive_preamble(self) -> None:
        try:
            check_beginning(self._buffer, self._preamble)
            if len(self._buffer) < PREAMBLE_BYTES:
                return
            remote = Preamble.parse(bytes(self._buffer[:PREAMBLE_BYTES]))
            self._protocol = self._preamble.agree(remote)
        except HandshakeRefused as exc:
            if exc.reason is Reason.NOT_WEAVE:
                raise
            raise self.refuse(exc.reason, exc.detail) from exc
        del self._buffer[:PREAMBLE_BYTES]
        self._remote_preamble = remote
        if not self._initiator:
            self._noise = self._begin_noise(remote)
        self._step = _Step.MESSAGE_2 if self._initiator else _Step.MESSAGE_1

    def _begin_noise(self, initiators: Preamble) -> HandshakeState:
        return HandshakeState(
            NOISE_PROTOCOL,
            initiator=self._initiator,
            prologue=_PROLOGUE + initiators.raw,
            static=self._identity.static_keys,
            ephemeral=self._ephemeral,
            psks=self._psks,
        )

    # -- records ----------------------------------------------------------------------------------------------------

    def _take_record(self) -> tuple[_Kind, bytes] | None:
        """Return the next whole record; refuse kinds and lengths that cannot be, before their body has come."""
        if len(self._buffer) < _HEADER.size:
            return None
        kind, length = _HEADER.unpack_from(self._buffer)
        if kind not in _MAX_BODY_BYTES:
            raise self.refuse(Reason.MALFORMED, f"a record of kind {kind}")
        if length > _MAX_BODY_BYTES[kind]:
            raise self.refuse(Reason.OVERSIZED, f"a record of {length} bytes")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return _Kind(kind), body

    def _receive_record(self, kind: _Kind, body: bytes) -> None:
        if kind is _Kind.REFUSAL:
            raise self._refused_by_remote(body)
        handler = _HANDLERS.get((self._step, kind))
        if handler is None:
            raise self.refuse(Reason.MALFORMED, f"a {kind.name.lower()} instead of {self._step.value}")
        try:
            handler(self, body)
        except PskMismatchError as exc:
            raise self.refuse(Reason.WRONG_PASSWORD) from exc
        except NoiseError as exc:
            raise self.refuse(Reason.TAMPERED, f"at {self._step.value}") from exc

    def _on_message_1(self, body: bytes) -> None:
        noise = self._noise_state()
        noise.read_message(body)
        self._send(_Kind.NOISE, noise.write_message(self._introduction()))
        self._step = _Step.MESSAGE_3

    def _on_message_2(self, body: bytes) -> None:
        noise = self._noise_state()
        self._remote = self._read_introduction(noise.read_message(body))
        self._send(_Kind.NOISE, noise.write_message(self._introduction()))
        self._ciphers = noise.split()
        self._send_verdict(self._remote)
        self._step = _Step.VERDICT

    def _on_message_3(self, body: bytes) -> None:
        noise = self._noise_state()
        introduction = noise.read_message(body)
        self._ciphers = noise.split()
        self._remote = self._read_introduction(introduction)
        self._step = _Step.VERDICT

    def _on_verdict(self, body: bytes) -> None:
        assert self._ciphers is not None
        assert self._remote is not None
        send, receive = self._ciphers
        verdict = receive.decrypt(body)
        if verdict:
            raise self._refused_by_remote(verdict)
        if not self._initiator:
            self._send_verdict(self._remote)
        self._step = _Step.OVER
        leftover = bytes(self._buffer)
        self._buffer.clear()
        self.established = Established(
            self._remote, Session(send, receive), leftover, self._protocol, self._noise_state().psk_index
        )

    # -- introductions and verdicts -----------------------------------------------------------------------------------

    def _introduction(self) -> bytes:
        return self._preamble.raw + self._hello.encode()

    def _read_introduction(self, payload: bytes) -> Hello:
        """Return the other end's hello once it agrees with the preamble and with the key that was proven."""
        assert self._remote_preamble is not None
        if payload[:PREAMBLE_BYTES] != self._remote_preamble.raw:
            raise self.refuse(Reason.TAMPERED, "the preamble was altered on the way")
        try:
            hello = Hello.decode(payload[PREAMBLE_BYTES:])
        except RemoteError as exc:
            raise self.refuse(Reason.MALFORMED, str(exc)) from exc
        if hello.identity.static_key != self._noise_state().remote_static:
            raise self.refuse(Reason.IDENTITY_MISMATCH)
        if (hello.protocol_min, hello.protocol_max) != self._remote_preamble.versions:
            raise self.refuse(Reason.MALFORMED, "its hello and its preamble name different versions")
        return hello

    def _send_verdict(self, remote: Hello) -> None:
        """Tell the other end, under encryption, that it is welcome (an empty verdict); raise where it is not."""
        assert self._ciphers is not None
        reason = self._judge_self(remote) or self._judge(remote)
        if reason is not None:
            us, them = _label(self._hello), _label(remote)
            raise self.refuse(reason, f"{us} refused {them}")
        self._send(_Kind.VERDICT, self._ciphers[0].encrypt(b""))

    def _judge_self(self, remote: Hello) -> Reason | None:
        """Return why a peer with our own key is refused: it is us, or a copy of us."""
        if remote.identity.signing_key != self._hello.identity.signing_key:
            return None
        return Reason.SELF_CONNECTION if remote.uid == self._hello.uid else Reason.CLONED_IDENTITY

    def _refused_by_remote(self, body: bytes) -> HandshakeRefused:
        """Return the other end's refusal, in our words; nothing is sent back."""
        self._step = _Step.OVER
        reason, detail = decode_refusal(body)
        return HandshakeRefused(reason, f"says the other end: {detail}" if detail else "says the other end")

    # -- small change -------------------------------------------------------------------------------------------------

    def _noise_state(self) -> HandshakeState:
        assert self._noise is not None, "receive was called before start"
        return self._noise

    def _send(self, kind: _Kind, body: bytes) -> None:
        if not self._preamble_sent:
            self._preamble_sent = True
            self._outbox += self._preamble.raw
        self._outbox += _HEADER.pack(kind, len(body)) + body

    def _take_outbox(self) -> bytes:
        taken = bytes(self._outbox)
        self._outbox.clear()
        return taken


_HANDLERS: dict[tuple[_Step, _Kind], Callable[[Handshake, bytes], None]] = {
    (_Step.MESSAGE_1, _Kind.NOISE): Handshake._on_message_1,
    (_Step.MESSAGE_2, _Kind.NOISE): Handshake._on_message_2,
    (_Step.MESSAGE_3, _Kind.NOISE): Handshake._on_message_3,
    (_Step.VERDICT, _Kind.VERDICT): Handshake._on_verdict,
}


def _label(hello: Hello) -> str:
    return f"{hello.nickname} ({hello.identity.name})"
