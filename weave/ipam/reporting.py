"""What a report says of address allocation, in the words of `weave status ipam`."""

from itertools import islice
from typing import TYPE_CHECKING

from weave.ipam.limits import MAX_CONFLICTS_SHOWN
from weave.ipam.views import IpamView, OwnerView, PaxosView, RangeView
from weave.names import PeerName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weave.ipam.core import IpamCore
    from weave.ipam.estate import Estate

ALL_LOST = "all IP ranges owned by unreachable peers - use 'rmpeer' if they are dead"
WAITING = "waiting for IP(s) to become available"


def status(core: "IpamCore") -> str:
    """Return the state in one sentence; the texts are those of Weave Net where it had them."""
    conflict = _conflict(core)
    if conflict:
        return f"conflict: {conflict}"
    if core.estate is None:
        return _status_before(core)
    owners = {segment.range.owner for segment in core.estate.ring.segments()}
    if not owners & {core.me, *core.reachable}:
        return ALL_LOST
    return WAITING if core.desk.pending else "ready"


def view(core: "IpamCore") -> IpamView:
    """Return everything that a report says."""
    claims = [wanted for wanted in core.desk.pending.values() if wanted.claimed is not None]
    allocates = [str(wanted) for wanted in core.desk.pending.values() if wanted.claimed is None]
    return IpamView(
        status=status(core),
        network=core.universe.network,
        active=core.space.active,
        default_subnet=core.desk.default_subnet,
        paxos=_paxos(core),
        ranges=tuple(_ranges(core, core.estate)) if core.estate is not None else (),
        owners=tuple(_owners(core, core.estate)) if core.estate is not None else (),
        pending_allocates=tuple(sorted(allocates)),
        pending_claims=tuple(sorted((wanted.ident, str(wanted.claimed)) for wanted in claims)),
        conflicts=tuple(islice(_conflicts(core), MAX_CONFLICTS_SHOWN)),
    )


def name(core: "IpamCore", peer: PeerName) -> str:
    """Return how a sentence calls a peer."""
    nickname = core.nicknames.get(peer)
    return f"{nickname} ({peer})" if nickname else peer


def _status_before(core: "IpamCore") -> str:
    if not (core.desk.pending or core.desk.primes):
        return "idle"
    paxos = _paxos(core)
    if paxos is None:
        return "priming"
    return f"awaiting consensus (quorum: {paxos.quorum}, known: {paxos.known})"


def _paxos(core: "IpamCore") -> PaxosView | None:
    paxos = core.founding.paxos
    if core.estate is not None or not paxos.is_elector:
        return None
    return PaxosView(True, len(paxos.electors()), paxos.quorum)


def _ranges(core: "IpamCore", estate: "Estate") -> "Iterator[RangeView]":
    for segment in estate.ring.segments():
        owner = segment.range.owner
        yield RangeView(
            core.universe.address(segment.start), segment.size, owner, core.nicknames.get(owner, ""),
            owner == core.me or owner in core.reachable, segment.range.version)


def _owners(core: "IpamCore", estate: "Estate") -> "Iterator[OwnerView]":
    sizes: dict[PeerName, int] = {}
    for segment in estate.ring.segments():
        sizes[segment.range.owner] = sizes.get(segment.range.owner, 0) + segment.size
    for owner in sorted(sizes, key=lambda peer: (peer != core.me, peer)):
        is_me = owner == core.me
        yield OwnerView(
            owner, core.nicknames.get(owner, ""), sizes[owner], 100.0 * sizes[owner] / core.universe.block.size,
            core.space.active if is_me else None, is_me or owner in core.reachable)


def _conflict(core: "IpamCore") -> str:
    """Return why we may not allocate although we could otherwise; empty where that is not so."""
    if core.estate is not None:
        return _lost_ring(core, core.estate) if core.is_losing() else ""
    stranger = core.founding.stranger()
    if stranger is None:
        return ""
    peer, network = stranger
    return (f"{name(core, peer)} divides the range {network}, this peer is configured for {core.universe.network}; "
            "start all peers with the same --ipalloc-range")


def _lost_ring(core: "IpamCore", estate: "Estate") -> str:
    found = core.founding.rival(estate.division)
    assert found is not None, "a ring loses against another"
    peer, other = found
    if other.network != estate.division.network:
        return (f"{name(core, peer)} runs a ring of the range {other.network}, ours is of {estate.division.network}; "
                "nothing new is allocated here: run `weave reset` on this side and start it with the other range")
    return (f"{name(core, peer)} runs another ring, first divided among {len(other.peers)} peers, ours among "
            f"{len(estate.division.peers)}; nothing new is allocated here: run `weave reset` on this side and start it "
            "again, or on the other side to keep this one")


def _conflicts(core: "IpamCore") -> "Iterator[str]":
    estate = core.estate
    conflict = _conflict(core)
    if conflict:
        yield conflict
    if estate is None:
        return
    found = core.founding.rival(estate.division)
    if found is not None and not conflict:
        yield f"{name(core, found[0])} runs another ring; run `weave reset` there and start it again"
    for block, loser in sorted(estate.disputed.items()):
        held = estate.ring.get(block)
        if held is not None:
            yield (f"{core.universe.text(block)} was given to {name(core, held.owner)} and to "
                   f"{name(core, loser.owner)} at once; {name(core, held.owner)} has it")
    for address, holding in core.space.holdings():
        if core.universe.contains(address) and address not in core.space.owned:
            owner = estate.ring.at(address).owner
            yield (f"{core.universe.address(address)} of {holding.ident} lies in a range that belongs to "
                   f"{name(core, owner)} now; attach the container anew to get another address")


