"""The loop of the sleeve: one thread, one poll, no trio.

    TAP ──→ Outlet ──→ UDP        frames of our containers
    UDP ──→ Inlet  ──→ TAP        frames of theirs
    unix socket ⇄ Station         what the router wants; how the ways are

Waits in `epoll` for whichever comes first, or for the core's deadline. Nothing in here may block.
"""

import logging
import os
import select
import time
from pathlib import Path

from weave.addresses import IPAddress
from weave.logs import fields
from weave.net.sleeve import limits, tap
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.expecting import Expectation
from weave.net.sleeve.inlet import Inlet
from weave.net.sleeve.messages import (
    VERSION,
    Hello,
    Keys,
    Macs,
    Message,
    Peers,
    Quit,
    Status,
    macs_messages,
    peers_messages,
)
from weave.net.sleeve.model import Notice, PeerConfig, Resend, Send
from weave.net.sleeve.outlet import Outlet
from weave.net.sleeve.station import Station
from weave.net.sleeve.udp import Sockets
from weave.net.sleeve.warmth import Warmth
from weave.net.sleeve.ways import FAR
from weave.noise.keys import KeyPair

log = logging.getLogger("weave.sleeve")

_LONGEST_SLEEP_S = 30.0
_WALK_S = 0.001
"""Between two walks for warmth."""
_FLUSH_S = 0.01
"""Until more is said to a router that does not listen."""


