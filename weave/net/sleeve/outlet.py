"""Frames from the bridge to peers: read, pack, seal once, send as fragments. Hot.

A unit is what was read at once for one peer: one frame of up to 64 KiB, or small ones up to `AGGREGATE`. Each lies in
it as `length (u32) · virtio header · frame`. Sealed units are kept until their place is needed again, so that what got
lost on the way is sent a second time.
"""

import errno
import os
from collections import Counter, deque
from struct import Struct

from weave.errors import EnvironmentFailure
from weave.net.sleeve import limits
from weave.net.sleeve.buffers import Slot
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.envelope import Envelope
from weave.net.sleeve.model import Resend
from weave.net.sleeve.peer import Peer
from weave.net.sleeve.session import DATA, NONCE, Session
from weave.net.sleeve.udp import Place, Sockets
from weave.net.sleeve.wire import (
    HEADER,
    HEADER_BYTES,
    RECORD_HEAD,
    RECORD_LENGTH,
    TAG_BYTES,
    Address,
    Kind,
    helper_of,
)

_MAC_AT = RECORD_HEAD + limits.TAP_HEADER
_FRAME_MOST = 65_600
_PLAIN_MOST = limits.MAX_UNIT - TAG_BYTES
EVERYBODY = None
_FRAGMENT = int(Kind.DATA)
_mac = Struct("6s").unpack_from
_record_length = RECORD_LENGTH.pack_into
_header = HEADER.pack
_nonce = NONCE.pack


