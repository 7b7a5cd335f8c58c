"""Whether a tunnel to a peer carries: proven by probes, lost when they stay unanswered, tried again later. Pure.

                 small and large answered                 several lost in a row, or many of the latest
    proving ──────────────────────────────→ proven ──────────────────────────────→ failed
       │  └──────────── too long ────────────────────────────────────────────────→   │
       └─────────────────── after a pause, or as soon as the peer probes us ─────────┘

A tunnel is used only while both ends have proven it, which each says in its probes. So no packet is sent into a tunnel
that nobody knows to work, and both ends leave it together. While the peer's router is away (*suspended*) probes are
not missed, and what was proven stays in use: the kernels carry on by themselves. So it does when the router is back,
which answers nothing until it has agreed on keys: until its first answer, or until it has had time enough.

A host with too much to do answers late, and comes late to its own duties. Neither counts as loss: an answer counts
whenever it comes, the wait for the next follows it, and time in which we were held up ourselves does not pass.

One that lost many probes has to prove more: that it does so no longer. What the peer sends does not shorten its pause.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from weave.net.crypt import limits
from weave.net.crypt.patience import Patience
from weave.net.crypt.probe_messages import TOKEN_BYTES

PROVING, PROVEN, FAILED = "proving", "proven", "failed"

NEVER_HEARD = "no probe was answered: a firewall or NAT may drop the packets"
WENT_SILENT = "probes are no longer answered: a firewall or NAT may drop the packets"
LARGE_VANISH = "large packets vanish on the way: lower --mtu, or mend the MTU of the network between"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a probe."""

    token: bytes
    large: bool


