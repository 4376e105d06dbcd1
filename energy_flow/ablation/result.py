"""``AblationResult``: figures of a model with parts of it switched off; loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from energy_flow.choices import Ablation, ValidationMetric

MIN_ROWS: Final = 2
"""Fewest rows of an ablation: intervals are over rows."""
DEFAULT_RESAMPLES: Final = 1000
"""Samples of rows, drawn with replacement, from which intervals are computed."""
MIN_RESAMPLES: Final = 100
MAX_RESAMPLES: Final = 10_000
"""Bounds for requests: fewer give no interval, and more change none."""
AS_IT_IS = "as it is"
"""What people call the model with nothing switched off."""
SHOWN = (ValidationMetric.COSINE, ValidationMetric.R2)
"""Figures that a table shows by default."""
HOW_TO_READ = "change: figure minus that of the model as it is; [95 %]: interval over rows"
"""One line below a table."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval of 95 %.

    Attributes:
        value: the figure.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AblationFlows:
    """What flows did in the runs of one variant.

    Attributes:
        mean_path_steps: steps of a flow; none if no flow has ended.
        mean_path_length: length of a flow's path, in half sides of the box; likewise.
        spawned: children for each initial flow.
        planes: share of the flows at each exit plane, by name.
    """

    mean_path_steps: float | None
    mean_path_length: float | None
    spawned: float
    planes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AblationEntry:
    """The model as it is, or with one part switched off.

    Attributes:
        ablation: the part; none for the model as it is.
        not_applicable: why the model has nothing to switch off; none if it has.
        figures: by metric; empty if there is nothing to switch off.
        changes: how they differ from those of the model as it is, with intervals of pairs.
        flows: what flows did; none if there is nothing to switch off.
    """

    ablation: Ablation | None
    not_applicable: str | None
    figures: Mapping[ValidationMetric, Interval]
    changes: Mapping[ValidationMetric, Interval]
    flows: AblationFlows | None

    @property
    def label(self) -> str:
        """What people call the variant."""
        return AS_IT_IS if self.ablation is None else self.ablation.label

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "ablation": None if self.ablation is None else self.ablation.value,
            "label": self.label,
            "not_applicable": self.not_applicable,
            "figures": {name.value: asdict(one) for name, one in self.figures.items()},
            "changes": {name.value: asdict(one) for name, one in self.changes.items()},
            "flows": None if self.flows is None else asdict(self.flows),
        }


@dataclass(frozen=True, slots=True)
class AblationResult:
    """Figures of a model with parts of it switched off.

    Attributes:
        rows: rows that were predicted.
        resamples: samples of rows from which the intervals were computed.
        entries: the model as it is, then one for each of ``choices.Ablation``.
    """

    rows: int
    resamples: int
    entries: tuple[AblationEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "rows": self.rows,
            "resamples": self.resamples,
            "entries": [entry.to_dict() for entry in self.entries],
        }

    def table(self, metrics: Iterable[ValidationMetric] = SHOWN) -> str:
        """Return a table for people.

        Args:
            metrics: figures to show, each with its interval and its change.
        """
        shown = tuple(ValidationMetric(metric) for metric in metrics)
        head = ["", *(text for name in shown for text in (f"{name} [95 %]", "change [95 %]"))]
        lines = [[*head, "steps", "z0 / zdepth", "spawned"]]
        lines += [_cells(entry, shown) for entry in self.entries]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def _cells(entry: AblationEntry, metrics: tuple[ValidationMetric, ...]) -> list[str]:
    """Return one line of a table, cell by cell."""
    if entry.flows is None:
        return [entry.label, str(entry.not_applicable), *([""] * (2 * len(metrics) + 2))]
    cells = [entry.label]
    for name in metrics:
        cells.append(_format(entry.figures[name], ""))
        cells.append("" if entry.ablation is None else _format(entry.changes[name], "+"))
    steps = entry.flows.mean_path_steps
    cells.append("–" if steps is None else f"{steps:.2f}")
    cells.append(" / ".join(f"{share:.0%}" for share in entry.flows.planes.values()))
    return [*cells, f"{entry.flows.spawned:.2f}"]


def _format(one: Interval, sign: str) -> str:
    # Adding 0 after rounding leaves no minus sign before 0.
    value, low, high = (round(number, 4) + 0.0 for number in (one.value, one.low, one.high))
    return f"{value:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"
