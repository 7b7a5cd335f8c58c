"""Two ends of a handshake wired back to back; everything is derived from fixed seeds, so every run is the same."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from weave.mesh.framing import Session
from weave.mesh.handshake import Established, Handshake, HandshakeRefused, Hello, Reason
from weave.mesh.identity import Identity
from weave.mesh.password import OPEN_PSK
from weave.noise.cipher_state import CipherState
from weave.noise.protocol import AES_GCM
from weave.wire import Plain

ALICE = Identity.from_seed(b"a" * 32)
BOB = Identity.from_seed(b"b" * 32)
UIDS = {ALICE.name: 1, BOB.name: 2}

Outcome = Established | HandshakeRefused | None
"""None: still waiting."""


def psk(word: str) -> bytes:
    """Stand in for `stretch`, which takes a tenth of a second."""
    return hashlib.sha256(word.encode()).digest() if word else OPEN_PSK


def secret(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


@dataclass
class End:
    """How one end is set up; `words` are its passwords, the first is the one it dials with."""

    identity: Identity = ALICE
    words: tuple[str, ...] = ("secret",)
    versions: tuple[int, int] = (3, 3)
    uid: int | None = None
    features: dict[str, Plain] = field(default_factory=dict)
    judge: Callable[[Hello], Reason | None] = lambda _: None

    def hello(self) -> Hello:
        return Hello(
            identity=self.identity.public, nickname="host-" + self.identity.name[:2],
            uid=UIDS.get(self.identity.name, 3) if self.uid is None else self.uid,
            protocol_min=self.versions[0], protocol_max=self.versions[1],
            control_port=6783, trusts_remote=False, features=self.features,
        )

    def handshake(self, *, initiator: bool) -> Handshake:
        return Handshake(
            identity=self.identity, hello=self.hello(), psks=[psk(word) for word in self.words],
            initiator=initiator, ephemeral=secret(f"ephemeral {initiator}"), judge=self.judge,
        )


def pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    for start in range(0, len(data), size or max(1, len(data))):
        yield data[start : start + (size or len(data))]


def feed(handshake: Handshake, data: bytes, size: int | None = None) -> tuple[bytes, Outcome]:
    """Give bytes to an end; return what it says and how it stands."""
    said = b""
    try:
        for piece in pieces(data, size):
            said += handshake.receive(piece)
    except HandshakeRefused as refusal:
        return said + refusal.reply, refusal
    return said, handshake.established


@dataclass
class Transcript:
    """What came of two ends, and all that each of them said."""

    initiator: Outcome = None
    responder: Outcome = None
    from_initiator: bytes = b""
    from_responder: bytes = b""


def connect(
    first: End,
    second: End,
    size: int | None = None,
    tamper_first: Callable[[bytes], bytes] = lambda data: data,
    tamper_second: Callable[[bytes], bytes] = lambda data: data,
) -> Transcript:
    """Let `first` dial `second`, in pieces of `size` bytes, with somebody on the way; run until nothing moves."""
    initiator, responder = first.handshake(initiator=True), second.handshake(initiator=False)
    seen = Transcript()
    to_responder = initiator.start()
    while to_responder:
        seen.from_initiator += to_responder
        to_initiator, seen.responder = feed(responder, tamper_first(to_responder), size)
        seen.from_responder += to_initiator
        to_responder = b""
        if to_initiator and not isinstance(seen.initiator, HandshakeRefused):
            to_responder, seen.initiator = feed(initiator, tamper_second(to_initiator), size)
        if isinstance(seen.responder, HandshakeRefused):
            break
    return seen


def reasons(seen: Transcript) -> tuple[Reason | None, Reason | None]:
    """Return the reasons that the initiator and the responder show."""
    return tuple(o.reason if isinstance(o, HandshakeRefused) else None for o in (seen.initiator, seen.responder))  # type: ignore[return-value]


def session_pair() -> tuple[Session, Session]:
    """Return two ends of an established connection, without the handshake."""
    one, two = secret("one"), secret("two")
    return (
        Session(CipherState(AES_GCM, one), CipherState(AES_GCM, two)),
        Session(CipherState(AES_GCM, two), CipherState(AES_GCM, one)),
    )
