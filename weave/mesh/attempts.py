"""What the planner tries to reach: addresses that the user named, and neighbours that discovery chose.

Each keeps its own history (when it is due, how often it failed, why) and decides what a failure means for it. Whether
and when anything is really dialled is the planner's decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from weave.mesh.backoff import RESET_AFTER_UP_S, Backoff

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from weave.names import PeerName

LONGEST_REASON = 200
"""Characters kept of a reason: it is shown on one line, and the other end may have written it."""
UNREACHABLE_AFTER = 2
"""Rounds through all addresses of a neighbour that fail before another peer stands in for it."""
NO_ADDRESS_PATIENCE_S = 10.0
"""How long a neighbour without an address that we may dial has to dial us before another stands in for it."""

State = Literal["connecting", "waiting", "retrying", "failed", "connected"]


@dataclass(frozen=True, slots=True)
class TargetView:
    """One line of `weave status connections` for what is dialled, or of `weave status targets`."""

    address: str
    state: State
    info: str
    """A sentence: why it is in this state; empty where there is nothing to say."""
    next_retry: float | None
    """When it is dialled (again); None while it is dialled or connected, and for what is never retried."""
    user: bool
    """The user asked for it; otherwise it was discovered."""
    peer: PeerName | None
    """Who answered there last, or who is expected to."""

    def describe(self, now: float) -> str:
        """Return the sentence with the time of the next try."""
        if self.state == "failed" and self.next_retry is None:
            return f"{self.info}; never retried, until asked by `weave connect`"
        if self.next_retry is None:
            return self.info
        verb = "retry" if self.state == "failed" else "dialled"
        return f"{self.info}; {verb} in {max(0.0, self.next_retry - now):.0f} s"


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One thing to reach, with the history of trying."""

    due: float
    peer: PeerName | None = None
    dialled_at: float | None = None
    failures: int = 0
    reason: str = ""
    backoff: Backoff = field(default_factory=Backoff)

    def postpone(self, reason: str, now: float, rng: Random) -> None:
        """Count a failure and wait."""
        self.failures += 1
        self.reason = reason[:LONGEST_REASON]
        self.due = now + self.backoff.next_delay(rng)

    def lost(self, reason: str, uptime: float, now: float, rng: Random) -> None:
        """Note that the connection ended; only one that lived long enough forgets the failures before it."""
        if uptime >= RESET_AFTER_UP_S:
            self.backoff.reset()
        self.postpone(reason, now, rng)

    def reached(self, peer: PeerName) -> None:
        """Note that `peer` answered."""
        self.peer = peer
        self.failures = 0
        self.reason = ""

    def view(self, address: str, *, is_up: bool, is_barred: bool, user: bool) -> TargetView:
        """Say how it stands."""
        if is_up:
            return TargetView(address, "connected", "", None, user, self.peer)
        if self.dialled_at is not None:
            state: State = "retrying" if self.reason else "connecting"
            return TargetView(address, state, self.reason, None, user, self.peer)
        if self.reason:
            return TargetView(address, "failed", self.reason, None if is_barred else self.due, user, self.peer)
        info = "not dialled yet" if user else "the other end may dial first"
        return TargetView(address, "waiting", info, self.due, user, self.peer)


@dataclass(slots=True, kw_only=True, eq=False)
class UserTarget(Attempt):
    """An address that the user named; retried for ever."""

    text: str
    key: str
    is_barred: bool = False

    def ask_again(self, now: float) -> None:
        """Forget the past: the user asks for it now."""
        self.is_barred = False
        self.backoff.reset()
        if self.dialled_at is None:
            self.due = now

    def missed(self, _key: str, reason: str, retry: bool, now: float, rng: Random) -> None:
        """Note that a dial failed."""
        self.is_barred = not retry
        self.postpone(reason, now, rng)

    def next_key(self, taken: Collection[str]) -> str | None:
        """Return the address to dial; None where it must not be, or is being dialled already."""
        return None if self.is_barred or self.dialled_at is not None or self.key in taken else self.key


@dataclass(slots=True, kw_only=True, eq=False)
class Candidate(Attempt):
    """A neighbour that discovery chose, dialled at each of its addresses in turn."""

    name: PeerName
    since: float
    """Since when it is wanted and not connected."""
    rank: int = 0
    """Its importance: 0 is dialled first."""
    turn: int = 0
    addresses: tuple[str, ...] = ()
    useless: set[str] = field(default_factory=set)
    """Those of its addresses where somebody else answers, or we ourselves."""

    def offer(self, addresses: tuple[str, ...]) -> None:
        """Take the addresses that it may be dialled at now."""
        if addresses == self.addresses:
            return
        self.addresses = addresses
        self.useless &= set(addresses)
        self.turn = 0

    def usable(self) -> tuple[str, ...]:
        """Return the addresses that are worth a dial."""
        return tuple(key for key in self.addresses if key not in self.useless)

    def missed(self, key: str, reason: str, retry: bool, now: float, rng: Random) -> None:
        """Note that a dial failed: the next address follows at once, and after the last one a pause."""
        if not retry:
            self.useless.add(key)
        elif key in self.addresses:
            self.turn += 1
        self.reason = reason[:LONGEST_REASON]
        if self.turn < len(self.usable()):
            self.due = now
            return
        self.turn = 0
        self.postpone(reason, now, rng)

    def lost(self, reason: str, uptime: float, now: float, rng: Random) -> None:
        """Note that the connection ended; it has time again to be reached before another stands in."""
        # Explicit, because slotted dataclasses are made anew and lose the cell of a bare super().
        Attempt.lost(self, reason, uptime, now, rng)
        self.failures = 0
        self.since = now

    def next_key(self, taken: Collection[str]) -> str | None:
        """Return the address to dial next; None where there is none that is not being dialled already."""
        usable = self.usable()
        if self.dialled_at is not None or not usable:
            return None
        key = usable[self.turn % len(usable)]
        return None if key in taken else key

    def is_hopeless(self, now: float) -> bool:
        """Tell whether another peer should stand in for it (it is still tried)."""
        if self.failures >= UNREACHABLE_AFTER:
            return True
        return not self.usable() and now >= self.since + NO_ADDRESS_PATIENCE_S
