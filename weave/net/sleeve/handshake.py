"""Noise IKpsk2 (25519, AESGCM, SHA256) over two datagrams, with the tags of the door around them. Pure.

The static keys are known beforehand from gossip, so one round trip makes a session, and any two peers can have one
whether or not they share a control connection. The initiator's tag says which password it uses; the responder answers
with that one, so that passwords change without an outage.
"""

from dataclasses import dataclass

from weave.net.sleeve.keys import tag, tag_key
from weave.net.sleeve.session import Session
from weave.net.sleeve.wire import (
    INITIATION_BYTES,
    INITIATION_HEAD,
    NOISE_1_BYTES,
    NOISE_2_BYTES,
    RESPONSE_BYTES,
    RESPONSE_HEAD,
    TAG_BYTES,
    Key,
    Kind,
    SleeveError,
)
from weave.noise.handshake_state import HandshakeState
from weave.noise.keys import KeyPair
from weave.noise.protocol import AES_GCM, IKPSK2, SHA256, Protocol

PROTOCOL = Protocol(IKPSK2, AES_GCM, SHA256)
PROLOGUE = b"weave sleeve 1"
_TAGGED = INITIATION_BYTES - 2 * TAG_BYTES


@dataclass(slots=True)
class Initiation:
    """A handshake that we began and that nobody has answered yet."""

    local: int
    state: HandshakeState
    datagram: bytes
    first_tag: bytes
    tag_key: bytes
    began: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A handshake that somebody began with us, read and authenticated but for the password's last proof."""

    remote: int
    initiator: Key
    state: HandshakeState


def initiate(static: KeyPair, receiver: Key, psk: bytes, *, local: int, ephemeral: bytes, cookie: bytes | None,
             now: float) -> Initiation:
    """Begin a handshake; `ephemeral` must never be used again."""
    state = HandshakeState(PROTOCOL, initiator=True, prologue=PROLOGUE, static=static, ephemeral=ephemeral,
                           psks=[psk], remote_static=receiver)
    body = INITIATION_HEAD.pack(Kind.INITIATION, local) + state.write_message()
    key = tag_key(psk, receiver)
    first = tag(key, body)
    second = bytes(TAG_BYTES) if cookie is None else tag(cookie, body + first)
    return Initiation(local, state, body + first + second, first, key, now)


def initiation_parts(datagram: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Return sender, what the first tag covers, and both tags; raise `SleeveError` for a wrong length."""
    if len(datagram) != INITIATION_BYTES:
        raise SleeveError("an initiation has the wrong length")
    sender = INITIATION_HEAD.unpack_from(datagram)[1]
    return sender, datagram[:_TAGGED], datagram[_TAGGED:_TAGGED + TAG_BYTES], datagram[_TAGGED + TAG_BYTES:]


def read_initiation(static: KeyPair, psk: bytes, datagram: bytes, ephemeral: bytes) -> Opened:
    """Open an initiation that the door let in; raise `RemoteError` where it does not authenticate."""
    state = HandshakeState(PROTOCOL, initiator=False, prologue=PROLOGUE, static=static, ephemeral=ephemeral,
                           psks=[psk])
    at = INITIATION_HEAD.size
    state.read_message(datagram[at:at + NOISE_1_BYTES])
    assert state.remote_static is not None, "IK tells the initiator's key"
    return Opened(INITIATION_HEAD.unpack_from(datagram)[1], Key(state.remote_static), state)


def respond(opened: Opened, psk: bytes, *, local: int, now: float) -> tuple[bytes, Session]:
    """Return the response and the session; it is used only once the initiator has shown that it has it too."""
    body = RESPONSE_HEAD.pack(Kind.RESPONSE, local, opened.remote) + opened.state.write_message()
    session = Session(local=local, remote=opened.remote, keys=opened.state.split_keys(), is_initiator=False, now=now)
    return body + tag(tag_key(psk, opened.initiator), body), session


def response_receiver(datagram: bytes) -> int:
    """Return to which initiation a response belongs; raise `SleeveError` for a wrong length."""
    if len(datagram) != RESPONSE_BYTES:
        raise SleeveError("a response has the wrong length")
    return int(RESPONSE_HEAD.unpack_from(datagram)[2])


def complete(initiation: Initiation, datagram: bytes, now: float) -> Session:
    """Return the session that a response makes; raise `RemoteError` where it does not authenticate.

    A copy of the state is not needed: a forged response does not get past its tag, which needs the password.
    """
    _, remote, _ = RESPONSE_HEAD.unpack_from(datagram)
    at = RESPONSE_HEAD.size
    initiation.state.read_message(datagram[at:at + NOISE_2_BYTES])
    return Session(local=initiation.local, remote=remote, keys=initiation.state.split_keys(), is_initiator=True,
                   now=now, begun=initiation.began)