class Process:
    """Everything of one sleeve."""

    def __init__(self, *, socket: Path, device: str, listen: IPAddress | None, port: int, most: int) -> None:
        self._most = most
        self._station = Station(socket, self._hello)
        self._sockets = Sockets(listen, port)
        self._tap, self._takes_large_udp = tap.attach(device)
        self._poll = select.epoll()
        self._warmth = Warmth()
        self._expectation = Expectation()
        self._core: SleeveCore | None = None
        self._static = b""
        self._outlet: Outlet | None = None
        self._inlets: dict[int, Inlet] = {}
        self._peers: list[PeerConfig] = []
        self._macs: dict[bytes, str] = {}
        self._news = False
        self._told_at = 0.0
        self._attend_at = 0.0
        """When routers are attended to next, even if they say nothing."""
        self._alone_since = time.monotonic()
        self._running = True
        self._poll.register(self._station.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serve until told to end, or until no router came for a long time."""
        clock, expectation = time.monotonic, self._expectation
        while self._running:
            now = clock()
            if now >= expectation.opens_at:
                expectation.open()
            ready = self._look_out() if now < expectation.until else self._sleep(now)
            now = clock()
            self._turn(ready, now)
            if not ready and self._keeps_warm(now):
                self._rehearse(now)
        self._close()

    def _sleep(self, now: float) -> list[tuple[int, int]]:
        """Return what comes, or nothing once there is something else to do."""
        due, opens_at = self._due(), self._expectation.opens_at
        if opens_at < due:
            select.select([self._poll], [], [], max(0.0, opens_at - now))  # unlike the other, it knows microseconds
            return self._poll.poll(0)
        return self._poll.poll(_WALK_S if self._keeps_warm(now) else max(0.0, due - now))

    def _keeps_warm(self, now: float) -> bool:
        """Say whether a frame is about to come and it is not known when."""
        return self._warmth.is_wanted(now) and self._expectation.opens_at == FAR

    def _turn(self, ready: list[tuple[int, int]], now: float) -> None:
        """Do what is to be done, frames first."""
        core, outlet = self._core, self._outlet
        has_news, side = now >= self._attend_at, None
        for descriptor, _ in ready:
            inlet = self._inlets.get(descriptor)
            if inlet is not None:
                inlet.pump(now)
            elif descriptor != self._tap:
                has_news = True
                continue
            side = descriptor
        if core is not None and outlet is not None:
            if side is not None:
                # what we deliver is often answered at once: that answer is here already
                outlet.pump(now)
                # whom we woke on this processor goes before our bookkeeping; and the longer others send before we look
                # again, the more of what they send goes by one unit
                os.sched_yield()
                self._warmth.came(side, now)
                self._expectation.came(side, now)
            if core.deadline() <= now:
                core.tick(now)
                self._release(core, now)
            for inlet in self._inlets.values():
                if inlet.held_until <= now:
                    inlet.let_go(now)
            if core.effects:
                self._carry_out(core, outlet)
        if has_news or self._news:
            self._attend(dict(ready), now)

    def _look_out(self) -> list[tuple[int, int]]:
        """Return what comes while a frame is expected, without going to sleep.

        Others may have the processor meanwhile, whoever answers among them, and at once. If there is time left we go
        the way of a frame, so that it finds that in the processor's caches.
        """
        clock, wait, until = time.monotonic, self._poll.poll, self._expectation.until
        os.sched_yield()
        if not (ready := wait(0)):
            self._rehearse(clock())
            while not (ready := wait(0)) and clock() < until:
                os.sched_yield()
        return ready

    # -- frames -------------------------------------------------------------------------------------------------

    def _rehearse(self, now: float) -> None:
        """Go the way of a frame while there is none."""
        assert self._outlet is not None, "no frame came before it was made"
        for inlet in self._inlets.values():
            self._warmth.walk(self._outlet, inlet, now)

    def _release(self, core: SleeveCore, now: float) -> None:
        """Deliver units that waited for others long enough."""
        inlet = next(iter(self._inlets.values()))
        for inbox in core.lacking.values():
            if inbox.order.waiting:
                inlet.release(inbox, now)

    def _carry_out(self, core: SleeveCore, outlet: Outlet) -> None:
        effects, core.effects = core.effects, []
        for effect in effects:
            match effect:
                case Send(datagram, address):
                    self._sockets.send(datagram, address)
                case Resend():
                    outlet.resend(effect)
                case Notice(peer, event, address):
                    log.info("way to a peer", extra=fields(peer=peer, event=event, address=address))
                    self._news = True

    def _due(self) -> float:
        """Return when there is something to do even if nothing comes."""
        due = self._attend_at
        if self._core is not None:
            due = min(due, self._core.deadline())
            for inlet in self._inlets.values():
                due = min(due, inlet.held_until)
        return due

    # -- routers ------------------------------------------------------------------------------------------------

    def _attend(self, ready: dict[int, int], now: float) -> None:
        """Hear routers and tell them; decide when to do so next."""
        self._serve_routers(ready, now)
        self._report(now)
        wait = limits.STATUS_INTERVAL_S if self._station.callers else _LONGEST_SLEEP_S
        self._attend_at = now + (_FLUSH_S if self._station.has_unsent else wait)

    def _serve_routers(self, ready: dict[int, int], now: float) -> None:
        self._station.flush()
        if self._station.fileno() in ready:
            descriptor = self._station.accept()
            if descriptor is not None:
                self._poll.register(descriptor, select.EPOLLIN)
        for descriptor in [known for known in self._station.callers if known in ready]:
            messages = self._station.read(descriptor)
            if messages is None:
                self._alone_since = now
                continue
            for message in messages:
                self._obey(message, now)
        patience = limits.KEYLESS_S if self._core is None else limits.ORPHAN_S
        if not self._station.callers and now - self._alone_since > patience:
            log.info("no router came; ending", extra=fields(after_s=patience))
            self._running = False

    def _obey(self, message: Message, now: float) -> None:
        match message:
            case Keys(static, psks):
                self._take_keys(static, psks)
            case Peers(peers, is_all):
                self._peers += peers
                if is_all:
                    wanted, self._peers = self._peers, []
                    if self._core is not None:
                        self._core.set_peers(wanted, now)
            case Macs(macs, is_fresh):
                if is_fresh:
                    self._macs.clear()
                for mac, name in macs:
                    if not name:
                        self._macs.pop(mac, None)
                    elif len(self._macs) < limits.MAX_MACS:
                        self._macs[mac] = name
            case Quit():
                self._running = False
            case Hello() | Status():
                log.warning("a router says what only a sleeve says")

    def _take_keys(self, static: bytes, psks: tuple[bytes, ...]) -> None:
        if self._core is not None and static == self._static:
            self._core.set_psks(psks)
            return
        if self._core is None:  # before there are keys nobody reads what comes
            for descriptor in (self._tap, *self._udp()):
                self._poll.register(descriptor, select.EPOLLIN)
        self._static = static
        core = self._core = SleeveCore(KeyPair.from_private(static), psks, os.urandom, self._most)
        outlet = self._outlet = Outlet(core, self._sockets, self._tap)
        outlet.macs = self._macs
        self._inlets = {descriptor: Inlet(core, self._sockets, descriptor, self._tap, self._most,
                                          merges=self._takes_large_udp)
                        for descriptor in self._udp()}

    def _hello(self) -> list[Message]:
        """Return what a router is told first: who we are, and what an earlier router told us."""
        peers = [] if self._core is None else [peer.config for peer in self._core.peers.values()]
        return [*peers_messages(peers), *macs_messages(self._macs, is_fresh=True), Hello(VERSION, os.getpid())]

    def _report(self, now: float) -> None:
        if not self._station.callers or self._core is None:
            return
        if not self._news and now - self._told_at < limits.STATUS_INTERVAL_S:
            return
        self._news, self._told_at = False, now
        if not self._station.tell(Status(tuple(self._core.statuses()), self._counters())):
            self._alone_since = now

    def _counters(self) -> dict[str, int]:
        assert self._core is not None, "asked for with a core"
        assert self._outlet is not None, "made with the core"
        total = self._core.refused + self._outlet.counters
        for inlet in self._inlets.values():
            total += inlet.counters
        total["units asked for again"] = sum(inbox.recovery.asked for inbox in self._core.inboxes.values())
        total["units lost"] = sum(inbox.recovery.lost for inbox in self._core.inboxes.values())
        return dict(total)

    def _udp(self) -> list[int]:
        return [sock.fileno() for sock in self._sockets.by_family.values()]

    def _close(self) -> None:
        self._poll.close()
        self._station.close()
        self._sockets.close()
        os.close(self._tap)
