"""Where Noise must stop: nonces, wrong keys, bad points, short messages."""

import pytest

from weave.noise.cipher_state import NONCE_LIMIT, CipherState
from weave.noise.handshake_state import HandshakeState, PskMismatchError
from weave.noise.keys import KeyPair, NoiseError
from weave.noise.protocol import AES_GCM, CHACHA_POLY, IKPSK2, SHA256, XXPSK3, Cipher, Pattern, Protocol

from .pairs import secret


def state(initiator: bool, psks: list[str], pattern: Pattern = XXPSK3, prologue: bytes = b"") -> HandshakeState:
    return HandshakeState(
        Protocol(pattern, AES_GCM, SHA256), initiator=initiator, prologue=prologue,
        static=KeyPair.from_private(secret(f"static {initiator}")), ephemeral=secret(f"ephemeral {initiator}"),
        psks=[secret(word) for word in psks],
        remote_static=KeyPair.from_private(secret("static False")).public if initiator else None,
    )


@pytest.mark.parametrize("cipher", [AES_GCM, CHACHA_POLY], ids=lambda cipher: cipher.name)
def test_counter_stops_long_before_it_overflows(cipher: Cipher) -> None:
    sender = CipherState(cipher, secret("key"))
    sender.nonce = NONCE_LIMIT - 1
    sender.encrypt(b"last")
    for _ in range(2):
        with pytest.raises(NoiseError, match="used up"):
            sender.encrypt(b"never")


def test_failed_decryption_counts_nothing() -> None:
    sender, receiver = CipherState(AES_GCM, secret("key")), CipherState(AES_GCM, secret("key"))
    with pytest.raises(NoiseError):
        receiver.decrypt(b"junk")
    assert receiver.decrypt(sender.encrypt(b"first")) == b"first"


def test_rekey_changes_the_key_and_not_the_counter() -> None:
    sender, receiver = CipherState(AES_GCM, secret("key")), CipherState(AES_GCM, secret("key"))
    receiver.decrypt(sender.encrypt(b"1"))
    sender.rekey()
    sealed = sender.encrypt(b"2")
    with pytest.raises(NoiseError):
        receiver.decrypt(sealed)
    receiver.rekey()
    assert receiver.decrypt(sealed) == b"2"
    assert sender.nonce == receiver.nonce == 2


@pytest.mark.parametrize(("ours", "found"), [(["a"], 0), (["x", "a"], 1), (["x", "y", "z", "a"], 3)])
def test_responder_finds_the_key_among_several(ours: list[str], found: int) -> None:
    initiator, responder = state(True, ["a"]), state(False, ours)
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    assert responder.read_message(initiator.write_message(b"hi")) == b"hi"
    assert responder.psk_index == found
    assert responder.split()[0].encrypt(b"") == initiator.split()[1].encrypt(b"")


def test_wrong_key_is_told_apart_from_a_broken_message() -> None:
    initiator, responder = state(True, ["a"]), state(False, ["b", "c"])
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    message = initiator.write_message(b"hi")
    with pytest.raises(PskMismatchError):
        responder.read_message(message)


def test_broken_static_key_is_not_called_a_wrong_key() -> None:
    initiator, responder = state(True, ["a"]), state(False, ["a"])
    responder.read_message(initiator.write_message())
    initiator.read_message(responder.write_message())
    message = initiator.write_message(b"hi")
    with pytest.raises(NoiseError) as caught:
        responder.read_message(bytes([message[0] ^ 1]) + message[1:])
    assert not isinstance(caught.value, PskMismatchError)


def test_initiator_of_ik_notices_a_wrong_key() -> None:
    initiator, responder = state(True, ["a"], IKPSK2), state(False, ["b"], IKPSK2)
    responder.read_message(initiator.write_message())
    with pytest.raises(PskMismatchError):
        initiator.read_message(responder.write_message())


def test_another_prologue_is_refused() -> None:
    initiator, responder = state(True, ["a"]), state(False, ["a"], prologue=b"other")
    with pytest.raises(NoiseError):
        responder.read_message(initiator.write_message())


@pytest.mark.parametrize("size", [0, 31, 47, 65536])
def test_messages_of_impossible_length_are_refused(size: int) -> None:
    with pytest.raises(NoiseError):
        state(False, ["a"]).read_message(bytes(size))


def test_point_of_low_order_is_refused() -> None:
    with pytest.raises(NoiseError, match="low order"):
        KeyPair.from_private(secret("key")).exchange(bytes(32))
