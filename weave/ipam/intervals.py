"""A set of integers kept as sorted, disjoint, never touching intervals.

Finding, adding and removing cost a binary search and a move of memory, whatever the size of the intervals.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Intervals:
    """Half-open intervals `[start, end)`."""

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0
        """How many integers are in the set."""
        for start, end in intervals:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._ends[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, start: int, end: int) -> None:
        """Put every integer from `start` up to `end` into the set."""
        if start >= end:
            return
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._replace(low, high, [(start, end)])

    def remove(self, start: int, end: int) -> None:
        """Take every integer from `start` up to `end` out of the set."""
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        if low >= high or start >= end:
            return
        rest = [(self._starts[low], start), (end, self._ends[high - 1])]
        self._replace(low, high, [(first, last) for first, last in rest if first < last])

    def first(self, low: int, high: int) -> int | None:
        """Return the lowest member from `low` up to `high`."""
        index = bisect_right(self._ends, low)
        if index == len(self._ends):
            return None
        found = max(low, self._starts[index])
        return found if found < high else None

    def between(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of the intervals that lie between `low` and `high`."""
        for index in range(bisect_right(self._ends, low), bisect_left(self._starts, high)):
            yield max(low, self._starts[index]), min(high, self._ends[index])

    def count(self, low: int, high: int) -> int:
        """Return how many members lie between `low` and `high`."""
        return sum(end - start for start, end in self.between(low, high))

    def _replace(self, low: int, high: int, intervals: list[tuple[int, int]]) -> None:
        self.total -= sum(self._ends[low:high]) - sum(self._starts[low:high])
        self._starts[low:high] = [start for start, _ in intervals]
        self._ends[low:high] = [end for _, end in intervals]
        self.total += sum(end - start for start, end in intervals)
