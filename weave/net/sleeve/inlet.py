"""Datagrams from the wire to the bridge: receive, put together, open once, write. Hot.

The fast way: one call brings all fragments of a unit (or its next part) in order, their payload in one piece, and the
unit is opened where it lies. Whatever does not fit that picture goes fragment by fragment through `Reassembly`.
"""

import os
from collections import Counter

from cryptography.exceptions import InvalidTag

from weave.net.sleeve import limits
from weave.net.sleeve.buffers import Slot
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.outlet import LENGTH, RECORD_HEAD
from weave.net.sleeve.peer import FAR, Inbox
from weave.net.sleeve.session import data_nonce, unit_header
from weave.net.sleeve.udp import Sockets
from weave.net.sleeve.wire import HEADER, HEADER_BYTES, TAG_BYTES, Address, Kind

Buffer = bytes | memoryview


class Inlet:
    """Own the way in through one socket."""

    def __init__(self, core: SleeveCore, sockets: Sockets, descriptor: int, tap: int, size: int) -> None:
        self.counters: Counter[str] = Counter()
        self._core = core
        self._sockets = sockets
        self._descriptor = descriptor
        self._tap = tap
        self._slot = Slot(size)
        self._held = 0
        """Fragments at the beginning of the slot whose unit goes on in what comes next."""
        self.held_until = FAR
        """When they are let go for nothing came after them."""
        self._plain = memoryview(bytearray(limits.MAX_UNIT))
        self._misses = 0

    def pump(self, now: float) -> bool:
        """Take in what waits, up to a burst; say whether more may wait."""
        slot = self._slot
        for _ in range(limits.BURST):
            octets, size = slot.receive(self._descriptor, self._held)
            if octets < 0:
                return False
            if octets <= HEADER_BYTES or size <= HEADER_BYTES:
                self.counters["datagrams too short"] += 1
            elif not self._quick(octets, size, now):
                self._thorough(octets, size, now)
                self._fit(size)
        return True

    def let_go(self, now: float) -> None:
        """Move the beginning of a unit that does not go on out of the slot, to where what is missing is asked for."""
        slot, held = self._slot, self._held
        if not held:
            return
        self._held, self.held_until = 0, FAR
        receiver, counter, total = slot.head()
        inbox = self._core.inboxes.get(receiver)
        if inbox is None:
            return
        for index in range(held):
            piece = bytes(slot.payload[index * slot.room:(index + 1) * slot.room])
            inbox.reassembly.add(counter, total, index, piece, now)
        self._core.lacking[receiver] = inbox

    # -- the fast way -------------------------------------------------------------------------------------------

    def _quick(self, octets: int, size: int, now: float) -> bool:
        """Deal with fragments that continue, or begin, a unit in order; say whether these did."""
        slot, held = self._slot, self._held
        count = -(-octets // size)
        if size > slot.size or (count > 1 and size != slot.size):
            self._misses += 1
            return False
        if not slot.continues(held, count):
            return False
        receiver, counter, total = slot.head()
        have = held + count
        if have < total:
            if octets != count * slot.size:
                return False
            self._held, self.held_until = have, now + limits.NACK_TAIL_S
            return True
        self._held, self._misses, self.held_until = 0, 0, FAR
        address = self._sockets.address(slot.sender)
        sealed = slot.payload[:held * slot.room + octets - count * HEADER_BYTES]
        self._open(receiver, counter, sealed, slot.headers[:HEADER_BYTES], address, now)
        return True

    def _open(self, receiver: int, counter: int, sealed: Buffer, header: Buffer, address: Address,
              now: float) -> None:
        inbox = self._core.inboxes.get(receiver)
        if inbox is None:
            self.counters["units of no session"] += 1
            return
        session = inbox.session
        seen = session.seen
        if not seen.is_new(counter):
            self.counters["units that came twice"] += 1
            return
        octets = len(sealed) - TAG_BYTES
        if not 0 < octets <= limits.MAX_UNIT:
            self.counters["units of a wrong length"] += 1
            return
        plain = self._plain[:octets]
        try:
            session.opener.decrypt_into(data_nonce(counter), sealed, header, plain)
        except InvalidTag:
            self.counters["units that do not authenticate"] += 1
            inbox.recovery.spoiled(counter, now)
            return
        before = seen.highest
        seen.mark(counter)
        inbox.peer.received += octets
        self._core.opened(inbox, counter, before, address, now)
        if inbox.recovery.has_gaps or inbox.order:
            self._in_order(inbox, counter, bytes(plain), now)
        else:
            self._deliver(plain, octets)

    def _in_order(self, inbox: Inbox, counter: int, plain: bytes, now: float) -> None:
        """Deliver a unit after those before it, as far as they are worth waiting for."""
        inbox.order.hold(counter, plain, now, inbox.peer.quality.rtt_s or 0.0)
        self.release(inbox, now)

    def release(self, inbox: Inbox, now: float) -> None:
        """Deliver what waited long enough."""
        for unit in inbox.order.release(inbox.recovery.oldest_above(inbox.order.passed), now):
            self._deliver(unit, len(unit))

    def _deliver(self, plain: Buffer, octets: int) -> None:
        """Write the frames of a unit to the bridge."""
        at = 0
        while at + RECORD_HEAD <= octets:
            (length,) = LENGTH.unpack_from(plain, at)
            at += RECORD_HEAD
            if at + length > octets:
                self.counters["units with a broken record"] += 1
                return
            try:
                os.write(self._tap, plain[at:at + length])
            except OSError as exc:
                self.counters[f"frames not delivered: {exc.strerror}"] += 1
            at += length

    # -- the thorough way ---------------------------------------------------------------------------------------

    def _thorough(self, octets: int, size: int, now: float) -> None:
        """Deal with each datagram of what came by itself."""
        slot = self._slot
        address = self._sockets.address(slot.sender)
        arrived = slot.linear(self._held, octets)
        self.let_go(now)
        for at in range(0, len(arrived), size):
            self._dispatch(arrived[at:at + size], address, now)

    def _dispatch(self, datagram: bytes, address: Address, now: float) -> None:
        if datagram[0] == Kind.DATA:
            self._fragment(datagram, address, now)
        elif datagram[0] != Kind.RELAYED:
            self._core.datagram(datagram, address, now)
        elif (passed_on := self._core.relayed(datagram, address)) is not None:
            self._dispatch(*passed_on, now)

    def _fragment(self, datagram: bytes, address: Address, now: float) -> None:
        if len(datagram) <= HEADER_BYTES:
            self.counters["datagrams too short"] += 1
            return
        _, total, index, receiver, counter = HEADER.unpack_from(datagram)
        inbox = self._core.inboxes.get(receiver)
        if inbox is None:
            self.counters["units of no session"] += 1
            return
        sealed = self._whole(inbox, counter, total, index, datagram[HEADER_BYTES:], now)
        if sealed is not None:
            self._open(receiver, counter, sealed, unit_header(receiver, counter, total), address, now)

    def _whole(self, inbox: Inbox, counter: int, total: int, index: int, piece: bytes, now: float) -> bytes | None:
        if total == 1 and index == 0:
            return piece
        self._core.lacking[inbox.session.local] = inbox
        return inbox.reassembly.add(counter, total, index, piece, now)

    def _fit(self, size: int) -> None:
        """Lay the slot out anew when datagrams of another size keep coming."""
        if self._misses >= limits.LAYOUT_MISSES:
            self._misses = 0
            self._slot.lay_out(size)
