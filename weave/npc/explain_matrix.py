"""Reachability in words and as JSON: a table of who reaches whom, and what other policies would open and close. Pure.

JSON of a table: `{"family", "ends": [{"name", "kind", "members"}], "reach": [{"from", "to", "ports"}]}`: `from` is the
name of an end, `to` are names of ends, and `ports` is `["all"]`, or what is open, or empty.
JSON of a difference: `{"family", "ends", "changes": [{"from", "to", "opens", "closes"}]}`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from weave.npc.evaluator import Policies
from weave.npc.matrix import Bits, Matrix, members, same_ends, told_to
from weave.npc.matrix_groups import Group, Ports, group_ends, group_ports, mentions_of
from weave.npc.model import Cluster, Protocol

ALLOWED, DENIED, ITSELF = "+", "-", "·"
MAX_GRID_ENDS = 40
"""More columns than that do not fit on a screen."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What one end may send to some others."""

    source: Group
    destinations: tuple[Group, ...]
    ports: tuple[Ports, ...]
    is_all: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes possible between two ends, and what no longer is."""

    source: Group
    destination: Group
    opens: tuple[Ports, ...]
    closes: tuple[Ports, ...]


def families_of(cluster: Cluster) -> Sequence[int]:
    """Return the address families that pods of a cluster have."""
    found = sorted({address.version for pod in cluster.pods.values() for address in pod.addresses})
    return found or [4]


# The table

def table(cluster: Cluster, family: int) -> list[Reach]:
    """Return what every end may send to every other, sources in order."""
    found = mentions_of([cluster])
    matrix = Matrix(Policies(cluster), group_ends(cluster, found, family), group_ports(cluster, found))
    return [Reach(source, tuple(matrix.groups[column] for column in members(whom)), ports,
                  len(ports) == len(matrix.ports))
            for row, source in enumerate(matrix.groups) for ports, whom in _split(matrix, row)]


def _split(matrix: Matrix, row: int) -> list[tuple[tuple[Ports, ...], Bits]]:
    """Return the destinations of a source, parted by what it may send them; the most first."""
    parts: list[tuple[tuple[Ports, ...], Bits]] = [((), told_to(matrix.groups, row))]
    for ports, reachable in zip(matrix.ports, matrix.reachable, strict=True):
        both = ((((*has, ports), whom & reachable[row]), (has, whom & ~reachable[row])) for has, whom in parts)
        parts = [part for pair in both for part in pair if part[1]]
    return parts


def table_text(reaches: Sequence[Reach]) -> str:
    """Return a table for people: for each source what it may send, and to whom."""
    lines = []
    for source, own in groupby(reaches, key=lambda reach: reach.source):
        lines.append(f"from {source}")
        lines += [f"    {_words(reach.ports, is_all=reach.is_all):<24} to {', '.join(map(str, reach.destinations))}"
                  for reach in own]
    return "\n".join(lines)


def grid_text(reaches: Sequence[Reach], protocol: Protocol | None, port: int) -> str:
    """Return the table of one port as a grid: rows send, columns receive."""
    sources = list(dict.fromkeys(reach.source for reach in reaches))
    destinations = list(dict.fromkeys([*sources, *(one for reach in reaches for one in reach.destinations)]))
    cells = {(reach.source, one): ALLOWED if any(holds(ports, protocol, port) for ports in reach.ports) else DENIED
             for reach in reaches for one in reach.destinations}
    width = max((len(str(source)) for source in sources), default=0)
    numbers = [str(index + 1) for index in range(len(destinations))]
    lines = [f"{'from / to':<{width + 6}}" + " ".join(f"{number:>2}" for number in numbers)]
    for number, source in enumerate(sources, start=1):
        row = " ".join(f"{cells.get((source, one), ITSELF):>2}" for one in destinations)
        lines.append(f"{number:>3}  {source!s:<{width + 1}}{row}")
    only_receive = destinations[len(sources):]
    lines += [f"{number:>3}  {one}" for number, one in enumerate(only_receive, start=len(sources) + 1)]
    return "\n".join(lines)


def holds(ports: Ports, protocol: Protocol | None, port: int) -> bool:
    """Say whether a group of ports holds one."""
    if protocol is None or ports.protocol is not protocol:
        return protocol is ports.protocol
    return any(first <= port <= last for first, last in ports.ranges)


def table_json(reaches: Sequence[Reach], family: int) -> object:
    """Return a table for programs."""
    return {"family": family, "ends": _ends(one for reach in reaches for one in (reach.source, *reach.destinations)),
            "reach": [{"from": str(reach.source), "to": [str(one) for one in reach.destinations],
                       "ports": ["all"] if reach.is_all else _merged(reach.ports)} for reach in reaches]}


# The difference

def diff(before: Cluster, after: Cluster, family: int) -> list[Change]:
    """Return what policies of another cluster would change between the ends of the first."""
    after = same_ends(before, after)
    found = mentions_of([before, after])
    ends, ports = group_ends(before, found, family), group_ports(before, found)
    old, new = Matrix(Policies(before), ends, ports), Matrix(Policies(after), ends, ports)
    told = [told_to(ends, row) for row in range(len(ends))]
    changed: dict[tuple[int, int], tuple[list[Ports], list[Ports]]] = {}
    for index, one in enumerate(ports):
        for row in range(len(ends)):
            was, becomes = old.reachable[index][row], new.reachable[index][row]
            for column in members((was ^ becomes) & told[row]):
                opens, closes = changed.setdefault((row, column), ([], []))
                (opens if becomes >> column & 1 else closes).append(one)
    return [Change(ends[row], ends[column], tuple(opens), tuple(closes))
            for (row, column), (opens, closes) in sorted(changed.items())]


def diff_text(changes: Sequence[Change]) -> str:
    """Return a difference for people."""
    if not changes:
        return "nothing changes"
    lines = []
    opening = [(change, change.opens) for change in changes if change.opens]
    closing = [(change, change.closes) for change in changes if change.closes]
    for verb, kind in (("opens", opening), ("closes", closing)):
        rows = [(f"{change.source} → {change.destination}", _words(ports)) for change, ports in kind]
        width = max((len(pair) for pair, _ in rows), default=0)
        lines += [f"{verb:<7} {pair:<{width}}  {words}" for pair, words in rows]
    return "\n".join(lines)


def diff_json(changes: Sequence[Change], family: int) -> object:
    """Return a difference for programs."""
    return {"family": family, "ends": _ends(group for one in changes for group in (one.source, one.destination)),
            "changes": [{"from": str(change.source), "to": str(change.destination), "opens": _merged(change.opens),
                         "closes": _merged(change.closes)} for change in changes]}


# Words

def _ends(groups: Iterator[Group]) -> list[object]:
    return [{"name": str(group), "kind": group.kind.value, "members": list(group.members)}
            for group in dict.fromkeys(groups)]


def _words(ports: Sequence[Ports], *, is_all: bool = False) -> str:
    return "everything" if is_all else " ".join(_merged(ports)) or "nothing"


def _merged(ports: Sequence[Ports]) -> list[str]:
    """Return groups of ports as texts, those of one transport together and ranges that touch as one."""
    words = []
    for protocol in (*Protocol, None):
        ranges = sorted(one for group in ports if group.protocol is protocol for one in group.ranges)
        joined: list[tuple[int, int]] = []
        for first, last in ranges:
            if joined and joined[-1][1] + 1 == first:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
        if any(group.protocol is protocol for group in ports):
            words.append(str(Ports(protocol, tuple(joined))))
    return words
