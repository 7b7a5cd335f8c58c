"""The smallest change from one ruleset to another. Pure.

The kernel applies a change as one transaction: a packet meets the old rules or the new, never a mixture. Within it,
what is new comes before what uses it, and what is dead goes after what used it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from weave.npc.model import Direction
from weave.npc.ruleset import (
    ADDRESS,
    FAMILIES,
    PAIR,
    Chain,
    Kind,
    NftSet,
    Ruleset,
    admitted_name,
    itself_name,
    map_name,
)

POLICY_TABLE = ("inet", "weave-npc")
ADMISSION_TABLE = ("bridge", "weave-npc")
Table = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set, or with a chain to go to of a map."""

    table: Table
    name: str
    kind: Kind
    key: str
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What to do, in this order."""

    sets: Mapping[str, NftSet]
    chains: Mapping[str, Chain]
    removed: tuple[Element, ...]
    added: tuple[Element, ...]
    """After what was removed, for an address that gets another profile is in both."""
    dead_chains: tuple[str, ...]
    """Those that jump before those that are jumped to."""
    dead_sets: tuple[str, ...]

    @property
    def structural(self) -> bool:
        """Tell whether more changes than elements."""
        return bool(self.sets or self.chains or self.dead_chains or self.dead_sets)

    @property
    def empty(self) -> bool:
        """Tell whether nothing changes."""
        return not (self.structural or self.removed or self.added)


def difference(old: Ruleset, new: Ruleset) -> Change:
    """Return what makes the new ruleset out of the old one."""
    removed: list[Element] = []
    added: list[Element] = []
    for name, wanted in new.sets.items():
        known = old.sets.get(name)
        if known is not None and known is not wanted:
            _compare(POLICY_TABLE, name, wanted.kind, known.elements, wanted.elements, removed, added)
    for family in FAMILIES:
        before, after = old.policed.get(family, frozenset()), new.policed.get(family, frozenset())
        _compare(POLICY_TABLE, itself_name(family), PAIR[family], pairs(before - after), pairs(after - before),
                 removed, added)
        _compare(ADMISSION_TABLE, admitted_name(family), ADDRESS[family],
                 old.admitted.get(family, frozenset()), new.admitted.get(family, frozenset()), removed, added)
        for direction in Direction:
            name = map_name(direction, family)
            _compare_map(name, ADDRESS[family], old.dispatch.get(name, {}), new.dispatch.get(name, {}), removed, added)
    return Change(
        _missing(new.sets, old.sets),
        _missing(new.chains, old.chains),
        tuple(removed), tuple(added),
        tuple(reversed(_missing(old.chains, new.chains))),
        tuple(_missing(old.sets, new.sets)),
    )


def _missing(some: Mapping[str, T], others: Mapping[str, T]) -> dict[str, T]:
    """Return what of some is not among the others, in the order of some."""
    if some is others or some.keys() <= others.keys():  # as nearly always, when only elements change
        return {}
    return {name: item for name, item in some.items() if name not in others}


def pairs(addresses: frozenset[str]) -> frozenset[str]:
    """Return each address beside itself."""
    return frozenset(f"{address} . {address}" for address in addresses)


def _compare(table: Table, name: str, kind: Kind, old: frozenset[str], new: frozenset[str],
             removed: list[Element], added: list[Element]) -> None:
    if old is new:
        return
    removed += [Element(table, name, kind, key) for key in sorted(old - new)]
    added += [Element(table, name, kind, key) for key in sorted(new - old)]


def _compare_map(name: str, kind: Kind, old: Mapping[str, str], new: Mapping[str, str],
                 removed: list[Element], added: list[Element]) -> None:
    if old is new:
        return
    removed += [Element(POLICY_TABLE, name, kind, *item) for item in sorted(old.items() - new.items())]
    added += [Element(POLICY_TABLE, name, kind, *item) for item in sorted(new.items() - old.items())]
