"""``Comparison``: one quantity of both versions, round by round, and the ratio of the two."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.against.turns import NAMES
from benchmarks.comparison import Estimate, estimate
from benchmarks.tables import show


@dataclass(frozen=True, slots=True)
class Comparison:
    """A quantity of both versions.

    Attributes:
        unit: unit of the values.
        values: by version, one value a round.
        more_is_better: whether larger values are better, as for rates; otherwise smaller ones are,
            as for times and memory.
    """

    unit: str
    values: Mapping[str, Sequence[float]]
    more_is_better: bool = False

    def ratio(self) -> Estimate:
        """Return the ratio; above 1, this version is faster or needs less memory."""
        pairs = zip(self.values["this"], self.values["other"], strict=True)
        if self.more_is_better:
            return estimate([this / other for this, other in pairs])
        return estimate([other / this for this, other in pairs])

    def median(self, name: str) -> float:
        """Return the median of a version.

        Args:
            name: ``this`` or ``other``.
        """
        return statistics.median(self.values[name])

    def to_dict(self) -> dict[str, Any]:
        """Return unit, medians and ratio as plain JSON data."""
        medians = {name: float(f"{self.median(name):.6g}") for name in NAMES}
        return {"unit": self.unit, **medians, "ratio": self.ratio().to_dict()}


def show_comparisons(title: str, comparisons: Mapping[str, Comparison], note: str = "") -> None:
    """Print a table of comparisons.

    Args:
        title: line above the table.
        comparisons: rows of the table, by name.
        note: text below the table.
    """
    show(
        title,
        ("", "unit", "this", "other", "ratio"),
        [
            (name, one.unit, one.median("this"), one.median("other"), str(one.ratio()))
            for name, one in comparisons.items()
        ],
        "Medians over rounds. ratio: median over rounds with a 95 % interval; above 1, this "
        f"version is faster or needs less memory. {note}".rstrip(),
    )
