"""An ablation as the command line requests it, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from energy_flow.ablation.result import AS_IT_IS, AblationResult

if TYPE_CHECKING:
    from energy_flow.choices import Ablation
    from service.cli.execute.embeddings_file import RowRange


@dataclass(frozen=True, slots=True)
class AblationJob:
    """What to measure, in this process or on a server.

    Attributes:
        model: file of a checkpoint, or name of a model.
        data: file of pairs, or name of a dataset.
        rows: which of its rows.
        resamples: samples of rows from which intervals are computed.
        fields: run-time fields of the config by dotted name.
    """

    model: str
    data: str
    rows: RowRange
    resamples: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AblationOutcome:
    """What was measured.

    Attributes:
        model: the model, as runs report it.
        data: file of pairs, or name of a dataset.
        rows: first row, and the row after the last.
        result: the figures.
        warnings: about the config of the runs.
    """

    model: Mapping[str, Any]
    data: str
    rows: tuple[int, int]
    result: AblationResult
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "model": dict(self.model),
            "data": self.data,
            "rows": list(self.rows),
            "result": self.result.to_dict(),
            "warnings": list(self.warnings),
        }


def describe_progress(current: Ablation | None, done: int, total: int, rows: int) -> str:
    """Return a line about an ablation that is under way.

    Args:
        current: the part that is switched off now.
        done: rows that have been simulated, of all variants together.
        total: rows to simulate.
        rows: rows of each variant.
    """
    if done == total:
        return "computing the intervals"
    label = AS_IT_IS if current is None else current.label
    return f"{label}: {done % rows:,} of {rows:,} rows"
