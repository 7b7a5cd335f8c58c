"""The Noise implementation against the published vectors and against an independent implementation."""

import itertools
import json
from pathlib import Path

import pytest
from noise.connection import Keypair, NoiseConnection

from weave.noise.handshake_state import HandshakeState
from weave.noise.keys import KeyPair
from weave.noise.protocol import CIPHERS, HASHES, IKPSK2, PATTERNS, Protocol

PROTOCOLS = {p.name.decode(): p for p in itertools.starmap(Protocol, itertools.product(PATTERNS, CIPHERS, HASHES))}
BOOK = json.loads((Path(__file__).parent / "vectors.json").read_text())
VECTORS = {vector["protocol_name"]: vector for vector in BOOK["vectors"]}
PAYLOADS = [bytes.fromhex(payload) for payload in BOOK["payloads"]]


def book(key: str) -> bytes:
    return bytes.fromhex(BOOK[key])


def ends(protocol: Protocol) -> tuple[HandshakeState, HandshakeState]:
    known = book("resp_static_public") if protocol.pattern is IKPSK2 else None
    initiator = HandshakeState(
        protocol, initiator=True, prologue=book("prologue"), static=KeyPair.from_private(book("init_static")),
        ephemeral=book("init_ephemeral"), psks=[book("psk")], remote_static=known,
    )
    responder = HandshakeState(
        protocol, initiator=False, prologue=book("prologue"), static=KeyPair.from_private(book("resp_static")),
        ephemeral=book("resp_ephemeral"), psks=[book("psk")],
    )
    return initiator, responder


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_published_vectors(name: str) -> None:
    vector, protocol = VECTORS[name], PROTOCOLS[name]
    initiator, responder = ends(protocol)
    steps = list(zip(PAYLOADS, map(bytes.fromhex, vector["ciphertexts"]), strict=True))
    handshake_steps = len(protocol.pattern.messages)
    for index, (payload, ciphertext) in enumerate(steps[:handshake_steps]):
        writer, reader = (initiator, responder) if index % 2 == 0 else (responder, initiator)
        assert writer.write_message(payload) == ciphertext
        assert reader.read_message(ciphertext) == payload
    assert initiator.handshake_hash == responder.handshake_hash
    (i_send, i_receive), (r_send, r_receive) = initiator.split(), responder.split()
    for index, (payload, ciphertext) in enumerate(steps[handshake_steps:], start=handshake_steps):
        send, receive = (i_send, r_receive) if index % 2 == 0 else (r_send, i_receive)
        assert send.encrypt(payload) == ciphertext
        assert receive.decrypt(ciphertext) == payload


def oracle(protocol: Protocol, *, initiator: bool) -> NoiseConnection:
    other = NoiseConnection.from_name(protocol.name)
    other.set_as_initiator() if initiator else other.set_as_responder()
    other.set_prologue(book("prologue"))
    other.set_psks(psk=book("psk"))
    prefix = "init" if initiator else "resp"
    other.set_keypair_from_private_bytes(Keypair.STATIC, book(prefix + "_static"))
    if initiator and protocol.pattern is IKPSK2:
        other.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, book("resp_static_public"))
    other.start_handshake()
    return other


@pytest.mark.parametrize("we_initiate", [True, False])
@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_interoperates_with_noiseprotocol(name: str, we_initiate: bool) -> None:
    protocol = PROTOCOLS[name]
    us, them = ends(protocol)[0 if we_initiate else 1], oracle(protocol, initiator=not we_initiate)
    for index in range(len(protocol.pattern.messages)):
        payload = b"payload %d" % index
        if (index % 2 == 0) == we_initiate:
            assert them.read_message(us.write_message(payload)) == payload
        else:
            assert us.read_message(bytes(them.write_message(payload))) == payload
    assert us.handshake_hash == them.get_handshake_hash()
    send, receive = us.split()
    for number in range(3):
        assert them.decrypt(send.encrypt(b"out %d" % number)) == b"out %d" % number
        assert receive.decrypt(them.encrypt(b"in %d" % number)) == b"in %d" % number
    send.rekey()
    them.rekey_inbound_cipher()
    assert them.decrypt(send.encrypt(b"new key")) == b"new key"
