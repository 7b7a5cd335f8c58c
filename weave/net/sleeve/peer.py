"""One peer: its sessions, where it is, and when something is to be done about it. Pure.

    none ──initiate──→ waiting ──response──→ current               (we began)
    none ──initiation──→ pending ──first datagram on it──→ current  (they began)
    current ──rekey──→ previous, still opened until it is too old

Datagrams are sealed with `current` and opened with any of these, so new keys lose nothing. Where a round trip takes
longer than the first retry, several are pending; which of them the other end has, its first datagram tells. A peer is
taken to be where its newest authenticated datagram came from; where nothing comes back, every address known of it is
tried.
"""

from collections.abc import Iterable

from weave.net.sleeve import limits
from weave.net.sleeve.handshake import Initiation
from weave.net.sleeve.model import PeerConfig, PeerStatus
from weave.net.sleeve.order import Order
from weave.net.sleeve.path import Quality, SizeSearch
from weave.net.sleeve.reassembly import Reassembly
from weave.net.sleeve.recovery import Recovery
from weave.net.sleeve.session import Session
from weave.net.sleeve.ways import FAR, NEVER, Way, Ways
from weave.net.sleeve.wire import RELAY_BYTES, Address, helper_of, short


class Inbox:
    """What belongs to the receiving side of one session."""

    __slots__ = ("order", "peer", "reassembly", "recovery", "session")

    def __init__(self, peer: "Peer", session: Session) -> None:
        self.peer = peer
        self.session = session
        self.reassembly = Reassembly(session.seen)
        self.recovery = Recovery(session.seen, self.reassembly)
        self.order = Order()


