"""Results of experiments as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_flow.choices import ResultFormat
from energy_flow.client import calls
from energy_flow.client.displayed import Displayed
from energy_flow.client.exchange import Request
from energy_flow.client.experiments import experiment_path

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class ExperimentResults(Displayed):
    """A table of the results of an experiment.

    Attributes:
        experiment_id: of the experiment.
        name: of the experiment.
        state: of the experiment when the table was read; before it has ended, rows are missing.
        of: ``trials``, a row per trial, or ``points``, a row per point of the sweep.
        columns: names, in order.
        rows: values by column.
    """

    experiment_id: str
    name: str
    state: str
    of: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)

    def _facts(self) -> Mapping[str, object]:
        return {
            "name": self.name,
            "state": self.state,
            "of": self.of,
            "rows": len(self.rows),
            "columns": len(self.columns),
        }

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """Return one column, a value per row; ``None`` where a row has none.

        Raises:
            KeyError: there is no such column.
        """
        if column not in self.columns:
            raise KeyError(column)
        return [row.get(column) for row in self.rows]

    def to_pandas(self) -> pd.DataFrame:
        """Return the table as a data frame.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame({column: self[column] for column in self.columns})


@dataclass(frozen=True, slots=True)
class ResultsPage:
    """A part of a table of results.

    Attributes:
        experiment_id: of the experiment.
        name: of the experiment.
        state: of the experiment.
        columns: names, in order.
        rows: values by column.
        next_cursor: asks for the next part; ``None`` at the end of the table.
    """

    experiment_id: str
    name: str
    state: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    next_cursor: str | None = None


def results(experiment: str, of: str, cursor: str | None) -> Request:
    """Return a request for a part of the results of an experiment."""
    path = experiment_path(experiment, "results")
    return calls.get(path, format=ResultFormat.JSON, of=of, cursor=cursor)


def results_file(experiment: str, to: Path, format: str | None, of: str) -> Request:
    """Return a request that writes the results of an experiment to a file.

    Raises:
        ValueError: no format is given, and the suffix of the file belongs to none.
    """
    chosen = format or ResultFormat.require_of_file(to.name)
    return calls.get_file(experiment_path(experiment, "results"), to, format=chosen, of=of)


def join_pages(of: str, pages: list[ResultsPage]) -> ExperimentResults:
    """Return the table whose parts are the pages, at least one."""
    first = pages[0]
    return ExperimentResults(
        experiment_id=first.experiment_id,
        name=first.name,
        state=first.state,
        of=of,
        columns=first.columns,
        rows=tuple(row for page in pages for row in page.rows),
    )