class Outlet:
    """Own the way out."""

    def __init__(self, core: SleeveCore, sockets: Sockets, tap: int) -> None:
        self.macs: dict[bytes, str] = {}
        """Which peer a MAC is behind."""
        self.counters: Counter[str] = Counter()
        self._core = core
        self._peers = core.peers
        self._sockets = sockets
        self._places = sockets.places
        self._envelope = Envelope()
        self._tap = tap
        self._plain = memoryview(bytearray(_PLAIN_MOST + _FRAME_MOST + RECORD_HEAD))
        self._first = self._plain[RECORD_HEAD:]
        self._is_quiet = True
        """Whether no two frames waited when we last looked."""
        self._lately: Place | None = None
        """Where the last small unit went."""
        self._ring: list[Slot] = []
        self._turn = 0
        self.kept: dict[tuple[int, int], Slot] = {}
        """Large units by receiver and counter."""
        self._small: deque[bytes] = deque(maxlen=limits.RESEND_SMALL)
        """Units of one datagram; the newest are the ones that are asked for."""

    def pump(self, now: float) -> None:
        """Send what waits, up to a burst."""
        plain, tap, peers, macs, readv = self._plain, self._tap, self._peers, self.macs, os.readv
        filled, target, units, frames = 0, EVERYBODY, 0, 0
        room = self._first
        # where frames come one by one, the first does not wait for a look whether there is another
        enough = 0 if self._is_quiet else limits.AGGREGATE
        while units < limits.BURST:
            try:
                octets = readv(tap, (room,))
            except BlockingIOError:
                break
            except OSError as exc:
                raise EnvironmentFailure(f"cannot read frames: {exc.strerror}; the router makes the device anew "
                                         "and starts the sleeve again") from exc
            frames += 1
            owner = macs.get(_mac(plain, filled + _MAC_AT)[0])
            wanted = EVERYBODY if owner is None else peers.get(owner)
            _record_length(plain, filled, octets)
            end = filled + RECORD_HEAD + octets
            if filled and (wanted is not target or end > _PLAIN_MOST):
                self._dispatch(target, plain[:filled], now)
                units += 1
                plain[:end - filled] = plain[filled:end]
                end -= filled
            target, filled = wanted, end
            if filled < enough:
                room = plain[filled + RECORD_HEAD:]
                continue
            self._dispatch(target, plain[:filled], now)
            units, filled, room, enough = units + 1, 0, self._first, limits.AGGREGATE
        self._is_quiet = frames < 2
        if filled:
            self._dispatch(target, plain[:filled], now)

    def resend(self, wish: Resend) -> None:
        """Send again what a peer lacks, where it is still kept, the way it was asked for."""
        head, place = self._way(wish.peer, wish.address)
        if place is None:
            return
        for lack in wish.lacks:
            slot = self.kept.get((wish.receiver, lack.counter))
            if slot is not None:
                self.counters["units sent again"] += 1
                self._send_again(slot, lack.missing, head, place)
                continue
            header = _header(_FRAGMENT, 1, 0, wish.receiver, lack.counter)
            small = next((datagram for datagram in reversed(self._small) if datagram.startswith(header)), None)
            if small is None:
                self.counters["asked for too late"] += 1
                continue
            self.counters["units sent again"] += 1
            place.send(head + small)

    def rehearse(self, peer: Peer, unit: memoryview, now: float) -> bytes:
        """Do what a small unit takes, for a peer that is reached through nobody; return the datagram, unsent."""
        self._send(peer, unit, now)
        datagram = self._small.pop()
        if self._lately is not None:
            self._lately.probe(datagram)
        return datagram

    def _send_again(self, slot: Slot, missing: int, head: bytes, place: Place) -> None:
        if not missing:
            self._send_slot(slot, head, place)
            return
        for index in range(slot.total):
            if missing >> index & 1:
                place.send(head + slot.fragment(index))

    def _way(self, peer: Peer, address: Address) -> tuple[bytes, Place | None]:
        """Return what goes before each datagram to a peer at an address, and where to send it; None for nowhere."""
        helper, head = helper_of(address), b""
        if helper is not None:
            through = self._core.relaying.through(helper, peer)
            if through is None:
                return head, None
            head, address = through
        return head, self._places.get(address) or self._sockets.place(address)

    def _dispatch(self, target: Peer | None, plain: memoryview, now: float) -> None:
        if target is not EVERYBODY:
            self._send(target, plain, now)
            return
        for peer in list(self._peers.values()):
            if not peer.config.standby:
                self._send(peer, plain, now)

    def _send(self, peer: Peer, plain: memoryview, now: float) -> None:
        inbox, address = peer.current, peer.address
        if inbox is None or address is None:
            self.counters["frames for peers without a session"] += 1
            return
        head, place = b"", self._places.get(address)
        if place is None:
            head, place = self._way(peer, address)
            if place is None and helper_of(address) is None:
                self.counters["frames for addresses of another family"] += 1
                return
        peer.sent += len(plain)
        if len(plain) + TAG_BYTES + HEADER_BYTES <= peer.sizes.size:
            self._send_small(inbox.session, plain, head, place)
        else:
            self._send_large(peer, inbox.session, plain, head, place, now)
        if peer.spoke(now):
            self._core.schedule(peer, now)

    def _send_small(self, session: Session, plain: memoryview, head: bytes, place: Place | None) -> None:
        counter = session.next_unit()
        header = _header(_FRAGMENT, 1, 0, session.remote, counter)
        datagram = header + session.sealer.encrypt(_nonce(DATA, counter), plain, header)
        if place is not None:
            place.send(head + datagram if head else datagram)
            self._lately = place
        self._small.append(datagram)

    def _send_large(self, peer: Peer, session: Session, plain: memoryview, head: bytes, place: Place | None,
                    now: float) -> None:
        counter, octets = session.next_unit(), len(plain) + TAG_BYTES
        slot = self._next_slot(peer.sizes.size)
        slot.fill(session.remote, counter, octets, -(-octets // slot.room))
        session.sealer.encrypt_into(_nonce(DATA, counter), plain, slot.headers[:HEADER_BYTES], slot.payload[:octets])
        slot.key = session.remote, counter
        self.kept[slot.key] = slot
        if place is not None and (error := self._send_slot(slot, head, place)):
            self._failed(peer, error, now)

    def _send_slot(self, slot: Slot, head: bytes, place: Place) -> int:
        if head:
            return self._envelope.send(slot, head, place.descriptor, place.name)
        return slot.send(place.descriptor, place.name)

    def _failed(self, peer: Peer, error: int, now: float) -> None:
        self.counters[f"units not sent: {os.strerror(error)}"] += 1
        if error in (errno.EMSGSIZE, errno.EINVAL):
            peer.sizes.most = min(peer.sizes.most, peer.sizes.size - 1)
            peer.sizes.shrink(now)

    def _next_slot(self, size: int) -> Slot:
        if len(self._ring) < limits.RESEND_RING:
            slot = Slot(size)
            self._ring.append(slot)
            return slot
        slot = self._ring[self._turn]
        self._turn = (self._turn + 1) % limits.RESEND_RING
        if slot.key is not None:
            self.kept.pop(slot.key, None)
        if slot.size != size:
            slot.lay_out(size)
        return slot
