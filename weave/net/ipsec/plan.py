"""Decide what to change in XFRM: wanted policies and real ones in, changes out. Pure.

For each peer four policies: VXLAN and probes, out and in. One that is out names the association that it sends by; one
that is in takes any of ours. While there is a policy, its packets travel by ESP or not at all.

Associations are never planned: each is installed once, at the birth of its keys. Here is only which of those in the
kernel are nobody's any more, and which that we believe in are gone.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from weave.addresses import IPAddress
from weave.net.crypt.pact_messages import Way
from weave.netlink.xfrm import REQID, AssociationState, PolicyKey, PolicyState

Place = tuple[IPAddress, int]
"""Destination and SPI: by these the kernel knows an association."""


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What to set, then what to remove."""

    wanted: tuple[tuple[PolicyKey, int], ...] = ()
    """Each with the SPI to send by; 0 for those that are in."""
    gone: tuple[PolicyKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wanted or self.gone)


def want_policies(steered: Mapping[Way, int], ports: Collection[int]) -> dict[PolicyKey, int]:
    """Return the policies of these ways; each is steered to the association of that SPI."""
    wanted: dict[PolicyKey, int] = {}
    for way, spi in steered.items():
        for port in ports:
            wanted[PolicyKey(True, way.own, way.other, port)] = spi
            wanted[PolicyKey(False, way.other, way.own, port)] = 0
    return wanted


def plan_policies(wanted: Mapping[PolicyKey, int], actual: Iterable[PolicyState],
                  kept: Collection[Way] = ()) -> PolicyChange:
    """Return the difference; what an earlier router left for a way in `kept` stays."""
    has = {state.key: state.spi for state in actual if state.reqid == REQID}
    spared = {(way.own, way.other) for way in kept}
    return PolicyChange(
        wanted=tuple((key, wanted[key]) for key in sorted(wanted, key=_order) if has.get(key) != wanted[key]),
        gone=tuple(key for key in sorted(has, key=_order) if key not in wanted and _ends(key) not in spared),
    )


def orphans(actual: Iterable[AssociationState], known: Collection[Place], kept: Collection[Way]) -> list[Place]:
    """Return our associations that no agreement speaks for; those of an earlier life stay for a way in `kept`."""
    spared = {(way.own, way.other) for way in kept} | {(way.other, way.own) for way in kept}
    return sorted((
        (state.destination, state.spi) for state in actual
        if state.reqid == REQID and (state.destination, state.spi) not in known
        and (state.source, state.destination) not in spared
    ), key=lambda place: (place[0].version, place))


def missing(actual: Iterable[AssociationState], known: Collection[Place]) -> set[Place]:
    """Return the associations that we believe in and the kernel lacks."""
    return set(known) - {(state.destination, state.spi) for state in actual}


def _ends(key: PolicyKey) -> tuple[IPAddress, IPAddress]:
    return (key.source, key.destination) if key.outbound else (key.destination, key.source)


def _order(key: PolicyKey) -> tuple[bool, int, bytes, bytes, int]:
    """Sort those that are in first: an end is ready to receive before it sends."""
    return key.outbound, key.source.version, key.source.packed, key.destination.packed, key.port
