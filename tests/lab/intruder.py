"""A peer that knows the password and means no good: `python -m tests.lab.intruder ADDRESS PASSWORD DEED`.

Shakes hands like everybody, says what the deed has it say, and prints what became of the connection: `alive` where a
heartbeat still comes back, else the words of the other end or `closed`. Blocking sockets and the protocol's own cores.
"""

import os
import random
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from weave.mesh.entries import Entry, write_entry
from weave.mesh.framing import Session
from weave.mesh.handshake import Established, Handshake, Hello
from weave.mesh.identity import Identity
from weave.mesh.messages import Delta, Goodbye, Group, Heartbeat, Message, Unicast, decode, encode
from weave.mesh.password import OPEN_PSK, stretch
from weave.mesh.preamble import PROTOCOL_MAX, PROTOCOL_MIN
from weave.names import PeerName
from weave.wire import pack

PORT = 6783
IPAM_KEYS = (b"seed4", b"paxos4", b"wish4", b"free4")
NOBODY = PeerName("02:00:00:00:00:99")
PATIENCE_S = 5.0
FLOOD_BYTES = 32 << 20
"""More than any buffer that may be there; a router that kept it all would show."""


class Intruder:
    """One connection, shaken hands and all."""

    def __init__(self, address: str, password: str) -> None:
        self.identity = Identity.from_seed(secrets.token_bytes(32))
        hello = Hello(identity=self.identity.public, nickname="intruder", uid=secrets.randbits(63),
                      protocol_min=PROTOCOL_MIN, protocol_max=PROTOCOL_MAX, control_port=PORT, trusts_remote=False)
        handshake = Handshake(identity=self.identity, hello=hello, initiator=True, ephemeral=secrets.token_bytes(32),
                              psks=[stretch(password) if password else OPEN_PSK])
        self.socket = socket.create_connection((address, PORT), timeout=PATIENCE_S)
        self.socket.sendall(handshake.start())
        while handshake.established is None:
            self.socket.sendall(handshake.receive(self._receive()))
        self.established: Established = handshake.established
        self.session: Session = self.established.session

    @property
    def me(self) -> PeerName:
        return self.identity.public.name

    def say(self, *messages: Message) -> None:
        self.socket.sendall(b"".join(self.session.seal(encode(message)) for message in messages))

    def fate(self) -> str:
        """Return what has become of the connection."""
        stamp = secrets.randbits(40) + 1
        try:
            self.say(Heartbeat(stamp, 0, 0, ()))
            return self._await_echo(stamp)
        except OSError as exc:
            return "closed" if isinstance(exc, ConnectionError) else f"silent: {exc}"

    def _await_echo(self, stamp: int) -> str:
        deadline = time.monotonic() + 2 * PATIENCE_S
        data = self.established.leftover
        while time.monotonic() < deadline:
            for message in map(decode, self.session.receive(data)):
                if isinstance(message, Heartbeat) and message.echo == stamp:
                    return "alive"
                if isinstance(message, Goodbye):
                    return message.reason
            data = self._receive()
        return "silent"

    def _receive(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError
        return data


def random_records(peer: Intruder) -> None:
    """Records of the right length that no key opens."""
    peer.socket.sendall(b"".join(struct.pack(">H", 64) + os.urandom(64) for _ in range(16)))


def random_messages(peer: Intruder) -> None:
    """Well sealed nonsense."""
    peer.socket.sendall(b"".join(peer.session.seal(os.urandom(size)) for size in range(1, 64)))


def endless_message(peer: Intruder) -> None:
    """One message of many records that never ends."""
    noise = bytes(65000)
    for _ in range(FLOOD_BYTES // len(noise)):
        sealed = peer.session._send.encrypt(b"\1" + noise)  # what `seal` refuses to do
        peer.socket.sendall(struct.pack(">H", len(sealed)) + sealed)


def unknown_messages(peer: Intruder) -> None:
    """Messages of a version to come; they are to be skipped."""
    for kind in range(100, 200):
        peer.socket.sendall(peer.session.seal(pack([kind, 1])))


def bad_entries(peer: Intruder) -> None:
    """Signed entries that make no sense in their channels, beside one that does."""
    dice = random.Random(7)
    key = bytes.fromhex("0a00000000aa")
    for channel in ("dns", "endpoints", "ipam", "topology", "nonsense"):
        entries = [write_entry(channel, peer.me, dice.randbytes(dice.randrange(1, 40)), 1 << 32 | number,
                               dice.randbytes(dice.randrange(200)), peer.identity) for number in range(1, 50)]
        peer.say(delta(peer, channel, entries))
    peer.say(delta(peer, "ipam", [entry(peer, "ipam", key, b"\xc1") for key in IPAM_KEYS]))
    peer.say(delta(peer, "dns", [replace(entry(peer, "dns", key, b"value"), signature=bytes(64))]))


def forged_entries(peer: Intruder) -> None:
    """Entries in the name of the other end: with its key and our signature, and under our own key."""
    victim = peer.established.hello.identity
    mine = [entry(peer, channel, b"forged", b"value") for channel in ("dns", "ipam")]
    forged = [Entry(victim.name, each.key, 1 << 60, each.value, each.signature) for each in mine]
    for identity in (victim.encode(), peer.identity.public.encode()):
        for channel, each in zip(("dns", "ipam"), forged, strict=True):
            peer.say(Delta(channel, (Group(victim.name, identity, (each,)),)))


def flood_of_entries(peer: Intruder) -> None:
    """More names than anybody may publish."""
    value = bytes(8192)
    for batch in range(FLOOD_BYTES // len(value) // 16):
        peer.say(delta(peer, "dns", [entry(peer, "dns", b"%d.%d" % (batch, number), value) for number in range(16)]))


def flood_of_unicasts(peer: Intruder) -> None:
    """Requests for address space that make no sense, and mail for peers that do not exist."""
    target = peer.established.hello.identity.name
    for number in range(2000):
        peer.say(Unicast(peer.me, target, 0, "ipam", os.urandom(number % 300)),
                 Unicast(target, target, 32, "ipam", b"\xc0"), Unicast(peer.me, NOBODY, 0, "x", b""))


def entry(peer: Intruder, channel: str, key: bytes, value: bytes) -> Entry:
    return write_entry(channel, peer.me, key, (1 << 32) + secrets.randbits(30), value, peer.identity)


def delta(peer: Intruder, channel: str, entries: list[Entry]) -> Delta:
    return Delta(channel, (Group(peer.me, peer.identity.public.encode(), tuple(entries)),))


DEEDS: dict[str, Callable[[Intruder], None]] = {
    deed.__name__: deed for deed in (random_records, random_messages, endless_message, unknown_messages, bad_entries,
                                     forged_entries, flood_of_entries, flood_of_unicasts)}


def main() -> None:
    address, password, deed = sys.argv[1:]
    peer = Intruder(address, password)
    try:
        DEEDS[deed](peer)
    except OSError:
        print("closed")
        return
    print(peer.fate())


if __name__ == "__main__":
    main()
