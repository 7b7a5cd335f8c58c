"""How the range comes to its first division (`--ipalloc-init`)."""

from dataclasses import dataclass
from typing import TypeAlias

from weave.names import PeerName


@dataclass(frozen=True, slots=True)
class Consensus:
    """Agree on it among this many peers."""

    expected: int


@dataclass(frozen=True, slots=True)
class Seed:
    """Divide among exactly these peers, without a vote; all of them must be told the same."""

    names: tuple[PeerName, ...]


@dataclass(frozen=True, slots=True)
class Observer:
    """Never vote; wait for the division and ask others for space."""


InitMode: TypeAlias = Consensus | Seed | Observer
