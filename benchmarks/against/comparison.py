"""One quantity of both versions, round by round, and which of them is better by how much."""

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
        unit: for people.
        values: by version, one a round.
        more_is_better: as for rates; otherwise less is, as for times and memory.
    """

    unit: str
    values: Mapping[str, Sequence[float]]
    more_is_better: bool = False

    def ratio(self) -> Estimate:
        """Return how much better this version is; above 1 it is faster or leaner."""
        pairs = zip(self.values["this"], self.values["other"], strict=True)
        if self.more_is_better:
            return estimate([this / other for this, other in pairs])
        return estimate([other / this for this, other in pairs])

    def median(self, name: str) -> float:
        """Return the median of a version."""
        return statistics.median(self.values[name])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        medians = {name: float(f"{self.median(name):.6g}") for name in NAMES}
        return {"unit": self.unit, **medians, "ratio": self.ratio().to_dict()}


def show_comparisons(title: str, comparisons: Mapping[str, Comparison], note: str = "") -> None:
    """Print a table of them."""
    show(
        title,
        ("", "unit", "this", "other", "this is better by"),
        [
            (name, one.unit, one.median("this"), one.median("other"), str(one.ratio()))
            for name, one in comparisons.items()
        ],
        "Medians over rounds, and the median of the rounds' ratios with a 95 % interval; above 1, "
        f"this version is faster or needs less memory. {note}".rstrip(),
    )
