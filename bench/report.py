"""What a bench found and how it is told: a table for people, one last line with the verdicts, JSON for programs.

A `Row` is anything worth seeing; a `Verdict` is a figure that has a goal. The last line is

    NAME label=value goal=bound met; label=value goal<=bound short

with what fell short at its end, so that the last word speaks for the whole line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.stats import median, spread

AT_LEAST = "="
AT_MOST = "<="


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    value: float
    unit: str = ""
    spread: float | None = None
    """Half the distance between the quartiles, as a share of the value."""
    note: str = ""

    @staticmethod
    def of(what: str, samples: Sequence[float], unit: str = "", note: str = "") -> "Row":
        """Return the row of some samples: their median and their spread."""
        return Row(what, median(samples), unit, spread(samples), note)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure beside its goal."""

    label: str
    value: float
    bound: float
    sense: str = AT_LEAST
    """Whether the goal is reached at or above the bound, or at or below it."""
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Say whether the goal is reached."""
        return self.value >= self.bound if self.sense == AT_LEAST else self.value <= self.bound

    def __str__(self) -> str:
        word = "met" if self.is_met else "short"
        return f"{self.label}={number(self.value)}{self.unit} goal{self.sense}{number(self.bound)}{self.unit} {word}"


@dataclass(slots=True)
class Result:
    """Everything one run of a bench found."""

    name: str
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader must know to judge the figures: what was left out, what differs from the goal's wording."""

    def last_line(self) -> str:
        """Return the line that says it all."""
        ordered = sorted(self.verdicts, key=lambda verdict: not verdict.is_met)
        return f"{self.name} " + "; ".join(map(str, ordered))

    def as_json(self) -> dict[str, object]:
        """Return the result as a JSON object."""
        return {
            "name": self.name,
            "rows": [{"what": row.what, "value": row.value, "unit": row.unit, "spread": row.spread, "note": row.note}
                     for row in self.rows],
            "verdicts": [{"label": verdict.label, "value": verdict.value, "unit": verdict.unit,
                          "goal": f"goal{verdict.sense}{number(verdict.bound)}{verdict.unit}", "met": verdict.is_met}
                         for verdict in self.verdicts],
            "notes": self.notes,
        }

    def as_text(self) -> str:
        """Return the table, the notes and the last line."""
        cells = [(row.what, f"{number(row.value)} {row.unit}".rstrip(), _plus_minus(row.spread), row.note)
                 for row in self.rows]
        return "\n".join([*table(cells), *(f"note: {note}" for note in self.notes), self.last_line()])


def number(value: float) -> str:
    """Write a number with three digits that count; whole numbers from a hundred up."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the second to the right, the others to the left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) if column == 1 else cell.ljust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return lines


def _plus_minus(share: float | None) -> str:
    return "" if share is None else f"±{share:.0%}"