class Track:
    """What is known of one tunnel to one peer."""

    def __init__(self, now: float, entropy: Callable[[int], bytes]) -> None:
        self.phase = PROVING
        self.reason = "no probe has been answered yet"
        """Why it is not used, in words."""
        self.rtt_s: float | None = None
        self.loss = 0.0
        """Share of probes lost, the recent ones counting most."""
        self._entropy = entropy
        self._asked: dict[bytes, tuple[float, bool]] = {}
        self._overdue: dict[bytes, tuple[float, bool]] = {}
        """Probes that were given up, for a while."""
        self._patience = Patience()
        self._answered: set[bool] = set()
        """Sizes (large or not) answered since proving began."""
        self._lost = {False: 0, True: 0}
        self._latest: deque[bool] = deque(maxlen=limits.PROBES_KEPT)
        """Of each of the latest small probes, whether it was lost."""
        self._lost_many = False
        """Whether it failed for that."""
        self._count = 0
        self._next_at = now
        self._proving_at = now
        self._until = -inf
        """When what failed is tried again."""
        self._pause = limits.FIRST_RETRY_S
        self._failed_at = -inf
        self._proven_at = inf
        self._peer_proven_at = -inf
        self._trouble = ""
        self._suspended = False
        self.pace = 1.0
        """By how much the time between probes is longer than usual."""
        self._greeted_until = -inf
        """Until when a router that came back may leave probes unanswered."""

    def is_usable(self, now: float) -> bool:
        """Say whether both ends have proven the tunnel."""
        if self.phase != PROVEN or self._peer_proven_at == -inf:
            return False
        return self._suspended or now < self._greeted_until or now < self._fades_at()

    def deadline(self) -> float:
        """Return when `tick` has something to do."""
        if self._suspended:
            return inf
        if self.phase == FAILED:
            return self._until
        lost = min((sent_at for sent_at, _ in self._asked.values()), default=inf) + self._patience.wait_s
        ends = self._ends_at() if self.phase == PROVING else inf
        fades = self._fades_at()
        return min(self._next_at, lost, ends, fades if fades > self._next_at else inf)

    def tick(self, now: float) -> list[Ask]:
        """Return the probes that are due."""
        if self._suspended:
            return []
        self._stand_still(now - self.deadline())
        if self.phase == FAILED:
            if now < self._until:
                return []
            self._prove(now)
        self._count_lost(now)
        if self.phase == PROVING and self._ends_at() <= now:
            self._fail(self._why_unproven(), now)
        if self.phase == FAILED or now < self._next_at:
            return []
        return self._ask(now)

    def answered(self, token: bytes, now: float, *, peer_proven: bool) -> None:
        """Note the answer to a probe of ours; one that nobody asked for says nothing."""
        is_overdue = token in self._overdue
        asked = (self._overdue if is_overdue else self._asked).pop(token, None)
        if asked is None or now - asked[0] > limits.OVERDUE_S:
            return
        sent_at, large = asked
        self.rtt_s = now - sent_at
        self._patience.learn(self.rtt_s)
        if self.phase == FAILED and not self._lost_many:
            self._prove(now)
        self.loss -= self.loss * limits.LOSS_WEIGHT
        self._trouble = ""
        self._lost[False] = 0
        if large or now < self._greeted_until:
            self._lost[True] = 0
        self._greeted_until = -inf
        self._note_peer(now, peer_proven=peer_proven)
        self._answered.add(large)
        if not large:
            if is_overdue and True in self._latest:
                self._latest.remove(True)
            self._latest.append(False)
        if self.phase == PROVING and len(self._answered) == 2 and self._is_steady():
            self.phase, self.reason, self._lost_many = PROVEN, "", False
            self._proven_at = self._next_at = now  # the other end learns of it at once

    def heard(self, now: float, *, peer_proven: bool) -> None:
        """Note that the peer probes us through this tunnel: one direction works."""
        self._note_peer(now, peer_proven=peer_proven)
        if self.phase == FAILED and not self._lost_many and now - self._failed_at >= limits.PROBE_INTERVAL_S:
            self._prove(now)

    def unsent(self, token: bytes, trouble: str) -> None:
        """Note that a probe could not be sent; it counts as lost in its time, for this reason."""
        if token in self._asked:
            self._trouble = trouble

    def suspend(self, now: float, *, suspended: bool) -> None:
        """Note whether the peer's router is away; when it is back the count of lost probes begins anew."""
        if suspended == self._suspended:
            return
        self._suspended = suspended
        self._asked.clear()
        self._overdue.clear()
        self._latest.clear()
        self._lost = {False: 0, True: 0}
        self._next_at = now
        self._greeted_until = -inf if suspended else now + limits.ADOPTED_S
        if self.phase == PROVING:
            self._proving_at = now
        if self._peer_proven_at != -inf:
            self._peer_proven_at = now

    def hurry(self, now: float) -> None:
        """Send the next probe at once: there is reason to doubt."""
        if self.phase == PROVEN:
            self._next_at = now

    @property
    def patience(self) -> float:
        """Return by how much longer than usual this peer is waited for."""
        return self._patience.factor

    def expect(self, slow_s: float) -> None:
        """Take note of how long other things take: no answer comes sooner where it is the ends that are slow."""
        self._patience.learn(slow_s)

    def retry(self, now: float) -> None:
        """Do not wait out the pause."""
        if self.phase == FAILED:
            self._prove(now)

    # -- work -----------------------------------------------------------------------------------------------------

    def _stand_still(self, late_s: float) -> None:
        """Let time in which we were held up not count: what came meanwhile is not read yet."""
        if late_s <= limits.STALLED_S:
            return
        self._asked = {token: (sent_at + late_s, large) for token, (sent_at, large) in self._asked.items()}
        self._proving_at += late_s
        self._greeted_until += late_s
        self._peer_proven_at += late_s

    def _fades_at(self) -> float:
        """Return when it is no longer believed that the peer has proven the tunnel."""
        return self._peer_proven_at + limits.PEER_FRESH_S * max(self.pace, self._patience.factor)

    def _ends_at(self) -> float:
        """Return until when it must have carried."""
        longer_s = limits.PROBES_STEADY * limits.PROVE_INTERVAL_S if self._lost_many else 0.0
        return self._proving_at + (limits.PROVE_S + longer_s) * self._patience.factor

    def _ask(self, now: float) -> list[Ask]:
        self._count += 1
        sizes = [False]
        if self.phase == PROVING or self._lost[True] or self._count % limits.LARGE_EVERY == 0:
            sizes.append(True)
        is_stale = now - self._peer_proven_at > limits.PEER_FRESH_S * self.pace
        in_haste = self.phase == PROVING or any(self._lost.values()) or is_stale
        self._next_at = now + self._haste_s() if in_haste else self._next_turn(now)
        asks = [Ask(self._entropy(TOKEN_BYTES), large) for large in sizes]
        self._asked |= {ask.token: (now, ask.large) for ask in asks}
        return asks

    def _next_turn(self, now: float) -> float:
        """Return when the next probe of a tunnel in use leaves: after the usual pause, or a little sooner."""
        pause_s = limits.PROBE_INTERVAL_S * self.pace
        turn_s = pause_s / limits.PROBE_TURNS
        return (now + pause_s) // turn_s * turn_s

    def _haste_s(self) -> float:
        """Return the pause between probes while something is to be found out.

        It doubles while nothing is answered, and is longer with many peers or slow ones: hosts that all begin at once,
        with too much to do, must not add to it.
        """
        backs_off = self.phase == PROVING and not self._lost_many
        doublings = min(self._lost[False], limits.MOST_DOUBLINGS) if backs_off else 0
        return (limits.PROVE_INTERVAL_S * (1 << doublings)
                * max(self._patience.factor, self.pace / limits.PACE_OF_HASTE))

    def _count_lost(self, now: float) -> None:
        for token in [token for token, (sent_at, _) in self._overdue.items() if sent_at + limits.OVERDUE_S <= now]:
            del self._overdue[token]
        lost = [token for token, (sent_at, _) in self._asked.items() if sent_at + self._patience.wait_s <= now]
        for token in lost:
            self._overdue[token] = self._asked.pop(token)
            _, large = self._overdue[token]
            self._lost[large] += 1
            if not large:
                self._latest.append(True)
            self.loss += (1.0 - self.loss) * limits.LOSS_WEIGHT
        if lost:
            self._next_at = min(self._next_at, now + self._haste_s())
        if self.phase != PROVEN or now < self._greeted_until:
            return
        if self._lost[False] >= limits.LOST_PROBES:
            self._fail(self._trouble or WENT_SILENT, now)
        elif self._lost[True] >= limits.LOST_PROBES:
            self._fail(LARGE_VANISH, now)
        elif sum(self._latest) >= limits.MANY_LOST:
            self._fail(f"{sum(self._latest)} of the latest {len(self._latest)} probes were lost", now)

    def _is_steady(self) -> bool:
        """Say whether it loses little, where that is in question."""
        return not self._lost_many or (len(self._latest) >= limits.PROBES_STEADY
                                       and sum(self._latest) <= limits.FEW_LOST)

    def _why_unproven(self) -> str:
        if self._trouble:
            return self._trouble
        if self._lost_many and False in self._latest:
            return f"{sum(self._latest)} of the latest {len(self._latest)} probes were lost"
        if not self._answered:
            return NEVER_HEARD
        return WENT_SILENT if self._lost[False] > 1 or False not in self._answered else LARGE_VANISH

    def _fail(self, reason: str, now: float) -> None:
        if now - self._proven_at >= limits.STEADY_S:
            self._pause = limits.FIRST_RETRY_S
        if self.phase == PROVEN:
            self._lost_many = sum(self._latest) >= limits.MANY_LOST
        self.phase, self.reason, self._proven_at = FAILED, reason, inf
        self._asked.clear()
        self._failed_at, self._until = now, now + self._pause
        self._peer_proven_at = -inf
        self._pause = min(2 * self._pause, limits.MAX_RETRY_S)

    def _prove(self, now: float) -> None:
        self.phase = PROVING
        self._answered.clear()
        self._latest.clear()
        self._lost = {False: 0, True: 0}
        self._trouble = ""
        self._next_at = self._proving_at = now

    def _note_peer(self, now: float, *, peer_proven: bool) -> None:
        self._peer_proven_at = now if peer_proven else -inf
