"""Who takes over the addresses of nodes that were deleted: exactly one peer for each, also where it crashes. No I/O.

    1. claim    the record says: no member any more, we take it over    (compare-and-swap; from here it cannot return)
    2. take     our router takes over the ring's blocks of that peer    (repeating it finds nothing more)
    3. finish   the record forgets the peer                             (compare-and-swap)

A node that was deleted and still runs keeps what it has until our router does not reach its peer any more: a claim puts
the peer out, and whoever still uses it would lose their network. It is looked at again each time.

A claim is a lease. Who crashes after 1 or 2 finds its claim when it returns and claims again; where it does not move,
another claims after `LEASE_S`. A claim is acted on within `CLAIM_VALID_S` only, so that two never act on one at once.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import TypeAlias

from weave.kube import limits
from weave.kube.membership import Leaving, Record


@dataclass(frozen=True, slots=True)
class Claim:
    """Write a claim, after the API server has confirmed that the node is gone where it is named."""

    peer: str
    gone_node: str
    """Empty: the peer is leaving already."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Have the router take over what this peer had, then finish."""

    peer: str


@dataclass(frozen=True, slots=True)
class Outcast:
    """We are no member any more: our router must not go on with what it has."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """The record was lost and begun anew without us: write ourselves into it."""


@dataclass(frozen=True, slots=True)
class Rest:
    """There is nothing to do until then, or until something changes."""

    until: float


Step: TypeAlias = Claim | TakeOver | Outcast | Rejoin | Rest


@dataclass(slots=True)
class Reclaimer:
    """One agent's part in it."""

    me: str
    birth: str
    """Of the record that we are a member by."""
    _claimed_at: dict[str, float] = field(default_factory=dict)
    _seen: dict[str, tuple[Leaving, float]] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)

    def deleted(self, record: Record, nodes: Set[str]) -> dict[str, str]:
        """Return the members, other than us, whose nodes are gone, with their nodes."""
        return {peer: member.node for peer, member in sorted(record.members.items())
                if member.node not in nodes and peer != self.me}

    def step(self, record: Record, nodes: Set[str], reachable: Set[str], now: float) -> Step:
        """Return what to do next; `reachable` has those of the `deleted` that our router reaches."""
        if self.me not in record.members:
            is_removed = record.birth == self.birth or self.me in record.leaving
            return Outcast() if is_removed else Rejoin()
        self.birth = record.birth
        self._observe(record, now)
        for peer, leaving in sorted(record.leaving.items()):
            if self._not_before.get(peer, now) > now:
                continue
            if leaving.by == self.me and now - self._claimed_at.get(peer, float("-inf")) < limits.CLAIM_VALID_S:
                return TakeOver(peer)
            if self._is_free(record, peer, leaving, now):
                return Claim(peer, "")
        for peer, node in self.deleted(record, nodes).items():
            if peer not in reachable:
                return Claim(peer, node)
        return Rest(min([now + limits.POLL_RECORD_S, *(since + limits.LEASE_S for _, since in self._seen.values()
                                                       if since + limits.LEASE_S > now)]))

    def claimed(self, peer: str, asked_at: float) -> None:
        """Note that our claim is in the record; it counts from when we asked for it."""
        self._claimed_at[peer] = asked_at

    def refused(self, peer: str, now: float) -> None:
        """Note that the peer cannot be taken over yet, for it is reachable."""
        self._claimed_at.pop(peer, None)
        self._not_before[peer] = now + limits.REFUSED_RETRY_S

    def _observe(self, record: Record, now: float) -> None:
        """Remember since when each claim stands as it is; clocks of other hosts do not matter."""
        self._seen = {
            peer: (leaving, self._seen[peer][1] if peer in self._seen and self._seen[peer][0] == leaving else now)
            for peer, leaving in record.leaving.items()
        }
        self._not_before = {peer: at for peer, at in self._not_before.items() if peer in record.leaving}
        self._claimed_at = {peer: at for peer, at in self._claimed_at.items() if peer in record.leaving}

    def _is_free(self, record: Record, peer: str, leaving: Leaving, now: float) -> bool:
        is_abandoned = now - self._seen[peer][1] >= limits.LEASE_S
        return leaving.by in ("", self.me) or leaving.by not in record.members or is_abandoned
