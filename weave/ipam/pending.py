"""Requests that wait: for the ring, for space from another peer, for a rest to be over."""

from dataclasses import dataclass

from weave.addresses import IPInterface, IPNetwork


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who wants an address between `low` and `high` (exclusive), with which prefix length."""

    ident: str
    low: int
    high: int
    prefix: int
    subnet: IPNetwork
    claimed: IPInterface | None = None
    """The one address that is claimed; None where any will do."""

    @property
    def bounds(self) -> tuple[int, int]:
        """Return where the address has to lie."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.ident} {self.subnet if self.claimed is None else self.claimed}"
