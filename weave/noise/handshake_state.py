"""HandshakeState (section 5.3): runs one pattern, message by message, for either role.

It is given every key, the ephemeral one too: nothing here draws random numbers. A reader may hold several pre-shared
keys; the one that opens the payload is used from then on. After a `NoiseError` the state is of no further use.
"""

from collections.abc import Sequence

from weave.noise.cipher_state import CipherState
from weave.noise.keys import DH_BYTES, KeyPair, NoiseError
from weave.noise.protocol import MAX_MESSAGE_BYTES, TAG_BYTES, Protocol, Token
from weave.noise.symmetric_state import SymmetricState

PSK_BYTES = 32


class PskMismatchError(NoiseError):
    """All of the message but its payload is in order: the other end holds a pre-shared key that we do not."""


class HandshakeState:
    """One end of a Noise handshake."""

    def __init__(
        self,
        protocol: Protocol,
        *,
        initiator: bool,
        prologue: bytes,
        static: KeyPair,
        ephemeral: bytes,
        psks: Sequence[bytes],
        remote_static: bytes | None = None,
    ) -> None:
        """Begin; `psks[0]` is the one we write with, a reader tries all; `ephemeral` must never be used again."""
        assert psks, "a pattern with psk needs one"
        assert all(len(psk) == PSK_BYTES for psk in psks), "pre-shared keys have 32 bytes"
        self._pattern = protocol.pattern
        self._initiator = initiator
        self._static = static
        self._ephemeral_seed = ephemeral
        self._ephemeral: KeyPair | None = None
        self._psks = tuple(psks)
        self.psk_index = 0
        """Which of `psks` is in use; final once the handshake is finished."""
        self.remote_static = remote_static
        self._remote_ephemeral: bytes | None = None
        self._next_message = 0
        self._symmetric = SymmetricState(protocol)
        self._symmetric.mix_hash(prologue)
        if self._pattern.responder_is_known:
            known = remote_static if initiator else static.public
            assert known is not None, f"{self._pattern.name} needs the responder's static key beforehand"
            self._symmetric.mix_hash(known)

    @property
    def is_finished(self) -> bool:
        """Return whether every message of the pattern went through."""
        return self._next_message == len(self._pattern.messages)

    @property
    def handshake_hash(self) -> bytes:
        """Return the hash of the whole transcript; both ends have the same, nobody else (section 11.2)."""
        return self._symmetric.hash

    def write_message(self, payload: bytes = b"") -> bytes:
        """Return our next handshake message."""
        tokens = self._take_turn(writing=True)
        message = b"".join(self._write_token(token) for token in tokens)
        message += self._symmetric.encrypt_and_hash(payload)
        assert len(message) <= MAX_MESSAGE_BYTES, "a Noise message has at most 65535 bytes"
        return message

    def read_message(self, message: bytes) -> bytes:
        """Return the payload of the other end's next message; raise `NoiseError` or `PskMismatchError`."""
        if len(message) > MAX_MESSAGE_BYTES:
            raise NoiseError(f"a handshake message of {len(message)} bytes is too long")
        tokens = self._take_turn(writing=False)
        rest = message
        for token in tokens:
            rest = self._read_token(token, rest)
        if tokens[-1] is Token.PSK:
            return self._open_with_any_psk(rest)
        return self._symmetric.decrypt_and_hash(rest)

    def split(self) -> tuple[CipherState, CipherState]:
        """Return our sending and our receiving state; once, after the last message."""
        assert self.is_finished, "the handshake is not finished"
        from_initiator, from_responder = self._symmetric.split()
        return (from_initiator, from_responder) if self._initiator else (from_responder, from_initiator)

    def split_keys(self) -> tuple[bytes, bytes]:
        """Return our sending and our receiving key, for a tunnel that lays out its own nonces."""
        assert self.is_finished, "the handshake is not finished"
        from_initiator, from_responder = self._symmetric.split_keys()
        return (from_initiator, from_responder) if self._initiator else (from_responder, from_initiator)

    def _take_turn(self, *, writing: bool) -> tuple[Token, ...]:
        assert not self.is_finished, "the handshake is finished"
        ours = (self._next_message % 2 == 0) == self._initiator
        assert ours == writing, "it is the other end's turn"
        tokens = self._pattern.messages[self._next_message]
        self._next_message += 1
        return tokens

    def _write_token(self, token: Token) -> bytes:
        if token is Token.E:
            self._ephemeral = KeyPair.from_private(self._ephemeral_seed)
            self._bind_ephemeral(self._ephemeral.public)
            return self._ephemeral.public
        if token is Token.S:
            return self._symmetric.encrypt_and_hash(self._static.public)
        if token is Token.PSK:
            self._symmetric.mix_key_and_hash(self._psks[self.psk_index])
        else:
            self._symmetric.mix_key(self._exchange(token))
        return b""

    def _read_token(self, token: Token, rest: bytes) -> bytes:
        """Consume what the token takes from the message; return what is left. A psk waits for the payload."""
        if token is Token.E:
            self._remote_ephemeral, rest = _take(rest, DH_BYTES)
            self._bind_ephemeral(self._remote_ephemeral)
        elif token is Token.S:
            sealed, rest = _take(rest, DH_BYTES + (TAG_BYTES if self._symmetric.has_key else 0))
            self.remote_static = self._symmetric.decrypt_and_hash(sealed)
        elif token is not Token.PSK:
            self._symmetric.mix_key(self._exchange(token))
        return rest

    def _bind_ephemeral(self, public: bytes) -> None:
        """Bind an ephemeral key; as all our patterns have a psk it is mixed into the key too (section 9.2)."""
        self._symmetric.mix_hash(public)
        self._symmetric.mix_key(public)

    def _open_with_any_psk(self, sealed: bytes) -> bytes:
        for index, psk in enumerate(self._psks):
            trial = self._symmetric.fork()
            trial.mix_key_and_hash(psk)
            try:
                payload = trial.decrypt_and_hash(sealed)
            except NoiseError:
                continue
            self._symmetric, self.psk_index = trial, index
            return payload
        raise PskMismatchError("the message was sealed with another pre-shared key")

    def _exchange(self, token: Token) -> bytes:
        """Return the shared secret a token stands for: its first letter is the initiator's key."""
        initiators, responders = token.value[0], token.value[1]
        ours, theirs = (initiators, responders) if self._initiator else (responders, initiators)
        pair = self._ephemeral if ours == "e" else self._static
        public = self._remote_ephemeral if theirs == "e" else self.remote_static
        assert pair is not None, "the pattern uses a key that was not made"
        assert public is not None, "the pattern uses a key that was not heard"
        return pair.exchange(public)


def _take(data: bytes, count: int) -> tuple[bytes, bytes]:
    if len(data) < count:
        raise NoiseError("a handshake message is too short")
    return data[:count], data[count:]
