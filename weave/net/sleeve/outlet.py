"""Frames from the bridge to peers: read, pack, seal once, send as fragments. Hot.

A unit is what was read at once for one peer: one frame of up to 64 KiB, or small ones up to `AGGREGATE`. Each lies in
it as `length (u32) · virtio header · frame`. Sealed units stay in a ring until their slot is needed again, so that what
got lost on the way is sent a second time.
"""

import errno
import os
from collections import Counter
from struct import Struct

from weave.errors import EnvironmentFailure
from weave.net.sleeve import limits
from weave.net.sleeve.buffers import Slot
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.model import Resend
from weave.net.sleeve.peer import Peer
from weave.net.sleeve.session import data_nonce
from weave.net.sleeve.udp import Sockets
from weave.net.sleeve.wire import HEADER_BYTES, TAG_BYTES, helper_of

LENGTH = Struct("<I")
RECORD_HEAD = LENGTH.size
_MAC_AT = RECORD_HEAD + limits.TAP_HEADER
_FRAME_MOST = 65_600
_PLAIN_MOST = limits.MAX_UNIT - TAG_BYTES
EVERYBODY = None


class Outlet:
    """Own the way out."""

    def __init__(self, core: SleeveCore, sockets: Sockets, tap: int) -> None:
        self.macs: dict[bytes, str] = {}
        """Which peer a MAC is behind."""
        self.counters: Counter[str] = Counter()
        self._core = core
        self._sockets = sockets
        self._tap = tap
        self._plain = memoryview(bytearray(_PLAIN_MOST + _FRAME_MOST + RECORD_HEAD))
        self._ring: list[Slot] = []
        self._turn = 0
        self._kept: dict[tuple[int, int], Slot] = {}
        self._small: dict[tuple[int, int], bytes] = {}

    def pump(self, now: float) -> bool:
        """Send what waits, up to a burst; say whether more may wait."""
        plain, peers, macs = self._plain, self._core.peers, self.macs
        filled, target, units = 0, EVERYBODY, 0
        while units < limits.BURST:
            try:
                octets = os.readv(self._tap, (plain[filled + RECORD_HEAD:],))
            except BlockingIOError:
                break
            except OSError as exc:
                raise EnvironmentFailure(f"cannot read frames: {exc.strerror}; the router makes the device anew "
                                         "and starts the sleeve again") from exc
            owner = macs.get(bytes(plain[filled + _MAC_AT:filled + _MAC_AT + 6]))
            wanted = EVERYBODY if owner is None else peers.get(owner)
            LENGTH.pack_into(plain, filled, octets)
            end = filled + RECORD_HEAD + octets
            if filled and (wanted is not target or end > _PLAIN_MOST):
                self._dispatch(target, plain[:filled], now)
                units += 1
                plain[:end - filled] = plain[filled:end]
                end -= filled
            target, filled = wanted, end
            if filled >= limits.AGGREGATE:
                self._dispatch(target, plain[:filled], now)
                units, filled = units + 1, 0
        if filled:
            self._dispatch(target, plain[:filled], now)
        return units >= limits.BURST

    def resend(self, wish: Resend) -> None:
        """Send again what a peer lacks, where it is still kept."""
        found = None if helper_of(wish.address) is not None else self._sockets.name(wish.address)
        for lack in wish.lacks:
            key = wish.receiver, lack.counter
            small, slot = self._small.get(key), self._kept.get(key)
            if small is not None:
                self.counters["units sent again"] += 1
                self._core.send(wish.peer, small, wish.address)
                continue
            if slot is None:
                self.counters["asked for too late"] += 1
                continue
            self.counters["units sent again"] += 1
            if not lack.missing and found is not None:
                slot.send(*found)
                continue
            for index in range(slot.total):
                if not lack.missing or lack.missing >> index & 1:
                    self._core.send(wish.peer, slot.fragment(index), wish.address)

    def _dispatch(self, target: Peer | None, plain: memoryview, now: float) -> None:
        if target is not EVERYBODY:
            self._send(target, plain, now)
            return
        for peer in list(self._core.peers.values()):
            if not peer.config.standby:
                self._send(peer, plain, now)

    def _send(self, peer: Peer, plain: memoryview, now: float) -> None:
        inbox, address = peer.current, peer.address
        if inbox is None or address is None:
            self.counters["frames for peers without a session"] += 1
            return
        is_relayed = helper_of(address) is not None
        found = None if is_relayed else self._sockets.name(address)
        if found is None and not is_relayed:
            self.counters["frames for addresses of another family"] += 1
            return
        session, size = inbox.session, peer.sizes.size
        peer.sent += len(plain)
        octets = len(plain) + TAG_BYTES
        counter = session.next_unit()
        if octets + HEADER_BYTES <= size:
            header = session.header(counter, 1)
            datagram = header + session.sealer.encrypt(data_nonce(counter), plain, header)
            if is_relayed:
                self._core.send(peer, datagram, address)
            else:
                self._sockets.send(datagram, address)
            self._keep_small((session.remote, counter), datagram)
        else:
            slot = self._next_slot(size)
            total = -(-octets // slot.room)
            slot.fill(session.remote, counter, octets, total)
            session.sealer.encrypt_into(data_nonce(counter), plain, slot.headers[:HEADER_BYTES],
                                        slot.payload[:octets])
            self._kept[session.remote, counter] = slot
            if found is None:
                for index in range(total):
                    self._core.send(peer, slot.fragment(index), address)
            elif error := slot.send(*found):
                self._failed(peer, error, now)
        if peer.spoke(now):
            self._core.schedule(peer, now)

    def _keep_small(self, key: tuple[int, int], datagram: bytes) -> None:
        """Keep a unit that is one datagram; the oldest goes."""
        self._small[key] = datagram
        if len(self._small) > limits.RESEND_SMALL:
            del self._small[next(iter(self._small))]

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
            self._kept.pop(slot.key, None)
        if slot.size != size:
            slot.lay_out(size)
        return slot
