"""What waits to be gossiped on one connection: of each entry the latest, so that it never exceeds the state itself.

A slow link therefore costs the size of what changed, not the number of changes. Entries leave in deltas of bounded
size; an owner's floor leaves after the entries that it does not kill, so that a receiver sees no gap.
"""

from collections.abc import Callable, Collection, Iterable

from weave.mesh import limits
from weave.mesh.entries import FLOOR_KEY, Entry
from weave.mesh.messages import Delta, Group
from weave.names import PeerName

IdentityOf = Callable[[PeerName], bytes | None]


class Outbox:
    """The entries waiting for one connection."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[tuple[PeerName, bytes], Entry]] = {}
        self._answering: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._answering)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, channel: str, entries: Iterable[Entry]) -> None:
        """Queue entries, each in place of an older one."""
        waiting = self._waiting.setdefault(channel, {})
        for entry in entries:
            waiting[entry.owner, entry.key] = entry

    def finish_answer(self, channel: str) -> None:
        """Let the last delta of the channel carry our root: it answers an exchange."""
        self._answering.add(channel)

    def drain(self, root_of: Callable[[str], int], identity_of: IdentityOf, most: int) -> list[Delta]:
        """Take out up to `most` deltas."""
        deltas: list[Delta] = []
        for channel in sorted(self._waiting.keys() | self._answering):
            waiting = self._waiting.pop(channel, {})
            chunks = _chunks(_in_order(waiting.values()))
            room = most - len(deltas)
            for chunk in chunks[room:]:
                self.add(channel, chunk)
            deltas += [Delta(channel, _groups(chunk, identity_of)) for chunk in chunks[:room]]
            if channel in self._answering and len(chunks) < room:
                self._answering.discard(channel)
                deltas.append(Delta(channel, (), root_of(channel)))
        return deltas


def _in_order(entries: Collection[Entry]) -> list[Entry]:
    """Sort by owner, then in the order of writing, but the floor last."""
    if len(entries) < 2:
        return list(entries)
    return sorted(entries, key=lambda entry: (entry.owner, entry.key == FLOOR_KEY, entry.version))


def _chunks(entries: list[Entry]) -> list[list[Entry]]:
    chunks: list[list[Entry]] = []
    room = 0
    for entry in entries:
        if entry.size > room or not chunks:
            chunks.append([])
            room = limits.MAX_DELTA_BYTES
        elif entry.owner != chunks[-1][-1].owner:
            room -= limits.MAX_IDENTITY_BYTES // 2
        room -= entry.size
        chunks[-1].append(entry)
    return chunks


def _groups(entries: list[Entry], identity_of: IdentityOf) -> tuple[Group, ...]:
    """Group sorted entries by owner; what has lost its identity meanwhile stays out."""
    by_owner: dict[PeerName, list[Entry]] = {}
    for entry in entries:
        by_owner.setdefault(entry.owner, []).append(entry)
    groups = []
    for owner, owned in by_owner.items():
        identity = identity_of(owner)
        if identity is not None:
            groups.append(Group(owner, identity, tuple(owned)))
    return tuple(groups)
