"""How a node comes to its place in the cluster: what to do before its router starts. No I/O.

Two things must never happen: a second ring, and a router that hands out addresses which were given to others while its
node was away. Both are decided here, from the record of the cluster and from the note that this node keeps on its own
disk, before the router runs. `decide` says one step; it is asked again with what that step brought.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import TypeAlias

from weave.kube import limits
from weave.kube.membership import Record, admit, found, seal


@dataclass(frozen=True, slots=True)
class Note:
    """What this node remembers of its place, on its own disk."""

    peer: str
    """Empty: it was about to have a name for the first time."""
    seed: tuple[str, ...]
    """Empty: its router has never been started."""
    range: str
    birth: str
    """Of the record that we were last a member by."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a decision rests on."""

    peer: str
    node: str
    range: str
    note: Note
    record: Record | None
    nodes: Set[str]
    """All nodes of the cluster by name."""
    ring_holders: Set[str]
    """Other nodes that are Ready and run our network: they have a ring, whatever the record says."""
    has_registered: bool
    """We wrote ourselves into the record since this process began."""
    waited_s: float
    """Since this process began."""
    fresh_birth: str
    """A random word, for a record that we begin."""


@dataclass(frozen=True, slots=True)
class Write:
    """Write this record, if nobody wrote another meanwhile."""

    record: Record
    registers: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Start the router with this first division."""

    seed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepBack:
    """Wipe the router's state and come back under a new name."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Look again in a moment."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """A person has to decide."""

    reason: str


Verdict: TypeAlias = Write | Start | StepBack | Hold | Refuse


def decide(now: Situation) -> Verdict:
    """Return what this node has to do next."""
    record = now.record
    if record is not None and record.range != now.range:
        return Refuse(f"this cluster divides {record.range}, but this node is told {now.range}; give all nodes one "
                      "range. To change it, see docs/kubernetes.md")
    if record is None or (not record.seed and now.note.seed):
        return _without_record(now, record)
    reason = _why_not_ours(now, record)
    if reason:
        return StepBack(reason)
    if not now.has_registered:
        return Write(admit(record, now.peer, now.node), registers=True)
    if record.seed:
        return Start(record.seed)
    missing = now.nodes - {member.node for member in record.members.values()}
    if not missing or now.waited_s >= limits.GATHER_S:
        return Write(seal(record, now.nodes | {now.node}), registers=False)
    return Hold(f"waiting up to {limits.GATHER_S:g} s for {len(missing)} more nodes before the range is divided")


def _without_record(now: Situation, record: Record | None) -> Verdict:
    """Begin the record: anew for the first node of a cluster, from our note where it was lost."""
    if now.note.seed:
        base = found(now.fresh_birth, now.range, now.note.seed)
        if record is not None:  # others began anew without knowing; nobody started a router by it, it has no seed
            base = replace(record, seed=now.note.seed)
        return Write(admit(base, now.peer, now.node), registers=True)
    if now.ring_holders:
        return Hold("the record of the cluster is missing, but other nodes run; waiting until one of them restores it: "
                    + ", ".join(sorted(now.ring_holders)[:5]))
    return Write(admit(found(now.fresh_birth, now.range), now.peer, now.node), registers=True)


def _why_not_ours(now: Situation, record: Record) -> str:
    """Say why the state on this node's disk is not to be used, empty where it is."""
    if now.note.seed and record.seed != now.note.seed:
        return "the cluster runs another ring than the one on this node's disk"
    is_member = now.peer in record.members
    if now.note.seed and not is_member and record.birth == now.note.birth:
        return "this node was removed from the cluster, and its addresses were given to others"
    if now.peer in record.leaving or (not now.note.seed and now.peer in record.seed and not is_member):
        return "this peer was removed from the cluster before it started"
    return ""
