"""Figures that the parts of the router count, on their way to `GET /metrics`.

A part keeps plain numbers; the router names them here when it is asked. Names follow Prometheus: `weave_` first,
base units, counters end in `_total`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a request answered out of memory to one that waited for other peers until its deadline."""


class Kind(Enum):
    """How a figure behaves over time."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure; samples that share a name share its help, its kind and the names of its labels."""

    name: str
    help: str
    kind: Kind
    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Latencies:
    """Count durations in buckets; the one mutable figure, since a histogram cannot be named after the fact."""

    bounds: Sequence[float] = LATENCY_BUCKETS_S
    counts: list[int] = field(default_factory=list)
    """One count a bound, and a last one for whatever took longer."""
    total_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total_s += seconds


@dataclass(frozen=True, slots=True)
class Distribution:
    """A named view of `Latencies`."""

    name: str
    help: str
    latencies: Latencies
    labels: tuple[tuple[str, str], ...] = ()


Figure = Sample | Distribution
