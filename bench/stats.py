"""Numbers that survive a noisy machine: medians, spreads, ratios of neighbours in time, rounds that take turns.

A machine that others use slows down and speeds up by the second. What is compared is therefore measured in turns
(A B A B ...), each round of A is divided by the round of B beside it, and the median of the quotients counts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import TypeVar

Sample = TypeVar("Sample")

__all__ = ["interleaved", "median", "paired_ratio", "percentile", "spread", "turns"]


def interleaved(sides: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Measure every side once a round, in turns, and return the samples by side."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for name in turns(list(sides), rounds):
        samples[name].append(sides[name]())
    return samples


def turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Yield each name once a round; every second round goes the other way round.

    Turning round keeps what follows from being first (a cold cache, the other's garbage) from helping one side.
    """
    for number in range(rounds):
        yield from names if number % 2 == 0 else reversed(names)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the quotients of samples taken in the same round."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def spread(values: Sequence[float]) -> float:
    """Return half the distance between the quartiles as a share of the median: 0.05 reads as plus or minus 5%."""
    middle = median(values)
    if len(values) < 2 or middle == 0:
        return 0.0
    return (percentile(values, 75) - percentile(values, 25)) / 2 / abs(middle)
