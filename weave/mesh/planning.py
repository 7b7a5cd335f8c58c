"""What the core needs of a planner: whom to dial and when. `weave.mesh.planner` is the one that routers use."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from weave.mesh.attempts import TargetView
from weave.mesh.peers import LocalPeer, MeshConfig
from weave.mesh.planner import Planner, PlannerConfig, PlanStep
from weave.names import PeerName

if TYPE_CHECKING:
    from random import Random


class Planning(Protocol):
    """A planner of connections."""

    def add_targets(self, addresses: Sequence[str], now: float, replace: bool = False) -> None:
        """Add what a person named."""
        ...

    def forget(self, addresses: Sequence[str], now: float) -> None:
        """Drop addresses."""
        ...

    def peers_known(self, peers: Mapping[PeerName, tuple[str, ...]], now: float) -> None:
        """Take note of who is reachable and where each may be dialled."""
        ...

    def connected(
        self, conn: int, peer: PeerName, address: str, outbound: bool, target: str | None, now: float
    ) -> None:
        """Take note of a connection."""
        ...

    def disconnected(self, conn: int, reason: str, now: float) -> None:
        """Take note of a connection's end."""
        ...

    def failed(self, target: str, reason: str, retry: bool, now: float) -> None:
        """Take note of a dial that failed."""
        ...

    def plan(self, now: float) -> PlanStep:
        """Say what to dial and to close now."""
        ...

    def deadline(self) -> float:
        """Say when `plan` is due."""
        ...

    def targets(self) -> list[TargetView]:
        """Say how every target stands."""
        ...


def planner_of(me: LocalPeer, config: MeshConfig, rng: "Random") -> Planner:
    """Return the planner that routers use, with what the operator chose."""
    chosen = PlannerConfig(
        discovery=config.discovery, connection_limit=config.connection_limit, default_port=config.default_port
    )
    return Planner(me=me.name, rng=rng, config=chosen)
