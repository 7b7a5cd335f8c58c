"""The live connections as the planner sees them: who is connected, and which addresses lead to somebody connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from weave.mesh.dial_address import key_host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weave.names import PeerName


class Link(NamedTuple):
    """A live connection."""

    peer: PeerName
    address: str | None
    """The key of the other end's address, as we see it; None where it is none."""
    is_outbound: bool
    key: str | None
    """The key of the target that was dialled."""
    since: float


@dataclass(frozen=True, slots=True)
class Reached:
    """What is connected at one moment."""

    peers: frozenset[PeerName]
    keys: frozenset[str]
    """The addresses that are known to lead to one of the peers."""


class LinkTable:
    """The live connections by their number; there may be several to one peer for a moment."""

    def __init__(self, addresses_of: Callable[[PeerName], Sequence[str]]) -> None:
        self._addresses_of = addresses_of
        self._links: dict[int, Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def add(self, conn: int, link: Link) -> None:
        """Note a connection."""
        self._links[conn] = link

    def remove(self, conn: int) -> Link | None:
        """Forget a connection; return what it was, None where it is unknown."""
        return self._links.pop(conn, None)

    def outbound(self) -> list[tuple[int, Link]]:
        """Return the connections that we made, in the order of their making."""
        return [(conn, link) for conn, link in self._links.items() if link.is_outbound]

    def peers(self) -> frozenset[PeerName]:
        """Return who is connected."""
        return frozenset(link.peer for link in self._links.values())

    def reached(self) -> Reached:
        """Return who is connected, and the addresses that lead there.

        What a peer claims counts only where we see it at the same host: it might claim anybody's address.
        """
        keys: set[str | None] = set()
        for link in self._links.values():
            keys.add(link.key)
            if link.address is None:
                continue
            if link.is_outbound:
                keys.add(link.address)
            host = key_host(link.address)
            keys.update(key for key in self._addresses_of(link.peer) if key_host(key) == host)
        return Reached(self.peers(), frozenset(key for key in keys if key is not None))
