"""The record of the cluster: which peers divide the range, which peer runs on which node, and who is on its way out.

There is one record, in a ConfigMap, and every change of it is a compare-and-swap: the API server takes a new record
only from who has seen the last. So of any two agents that act on the same record one starts over. No I/O here.

    not in the record --admit--> member --its node is gone: claim--> leaving --taken over: finish--> not in the record

`seal` happens once: it fixes the peers of the first division. From the same peers every router derives the same
division, so there can be one ring only, however the nodes came and whichever of them live.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

from weave.errors import RemoteError
from weave.kube import limits

FORMAT = 1
MAX_RECORD_CHARS = 900_000
"""A ConfigMap holds 1 MiB."""
MAX_PEERS = 10_000
MAX_NAME = 253


@dataclass(frozen=True, slots=True)
class Member:
    """A peer that may hand out addresses."""

    node: str
    starts: int
    """Counted up with every start, so that nobody who saw the node gone before it can still claim the peer."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A peer that is no member any more, and whose addresses are to be taken over."""

    node: str
    by: str
    """The peer that does it; empty: nobody yet."""
    term: int
    """Counted up with every claim, so that a claim that does not move is seen."""


@dataclass(frozen=True, slots=True)
class Record:
    """What all agents agree on."""

    birth: str
    """A random word of who began it: a record that was lost and begun anew tells nothing of who was removed before."""
    range: str
    seed: tuple[str, ...]
    """The peers of the first division; empty until it is sealed."""
    members: Mapping[str, Member]
    leaving: Mapping[str, Leaving]


def found(birth: str, range_: str, seed: tuple[str, ...] = ()) -> Record:
    """Return a record without members; with the seed of a ring that is known to run, where the record was lost."""
    return Record(birth, range_, seed, {}, {})


def admit(record: Record, peer: str, node: str) -> Record:
    """Return the record with a peer that starts; what ran on its node before is leaving."""
    before = record.members.get(peer)
    replaced = {other: member for other, member in record.members.items() if member.node == node and other != peer}
    members = {other: member for other, member in record.members.items() if other not in replaced}
    members[peer] = Member(node, 1 if before is None else before.starts + 1)
    leaving = {**record.leaving, **{other: Leaving(node, "", 0) for other in replaced}}
    return replace(record, members=members, leaving=leaving)


def seal(record: Record, nodes: Set[str]) -> Record:
    """Return the record with the first division among the members whose nodes are there."""
    assert not record.seed, "the first division is sealed once"
    present = sorted(peer for peer, member in record.members.items() if member.node in nodes)
    return replace(record, seed=tuple(present[: limits.MAX_SEED]))


def claim(record: Record, peer: str, by: str) -> Record:
    """Return the record in which `by` is to take over what a peer had; the peer is no member from here on."""
    member, leaving = record.members.get(peer), record.leaving.get(peer)
    node = member.node if member is not None else leaving.node if leaving is not None else ""
    term = 1 if leaving is None else leaving.term + 1
    members = {other: each for other, each in record.members.items() if other != peer}
    return replace(record, members=members, leaving={**record.leaving, peer: Leaving(node, by, term)})


def finish(record: Record, peer: str) -> Record:
    """Return the record without a peer whose addresses have been taken over."""
    return replace(record, leaving={other: each for other, each in record.leaving.items() if other != peer})


# --- as text ---------------------------------------------------------------------------------------------------------

def encode(record: Record) -> str:
    """Return the record as text, the same for equal records."""
    return json.dumps({
        "format": FORMAT,
        "birth": record.birth,
        "range": record.range,
        "seed": list(record.seed),
        "members": {peer: {"node": member.node, "starts": member.starts}
                    for peer, member in sorted(record.members.items())},
        "leaving": {peer: {"node": each.node, "by": each.by, "term": each.term}
                    for peer, each in sorted(record.leaving.items())},
    }, separators=(",", ":"))


def decode(content: str) -> Record:
    """Return the record that a text stands for; raise `RemoteError` where it is none."""
    if len(content) > MAX_RECORD_CHARS:
        raise RemoteError(f"the record of the cluster is longer than {MAX_RECORD_CHARS} characters")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise RemoteError("the record of the cluster is no JSON") from exc
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RemoteError(f"the record of the cluster is not of format {FORMAT}; all nodes should run one version")
    seed = document.get("seed")
    if not isinstance(seed, list) or len(seed) > limits.MAX_SEED:
        raise RemoteError("the record of the cluster has no sound seed")
    return Record(
        _name(document.get("birth")), _name(document.get("range")), tuple(_name(peer) for peer in seed),
        {_name(peer): Member(_name(each.get("node")), _count(each.get("starts")))
         for peer, each in _entries(document, "members")},
        {_name(peer): Leaving(_name(each.get("node")), _name(each.get("by"), may_be_empty=True),
                              _count(each.get("term")))
         for peer, each in _entries(document, "leaving")})


def _entries(document: Mapping[str, object], section: str) -> list[tuple[str, Mapping[str, object]]]:
    entries = document.get(section)
    if not isinstance(entries, dict) or len(entries) > MAX_PEERS:
        raise RemoteError(f"the record of the cluster has no sound {section}")
    if not all(isinstance(each, dict) for each in entries.values()):
        raise RemoteError(f"the {section} of the record of the cluster are not sound")
    return list(entries.items())


def _name(value: object, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable() or not (value or may_be_empty):
        raise RemoteError("the record of the cluster has a name that is none")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise RemoteError("the record of the cluster has a count that is none")
    return value
