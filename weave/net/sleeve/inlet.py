"""Datagrams from the wire to the bridge: receive, put together, open once, write. Hot.

The fast way: the fragments of a unit land in order, their payload in one piece, and the unit is opened where it lies.
Only its first and last fragment are looked at: what does not belong between them keeps it from authenticating.
Whatever does not fit that picture, or does not authenticate, goes fragment by fragment through `Reassembly`.
"""

import os
from collections import Counter
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag

from weave.net.sleeve import limits
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.landing import Landing
from weave.net.sleeve.merging import merged
from weave.net.sleeve.model import Send
from weave.net.sleeve.passage import Passage
from weave.net.sleeve.peer import Inbox
from weave.net.sleeve.session import DATA, NONCE, unit_header
from weave.net.sleeve.udp import Sockets
from weave.net.sleeve.ways import FAR
from weave.net.sleeve.wire import (
    BROKEN,
    HEADER,
    HEADER_BYTES,
    RECORD_HEAD,
    RECORD_LENGTH,
    RELAY_BYTES,
    TAG_BYTES,
    Address,
    Kind,
    SleeveError,
    records,
)

Buffer = bytes | memoryview
_FRAGMENT, _RELAYED = int(Kind.DATA), int(Kind.RELAYED)
_record_length = RECORD_LENGTH.unpack_from
_nonce = NONCE.pack


