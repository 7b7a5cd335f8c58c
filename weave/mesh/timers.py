"""When each thing that the mesh core does by itself is due."""

from dataclasses import dataclass
from math import inf


@dataclass(slots=True)
class Timers:
    """When each thing is due; infinity where it is not."""

    sweep: float
    forget: float
    flush: float = inf
    links: float = inf
    graph: float = inf
    dead: float = inf
    discovery: float = inf

    def first(self) -> float:
        """Return the earliest."""
        return min(self.flush, self.links, self.graph, self.dead, self.discovery, self.sweep, self.forget)
