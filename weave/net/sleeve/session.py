"""One session: two keys, one for each direction, and counters that never repeat. Pure.

A nonce is 32 bits of purpose and a 64-bit counter. Data and control have counters of their own under one key, so that
a gap among data counters means a lost unit and nothing else. Keys come from a fresh handshake, live in memory alone
and die with the process: no counter is ever used twice, not even over a crash.
"""

from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from weave.net.sleeve import limits
from weave.net.sleeve.replay import ReplayWindow
from weave.net.sleeve.wire import HEADER, HEADER_BYTES, TAG_BYTES, Kind, SleeveError

NONCE = Struct(">IQ")
DATA, _CONTROL = 0, 1
"""Purposes: the first number of a nonce; the second is the counter."""


class Session:
    """What two ends agreed in one handshake."""

    __slots__ = ("_control_sent", "begun", "born", "control_seen", "is_initiator", "local", "opener", "remote",
                 "sealer", "seen", "sent")

    def __init__(self, *, local: int, remote: int, keys: tuple[bytes, bytes], is_initiator: bool, now: float,
                 begun: float | None = None) -> None:
        self.local = local
        """The number that datagrams to us carry."""
        self.remote = remote
        self.is_initiator = is_initiator
        self.born = now
        self.begun = now if begun is None else begun
        """When the initiation left us, or reached us."""
        self.sealer = AESGCM(keys[0])
        self.opener = AESGCM(keys[1])
        self.sent = 0
        """The counter of the next unit."""
        self.seen = ReplayWindow()
        self.control_seen = ReplayWindow()
        self._control_sent = 0

    def is_usable(self, now: float) -> bool:
        """Say whether anything may still be sealed or opened."""
        return now - self.born < limits.REJECT_AFTER_S and self.sent < 2 * limits.REKEY_AFTER_UNITS

    @property
    def successor_at(self) -> float:
        """Return when it is time for new keys."""
        return self.born + limits.REKEY_AFTER_S + (0.0 if self.is_initiator else limits.REKEY_GRACE_S)

    def wants_successor(self, now: float) -> bool:
        """Say whether it is time for new keys, by the clock or by what they sealed."""
        return now >= self.successor_at or self.sent >= limits.REKEY_AFTER_UNITS

    def next_unit(self) -> int:
        """Return a counter that no unit had before."""
        counter = self.sent
        self.sent += 1
        return counter

    def seal_control(self, body: bytes, size: int = 0) -> bytes:
        """Return a control datagram, padded with zeros up to `size` octets."""
        body = body.ljust(size - HEADER_BYTES - TAG_BYTES, b"\0")
        counter = self._control_sent
        self._control_sent += 1
        header = HEADER.pack(Kind.CONTROL, 1, 0, self.remote, counter)
        return header + self.sealer.encrypt(NONCE.pack(_CONTROL, counter), body, header)

    def open_control(self, datagram: bytes) -> tuple[bytes, bool]:
        """Return what a control datagram holds and whether it is the newest so far; raise `SleeveError`."""
        counter = HEADER.unpack_from(datagram)[4]
        if not self.control_seen.is_new(counter):
            raise SleeveError("a control message came twice")
        try:
            body = self.opener.decrypt(NONCE.pack(_CONTROL, counter), datagram[HEADER_BYTES:],
                                       datagram[:HEADER_BYTES])
        except (InvalidTag, ValueError) as exc:
            raise SleeveError("a control message does not authenticate") from exc
        is_newest = counter > self.control_seen.highest
        self.control_seen.mark(counter)
        return body, is_newest

    def header(self, counter: int, total: int, index: int = 0) -> bytes:
        """Return the header of one of our fragments; that of fragment 0 is authenticated with the unit."""
        return HEADER.pack(Kind.DATA, total, index, self.remote, counter)

    def seal_unit(self, counter: int, total: int, plain: bytes) -> bytes:
        """Return a sealed unit, the plain way."""
        return self.sealer.encrypt(data_nonce(counter), plain, self.header(counter, total))

    def open_unit(self, counter: int, total: int, sealed: bytes) -> bytes:
        """Return what a unit holds, once; raise `SleeveError` where it is old or does not authenticate."""
        if not self.seen.is_new(counter):
            raise SleeveError("a unit came twice")
        try:
            plain = self.opener.decrypt(data_nonce(counter), sealed, unit_header(self.local, counter, total))
        except (InvalidTag, ValueError) as exc:
            raise SleeveError("a unit does not authenticate") from exc
        self.seen.mark(counter)
        return plain


def data_nonce(counter: int) -> bytes:
    """Return the nonce of a unit."""
    return NONCE.pack(DATA, counter)


def unit_header(receiver: int, counter: int, total: int) -> bytes:
    """Return what is authenticated beside a unit."""
    return HEADER.pack(Kind.DATA, total, 0, receiver, counter)