class Inlet:
    """Own the way in through one socket."""

    def __init__(self, core: SleeveCore, sockets: Sockets, descriptor: int, tap: int, size: int, *,
                 merges: bool) -> None:
        self.counters: Counter[str] = Counter()
        self.held_until = FAR
        """When the held fragments are let go for nothing came after them."""
        self._core = core
        self._inboxes = core.inboxes
        self._sockets = sockets
        self._descriptor = descriptor
        self._tap = tap
        self._merges = merges
        self._landing = Landing(size, sockets.name_bytes(descriptor))
        self._passage = Passage(core, sockets, self._landing, self.counters, self._open, self._fragment)
        self._held = 0
        """Fragments at the beginning of the landing whose unit goes on in what comes next."""
        self._plain = memoryview(bytearray(limits.MAX_UNIT))
        self._is_joined = False
        """Whether the kernel joins what comes now, as far as was seen."""
        self._singles = 0
        self._misses = self._missed = 0

    def pump(self, now: float) -> None:
        """Take in what waits, up to a burst."""
        if self._misses >= limits.LAYOUT_MISSES and not self._held:
            self._landing.lay_out(self._missed)
            self._misses = 0
        for _ in range(limits.BURST):
            if not (self._pump_joined(now) if self._is_joined else self._pump_many(now)):
                return

    def let_go(self, now: float) -> None:
        """Move the beginnings of units that do not go on to where the rest is asked for."""
        self._passage.let_go(now)
        landing, held = self._landing, self._held
        self._held, self.held_until = 0, FAR
        if not held:
            return
        _, total, _, receiver, counter = landing.header(0)
        inbox = self._inboxes.get(receiver)
        if inbox is None:
            return
        for index in range(held):
            piece = bytes(landing.payload[index * landing.room:(index + 1) * landing.room])
            inbox.reassembly.add(counter, total, index, piece, now)
        self._core.lacking[receiver] = inbox

    def rehearse(self, inbox: Inbox, datagram: bytes, now: float) -> None:
        """Do what a small unit takes, for a session that no datagram can name."""
        counter = HEADER.unpack_from(datagram)[4]
        address = inbox.peer.address
        assert address is not None, "it is known where that peer is not"
        self._open(inbox, counter, datagram[HEADER_BYTES:], datagram[:HEADER_BYTES], address, now)
        # its record is not whole, lest it reach the bridge; that is nobody's fault
        self.counters[BROKEN] -= 1

    # -- the fast way -------------------------------------------------------------------------------------------

    def _pump_many(self, now: float) -> bool:
        """Take in all that waits, each by itself, as far as there is room; say whether more may wait."""
        landing, at = self._landing, self._held
        room, size = landing.room, landing.size
        came = landing.receive_many(self._descriptor, at)
        end = at + came
        has_room = came < landing.at_once and end < landing.most
        if at and came:
            at = self._several(0, end, now)
        while at < end:
            octets = landing.octets(at)
            kind, total, index, receiver, counter = landing.header(at)
            if kind != _FRAGMENT or index or not HEADER_BYTES < octets <= size:
                run = self._passage.run(at, end) if kind == _RELAYED else 0
                if not run or not self._relayed_run(at, run, landing.octets(at + run - 1), at, now):
                    self._singly(at, end, now)
                    run = 1
                at += run
            elif total == 1:
                begin = at * room
                sealed = landing.payload[begin:begin + octets - HEADER_BYTES]
                header = landing.headers[at * HEADER_BYTES:(at + 1) * HEADER_BYTES]
                inbox = self._inboxes.get(receiver)
                if not self._open(inbox, counter, sealed, header, self._sockets.address(landing.sender(at)), now):
                    if landing.joined_size(at) < octets:
                        # small units of one size, which the kernel joined: rare enough to be found out only here
                        self._singly(at, end, now)
                    else:
                        self._spoiled(inbox, counter, now)
                at += 1
            else:
                at = self._several(at, end, now)
        return not has_room

    def _several(self, start: int, end: int, now: float) -> int:
        """Deal with the fragments of a unit that begins at a place; return the place after what was dealt with."""
        landing, held = self._landing, self._held
        have = min(landing.header(start)[1], end - start)
        last = start + have - 1
        if have > 0 and landing.are_full(max(start, held), last) and self._unit(
                start, have, landing.octets(last), last, now):
            return start + have
        if held and not start:
            self.let_go(now)
            return held
        self._singly(start, end, now)
        return start + 1

    def _pump_joined(self, now: float) -> bool:
        """Take in what waits first, joined or not; say whether there was anything."""
        landing, held = self._landing, self._held
        octets, size = landing.receive_joined(self._descriptor, held)
        if octets < 0:
            return False
        if octets <= HEADER_BYTES or size <= HEADER_BYTES:
            self.counters["datagrams too short"] += 1
            return True
        count = -(-octets // size)
        self._singles = 0 if count > 1 else self._singles + 1
        if self._singles >= limits.SINGLES:
            self._is_joined, self._singles = False, 0
        fits, last = size == landing.size or (count == 1 and octets < landing.size), octets - (count - 1) * size
        if fits and (self._unit(0, held + count, last, 0, now) or self._relayed_run(held, count, last, 0, now)):
            return True
        arrived, sender = landing.linear(held, octets), landing.sender(0)
        self.let_go(now)
        self._split(arrived, size, sender, now)
        return True

    def _relayed_run(self, first: int, count: int, last: int, named: int, now: float) -> bool:
        """Take relayed datagrams at once, full ones and a last one of so many octets; say whether they are that."""
        passage = self._passage
        if not passage.take(first, count, last, named, now):
            return False
        if count > 1:
            self._misses = 0
        self.held_until = min(self.held_until, passage.until) if self._held else passage.until
        return True

    def _unit(self, start: int, have: int, last: int, named: int, now: float) -> bool:
        """Take full fragments and a last one of so many octets for a unit, or its beginning; say whether they are that.

        The place `named` says where they came from.
        """
        landing = self._landing
        kind, total, index, receiver, counter = landing.header(start)
        if kind != _FRAGMENT or index or have > total or (have < total and last != landing.size):
            return False
        if have > 1 and landing.header(start + have - 1) != (kind, total, have - 1, receiver, counter):
            return False
        if have < total:
            landing.move(start, have)
            self._held, self.held_until = have, min(now + limits.NACK_TAIL_S, self._passage.until)
            return True
        begin = start * landing.room
        sealed = landing.payload[begin:begin + (have - 1) * landing.room + last - HEADER_BYTES]
        header = landing.headers[start * HEADER_BYTES:(start + 1) * HEADER_BYTES]
        address = self._sockets.address(landing.sender(named))
        if not self._open(self._inboxes.get(receiver), counter, sealed, header, address, now):
            return False
        self._held, self._misses, self.held_until = 0, 0, self._passage.until
        return True

    def _open(self, inbox: Inbox | None, counter: int, sealed: Buffer, header: Buffer, address: Address,
              now: float) -> bool:
        """Open a unit and deliver it, unless it may not be; say whether it authenticates, as far as that was asked."""
        if inbox is None:
            self.counters["units of no session"] += 1
            return True
        session = inbox.session
        seen = session.seen
        before = seen.highest
        if counter <= before and not seen.is_new(counter):
            self.counters["units that came twice"] += 1
            return True
        octets = len(sealed) - TAG_BYTES
        if not 0 < octets <= limits.MAX_UNIT:
            self.counters["units of a wrong length"] += 1
            return True
        plain = self._plain[:octets]
        try:
            session.opener.decrypt_into(_nonce(DATA, counter), sealed, header, plain)
        except InvalidTag:
            return False
        seen.mark(counter)
        inbox.peer.received += octets
        self._core.opened(inbox, counter, before, address, now)
        if inbox.recovery.gaps or inbox.order.waiting:
            inbox.order.hold(counter, bytes(plain), now, inbox.peer.quality.rtt_s or 0.0)
            self.release(inbox, now)
        else:
            self._deliver(plain)
        return True

    def release(self, inbox: Inbox, now: float) -> None:
        """Deliver what waited long enough."""
        for unit in inbox.order.release(inbox.recovery.oldest_above(inbox.order.passed), now):
            self._deliver(memoryview(unit))

    def _deliver(self, plain: memoryview) -> None:
        """Write the frames of a unit to the bridge."""
        octets = len(plain)
        if octets < RECORD_HEAD or _record_length(plain)[0] != octets - RECORD_HEAD:
            self._deliver_several(plain)
            return
        try:
            os.write(self._tap, plain[RECORD_HEAD:])
        except OSError as exc:
            self._undelivered(exc)

    def _deliver_several(self, unit: memoryview) -> None:
        frames = merged(unit) if self._merges else ((frame,) for frame in records(unit))
        try:
            for parts in frames:
                self._write(parts)
        except SleeveError as exc:
            self.counters[str(exc)] += 1

    def _write(self, parts: Sequence[Buffer]) -> None:
        try:
            os.writev(self._tap, parts)
        except OSError as exc:
            self._undelivered(exc)

    def _undelivered(self, exc: OSError) -> None:
        self.counters[f"frames not delivered: {exc.strerror}"] += 1

    # -- the thorough way ---------------------------------------------------------------------------------------

    def _singly(self, at: int, end: int, now: float) -> None:
        """Deal with the datagram at one of the places up to `end` by itself."""
        landing = self._landing
        octets, size = landing.octets(at), landing.joined_size(at)
        if octets <= HEADER_BYTES or size <= HEADER_BYTES:
            self.counters["datagrams too short"] += 1
            return
        if octets > landing.size:
            landing.at_once = limits.SPILLS
            if not landing.is_whole(at, end):
                self.counters["datagrams in each other's way"] += 1
                return
            self._is_joined = size == landing.size
        self._split(landing.datagram(at), size, landing.sender(at), now)

    def _split(self, arrived: bytes, size: int, sender: bytes, now: float) -> None:
        """Deal with each datagram of what came joined."""
        address = self._sockets.address(sender)
        for at in range(0, len(arrived), size):
            datagram = arrived[at:at + size]
            if len(datagram) <= HEADER_BYTES:
                self.counters["datagrams too short"] += 1
                continue
            kind, total, index = datagram[:3]
            if kind == _RELAYED and len(datagram) > RELAY_BYTES + HEADER_BYTES:
                kind, total, index = datagram[RELAY_BYTES:RELAY_BYTES + 3]
            if kind == _FRAGMENT and index + 1 < total and len(datagram) != self._landing.size:
                self._misses, self._missed = self._misses + 1, len(datagram)
            self._dispatch(datagram, address, now)

    def _dispatch(self, datagram: bytes, address: Address, now: float) -> None:
        if datagram[0] == _FRAGMENT:
            self._fragment(datagram, address, now)
        elif datagram[0] != _RELAYED:
            self._core.datagram(datagram, address, now)
        else:
            self._relayed(datagram, address, now)

    def _relayed(self, datagram: bytes, address: Address, now: float) -> None:
        taken = self._core.relaying.take(datagram, address)
        if isinstance(taken, Send):
            self._sockets.send(taken.datagram, taken.address)
        elif taken is not None:
            self._dispatch(*taken, now)

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
        if sealed is not None and not self._open(
                inbox, counter, sealed, unit_header(receiver, counter, total), address, now):
            self._spoiled(inbox, counter, now)

    def _whole(self, inbox: Inbox, counter: int, total: int, index: int, piece: bytes, now: float) -> bytes | None:
        if total == 1 and index == 0:
            return piece
        self._core.lacking[inbox.session.local] = inbox
        return inbox.reassembly.add(counter, total, index, piece, now)

    def _spoiled(self, inbox: Inbox | None, counter: int, now: float) -> None:
        assert inbox is not None, "what belongs to no session was not opened"
        self.counters["units that do not authenticate"] += 1
        inbox.recovery.spoiled(counter, now)
