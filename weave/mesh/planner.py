"""The connection planner: decides whom to dial, when, and which connections to close.

It is told what the user asks for (targets), what gossip knows (peers and their addresses) and how dials and
connections fare; `plan` answers what to do now and `deadline` when to ask again. It knows no sockets and no names of
the DNS: a target is a text that the shell resolves when it dials.

Invariants: a user target is dialled for ever, at most `LONGEST_RETRY_S` apart, unless its peer is connected or it
can never work (our own address); without discovery nothing else is dialled; a connection that the user asked for, or
that the other end made, is never closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

from weave.errors import LocalError
from weave.mesh.attempts import UNREACHABLE_AFTER, Attempt, Candidate, TargetView, UserTarget
from weave.mesh.dial_address import dial_key, gossiped_key
from weave.mesh.discovery import Discovery
from weave.mesh.link_table import Link, LinkTable
from weave.mesh.surplus import Surplus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from weave.names import PeerName

DIAL_LIMIT_S = 60.0
"""A dial without an answer for this long has failed, whatever became of it; the shell gives up much earlier."""
MAX_USER_TARGETS = 4096
"""More targets than peers that a mesh can have are a mistake."""


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """What the operator chose."""

    discovery: bool = True
    connection_limit: int = 200
    """No discovered peer is dialled beyond it; user targets are."""
    default_port: int = 6783
    parallel_dials: int = 16
    """Enough that dead addresses do not hold up live ones, few enough to handshake at once on a small host."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """What to do now."""

    dial: tuple[str, ...] = ()
    """Addresses, always with a port: each must be answered by `connected` or `failed` with the same text."""
    close: tuple[int, ...] = ()
    """Connections that nobody needs any more."""


class Planner:
    """Plan the connections of one peer."""

    def __init__(self, *, me: PeerName, rng: Random, config: PlannerConfig) -> None:
        self._rng = rng
        self._config = config
        self._targets: dict[str, UserTarget] = {}
        self._discovery = Discovery(me, rng, config.connection_limit)
        self._links = LinkTable(self._discovery.addresses_of)
        self._dialling: dict[str, UserTarget | Candidate] = {}
        self._surplus = Surplus(rng)
        self._wake = inf

    # --- what the user asks ------------------------------------------------------------------------------------

    def add_targets(self, addresses: Sequence[str], now: float, replace: bool = False) -> None:
        """Add user targets, all or none; one that is there already is tried again at once.

        Raise `LocalError` for a text that is no address and for too many. With `replace`, all others are dropped.
        """
        texts = {dial_key(text, self._config.default_port): text.strip() for text in addresses}
        kept = {key: target for key, target in self._targets.items() if not replace or key in texts}
        if len(kept.keys() | texts.keys()) > MAX_USER_TARGETS:
            raise LocalError(f"more than {MAX_USER_TARGETS} addresses to connect to; name a few, the rest is found")
        for key in [key for key in self._targets if key not in kept]:
            self._drop(key)
        for key, text in texts.items():
            self._discovery.welcome(key)
            self._targets.setdefault(key, UserTarget(text=text, key=key, due=now)).ask_again(now)
        self._replan(now)

    def forget(self, addresses: Sequence[str], now: float) -> None:
        """Drop user targets, and addresses of discovered peers that are not connected; live connections stay.

        Such a discovered address is not dialled again before its peer left the mesh or `add_targets` names it.
        """
        up = self._links.peers()
        for text in addresses:
            key = self._key(text)
            if key is not None:
                self._drop(key)
                self._discovery.shun(key, up)
        self._replan(now)

    def _drop(self, key: str) -> None:
        """Drop a user target; its dial, if there is one, has no owner any more."""
        target = self._targets.pop(key, None)
        if target is not None and self._dialling.get(key) is target:
            del self._dialling[key]

    # --- what the mesh tells -----------------------------------------------------------------------------------

    def peers_known(self, peers: Mapping[PeerName, tuple[str, ...]], now: float) -> None:
        """Take all peers that the mesh knows and where each may be dialled; who is missing is forgotten."""
        if self._discovery.learn(peers):
            self._replan(now)

    def connected(
        self, conn: int, peer: PeerName, address: str, outbound: bool, target: str | None, now: float
    ) -> None:
        """Note a new connection; `target` is what `plan` said to dial, None for one that the other end made."""
        key = self._key(target)
        self._links.add(conn, Link(peer, gossiped_key(address), outbound, key, now))
        attempt = self._answered(key)
        if isinstance(attempt, Candidate) and attempt.name != peer and key is not None:
            attempt.missed(key, f"another peer ({peer}) answers there", False, now, self._rng)
        for reached in (self._targets.get(key or ""), self._discovery.candidates.get(peer)):
            if reached is not None:
                reached.reached(peer)
        self._replan(now)

    def disconnected(self, conn: int, reason: str, now: float) -> None:
        """Note that a connection ended; who was reached by it is dialled again."""
        link = self._links.remove(conn)
        if link is None:
            return
        self._replan(now)
        if link.peer in self._links.peers():
            return
        uptime = now - link.since
        for target in self._targets.values():
            if target.key == link.key or target.peer == link.peer:
                target.lost(reason, uptime, now, self._rng)
        candidate = self._discovery.candidates.get(link.peer)
        if candidate is not None:
            candidate.lost(reason, uptime, now, self._rng)
            candidate.due += self._discovery.yielding(candidate.name)

    def failed(self, target: str, reason: str, retry: bool, now: float) -> None:
        """Note that a dial failed or was refused; without `retry` it can never work, until the user asks again."""
        self._missed(self._key(target), reason, retry, now)
        self._replan(now)

    def _missed(self, key: str | None, reason: str, retry: bool, now: float) -> None:
        """Tell whoever dialled an address that it failed."""
        attempt = self._answered(key)
        if attempt is not None and key is not None:
            attempt.missed(key, reason, retry, now, self._rng)

    def _answered(self, key: str | None) -> UserTarget | Candidate | None:
        """Return who was dialling an address, and end its dial."""
        attempt = None if key is None else self._dialling.pop(key, None)
        if attempt is not None:
            attempt.dialled_at = None
        return attempt

    # --- what follows ------------------------------------------------------------------------------------------

    def plan(self, now: float) -> PlanStep:
        """Return what to dial (each counts as being dialled from now on) and which connections to close."""
        for key in [key for key, attempt in self._dialling.items() if now >= _expiry(attempt)]:
            self._missed(key, "no answer to the dial", True, now)
        if self._config.discovery:
            self._discovery.choose(now, self._links.peers(), self._targets)
        dial = self._dial(now)
        close = self._close(now)
        self._wake = self._next_event(now)
        return PlanStep(dial, close)

    def deadline(self) -> float:
        """Return when `plan` is to be called again at the latest; infinity where nothing is pending."""
        return self._wake

    def targets(self) -> list[TargetView]:
        """Say how every user target stands, in the order they were added, then each discovered peer that is missing."""
        reached = self._links.reached()
        views: list[TargetView] = []
        for target in self._targets.values():
            is_up = target.key in reached.keys or target.peer in reached.peers
            views.append(target.view(target.text, is_up=is_up, is_barred=target.is_barred, user=True))
        for name, candidate in sorted(self._discovery.candidates.items()):
            address = self._shown_address(candidate)
            if name not in reached.peers and address is not None:
                views.append(candidate.view(address, is_up=False, is_barred=not candidate.usable(), user=False))
        return views

    def _shown_address(self, candidate: Candidate) -> str | None:
        """Return the address of a discovered peer that is, or would be, dialled."""
        dialled = [key for key, attempt in self._dialling.items() if attempt is candidate]
        return next(iter((*dialled, *islice(candidate.usable(), candidate.turn, None), *candidate.addresses)), None)

    # --- dialling ----------------------------------------------------------------------------------------------

    def _dial(self, now: float) -> tuple[str, ...]:
        """Dial what is due, what waits longest first, as many at once as allowed."""
        chosen: list[str] = []
        ready = [attempt for attempt in self._dialable() if attempt.due <= now]
        for attempt in sorted(ready, key=_urgency):
            if len(self._dialling) >= self._config.parallel_dials:
                break
            key = attempt.next_key(self._dialling)
            if key is None or (isinstance(attempt, Candidate) and self._is_at_limit()):
                continue
            attempt.dialled_at = now
            self._dialling[key] = attempt
            chosen.append(key)
        return tuple(chosen)

    def _dialable(self) -> Iterator[UserTarget | Candidate]:
        """Yield what may be dialled, now or when it is due."""
        reached = self._links.reached()
        for target in self._targets.values():
            is_up = target.key in reached.keys or target.peer in reached.peers
            if not is_up and target.next_key(self._dialling):
                yield target
        if self._is_at_limit():
            return
        # A peer that the user named is left to its target as long as that has not failed repeatedly.
        named = {
            each.peer for each in self._targets.values() if each.failures < UNREACHABLE_AFTER and not each.is_barred
        }
        for name, candidate in self._discovery.candidates.items():
            if name not in reached.peers and name not in named and candidate.next_key(self._dialling):
                yield candidate

    def _is_at_limit(self) -> bool:
        """Tell whether discovery must not add connections."""
        return len(self._links) + len(self._dialling) >= self._config.connection_limit

    # --- closing -----------------------------------------------------------------------------------------------

    def _close(self, now: float) -> tuple[int, ...]:
        """Return the surplus connection that is to be closed now, if any."""
        self._surplus.review(self._unwanted(), now)
        return () if self._must_keep(now) else self._surplus.take(now)

    def _unwanted(self) -> list[int]:
        """Return the connections that discovery made and wants no more.

        Those that the other end made are its own to judge: it may have been told by its user to make them.
        """
        if not self._config.discovery:
            return []
        named = {target.peer for target in self._targets.values()}
        wanted = self._discovery.candidates
        return [
            conn
            for conn, link in self._links.outbound()
            if link.key not in self._targets and link.peer not in named
            if link.peer not in wanted and self._discovery.knows(link.peer)
        ]

    def _must_keep(self, now: float) -> bool:
        """Tell whether surplus connections stay: until the wanted ones are made, they may hold the mesh together."""
        return not self._is_at_limit() and self._discovery.is_missing_any(now, self._links.peers())

    # --- bookkeeping -------------------------------------------------------------------------------------------

    def _replan(self, now: float) -> None:
        """Note that something changed: a plan is due."""
        self._wake = min(self._wake, now)

    def _next_event(self, now: float) -> float:
        """Return when time alone changes the plan."""
        times = [_expiry(attempt) for attempt in self._dialling.values()]
        if len(self._dialling) < self._config.parallel_dials:
            times += [attempt.due for attempt in self._dialable() if attempt.due > now]
        if not self._must_keep(now):
            times.append(self._surplus.ripe_at())
        times += self._discovery.patience_ends(now)
        return min(times, default=inf)

    def _key(self, target: str | None) -> str | None:
        """Return the key of an address; None where it is none and so was never dialled."""
        try:
            return None if target is None else dial_key(target, self._config.default_port)
        except LocalError:
            return None


def _expiry(attempt: Attempt) -> float:
    """Return when a dial counts as failed without an answer, so that its slot is not lost."""
    return inf if attempt.dialled_at is None else attempt.dialled_at + DIAL_LIMIT_S


def _urgency(attempt: UserTarget | Candidate) -> tuple[float, int, str]:
    """Sort by who waits longest; then the user's targets, then neighbours by importance."""
    if isinstance(attempt, UserTarget):
        return attempt.due, -1, attempt.key
    return attempt.due, attempt.rank, attempt.name