class Peer:
    """One peer and the way to it."""

    __slots__ = ("_most", "address", "asked_at", "attempts", "compares", "config", "cookie", "cookie_until", "current",
                 "direct_at", "doubt_since", "frames_at", "handshake_at", "heard_at", "hints", "initiations", "pending",
                 "previous", "probe_at", "probe_number", "quality", "received", "scheduled_at", "sent", "short",
                 "sizes", "trial_at", "ways")

    def __init__(self, config: PeerConfig, most: int) -> None:
        self.config = config
        self.short = short(config.key)
        """What it is called in the header of relayed datagrams."""
        self.address: Address | None = None
        """Where it was last heard from, once it was."""
        self.hints: tuple[Address, ...] = ()
        self.current: Inbox | None = None
        self.previous: Inbox | None = None
        self.pending: list[Inbox] = []
        """Those that they began, one for each initiation, until a datagram shows which one they took."""
        self.initiations: dict[int, Initiation] = {}
        self.attempts = 0
        self.handshake_at = NEVER
        self.asked_at = NEVER
        self.direct_at = NEVER
        """When a peer that is reached through another is looked for directly next."""
        self.cookie: bytes | None = None
        self.cookie_until = NEVER
        self.heard_at = NEVER
        self.frames_at = NEVER
        """When frames last went either way."""
        self.doubt_since: float | None = None
        """Since when something we sent was not followed by anything from them."""
        self.probe_at = NEVER
        self.probe_number = 0
        self.scheduled_at = FAR
        """When the core looks at this peer next."""
        self.quality = Quality()
        self._most = most
        self.sizes = SizeSearch(most)
        self.ways = Ways()
        self.compares = False
        """Whether it answers trials: one of an earlier version would be moved by them."""
        self.trial_at = FAR
        """When it is looked at next by which way it is to be reached."""
        self.sent = 0
        self.received = 0

    @property
    def is_established(self) -> bool:
        """Say whether frames can be sealed for this peer."""
        return self.current is not None and self.address is not None

    @property
    def is_direct(self) -> bool:
        """Say whether the peer is reached without help, and answers."""
        return self.is_established and self.helper is None and self.quality.lost_in_row < limits.PROBES_LOST

    @property
    def helper(self) -> str | None:
        """Return the peer through which this one is reached; None where it is reached directly, or not at all."""
        return None if self.address is None else helper_of(self.address)

    def inboxes(self) -> list[Inbox]:
        """Return what may still be opened."""
        return [inbox for inbox in (self.current, self.previous, *self.pending) if inbox is not None]

    def candidates(self) -> tuple[Address, ...]:
        """Return where to look for the peer, the likeliest first."""
        known: Iterable[Address | None] = (self.address, *self.hints, *self.config.addresses)
        return tuple(dict.fromkeys(place for place in known if place is not None))[:limits.MAX_CANDIDATES]

    def wants_handshake(self, now: float) -> bool:
        """Say whether a handshake should be under way."""
        current = self.current
        return (current is None or self.quality.lost_in_row >= limits.PROBES_LOST
                or current.session.wants_successor(now))

    def next_attempt(self, now: float, jitter: float) -> None:
        """Take note of an attempt and choose when the next is due."""
        least = limits.HANDSHAKE_ROUND_TRIPS * self.quality.latest_s
        wait = min(max(limits.HANDSHAKE_RETRY_S * 2 ** min(self.attempts, 10), least), limits.HANDSHAKE_RETRY_MOST_S)
        self.attempts += 1
        self.handshake_at = now + wait * (1.0 + limits.HANDSHAKE_JITTER * jitter)

    def keep(self, initiation: Initiation) -> list[int]:
        """Keep an initiation open; return the numbers of those that go for it."""
        gone = list(self.initiations)[: max(0, len(self.initiations) + 1 - limits.MAX_INITIATIONS)]
        for number in gone:
            del self.initiations[number]
        self.initiations[initiation.local] = initiation
        return gone

    def offer(self, inbox: Inbox) -> Inbox | None:
        """Keep a session that they began; return the one that goes for it."""
        self.pending.append(inbox)
        return self.pending.pop(0) if len(self.pending) > limits.MAX_INITIATIONS else None

    def confirmed(self, inbox: Inbox) -> list[Inbox]:
        """Note which of those they took; return the earlier ones, which they gave up by that.

        Later ones stay: they may have begun them since, where what told us was long on its way.
        """
        at = self.pending.index(inbox)
        gone = self.pending[:at]
        del self.pending[:at + 1]
        return gone

    def promote(self, inbox: Inbox) -> Inbox | None:
        """Make a session the current one; return the one that goes for good."""
        gone, self.previous, self.current = self.previous, self.current, inbox
        self.attempts = 0
        self.doubt_since = None
        self.quality.lost_in_row = 0
        self.quality.waiting.clear()
        return gone

    def demote(self, inbox: Inbox) -> Inbox | None:
        """Keep a session for opening alone; return the one that goes for good."""
        gone, self.previous = self.previous, inbox
        return gone

    def heard(self, address: Address, now: float, *, is_newest: bool) -> bool:
        """Note an authenticated datagram; say whether it came from somewhere new."""
        self.heard_at = now
        self.doubt_since = None
        if not is_newest or address == self.address:
            return False
        before, self.address = self.helper, address
        if before != self.helper:
            # a relayed datagram has less room
            self.sizes = SizeSearch(self._most, RELAY_BYTES if self.helper is not None else 0)
            self.ways.use(self.helper, now)
            self.trial_at = now
        return True

    def spoke(self, now: float) -> bool:
        """Note that frames were sent; say whether the peer is to be looked at earlier than planned because of it."""
        self.frames_at = now
        if self.doubt_since is not None:
            return False
        self.doubt_since = now
        return now + limits.DOUBT_AFTER_S < self.scheduled_at

    def is_busy(self, now: float) -> bool:
        """Say whether frames are exchanged with it."""
        return now - self.frames_at < limits.BUSY_FOR_S

    def probe_due(self, now: float) -> float:
        """Return when the next probe should be sent; it is asked for after anything happened."""
        if not self.is_established:
            return FAR
        doubted_at = FAR if self.doubt_since is None else self.doubt_since + limits.DOUBT_AFTER_S
        if self.quality.lost_in_row or doubted_at <= now:
            return self.probe_at + limits.PROBE_DOUBT_S
        regular = self.probe_at + (limits.PROBE_BUSY_S if self.is_busy(now) else limits.PROBE_IDLE_S)
        return min(regular, doubted_at)

    def due(self, now: float) -> float:
        """Return when something is to be done about this peer."""
        due = min(self.probe_due(now), self.sizes.deadline() if self.is_established else FAR)
        if self.is_established:
            due = min(due, self.trial_at)
        if self.helper is not None and not self.compares:
            due = min(due, self.direct_at)
        if self.wants_handshake(now):
            return min(due, self.handshake_at)
        assert self.current is not None, "without a session a handshake is wanted"
        return min(due, self.current.session.successor_at)

    def status(self) -> PeerStatus:
        """Return how the way is, for people."""
        is_up = self.is_established and self.quality.lost_in_row < limits.PROBES_LOST
        measured = (self.ways.figures(way) if self.helper is not None else None for way in Way)
        return PeerStatus(self.config.name, is_up, None if self.helper is not None else self.address,
                          self.quality.rtt_s, self.quality.loss, self.sizes.size, self.sent, self.received,
                          self.helper or "", *measured)
