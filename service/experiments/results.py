"""The results of an experiment as a table with a row a trial, or a row a point of its sweep."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from energy_flow.choices import RunState
from service.experiments.active_experiment import trial_number
from service.store.tables import ExperimentRow, RunRow

TIMING = ("compute_ms", "flow_steps_per_second")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values.

    Attributes:
        columns: Names of the columns.
        rows: Values by column; a missing value is ``None``.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]


def tabulate_trials(experiment: ExperimentRow, trials: Sequence[RunRow]) -> Table:
    """Return a table with a row a trial: its parameters and metrics.

    Args:
        experiment: The experiment.
        trials: Runs of its trials.
    """
    fields: list[str] = experiment.request["fields"]
    flat = [_metrics(trial) for trial in trials]
    rows = [
        {
            "trial": trial_number(trial),
            "state": trial.state,
            "seed": trial.seed,
            "run_id": trial.run_id,
            **{field: trial.request["parameters"].get(field) for field in fields},
            **metrics,
            "error": None if trial.error is None else trial.error["detail"],
        }
        for trial, metrics in zip(trials, flat, strict=True)
    ]
    names = ("trial", "state", "seed", "run_id", *fields, *_names(flat), "error")
    return _table(names, rows)


def tabulate_points(experiment: ExperimentRow, trials: Sequence[RunRow]) -> Table:
    """Return a table with a row a point: mean and standard deviation over its succeeded trials.

    The standard deviation is that of a sample (n - 1).

    Args:
        experiment: The experiment.
        trials: Runs of its trials.
    """
    fields: list[str] = experiment.request["fields"]
    points: dict[int, list[RunRow]] = {}
    seeds = len(experiment.request["seeds"])
    for trial in trials:
        points.setdefault(trial_number(trial) // seeds, []).append(trial)
    flat: list[dict[str, float | None]] = []
    rows: list[dict[str, Any]] = []
    for point in points.values():
        succeeded = [_metrics(trial) for trial in point if trial.state == RunState.SUCCEEDED]
        summary = _statistics(succeeded)
        flat.append(summary)
        parameters = point[0].request["parameters"]
        rows.append(
            {
                **{field: parameters.get(field) for field in fields},
                "seeds": len(succeeded),
                **summary,
            }
        )
    return _table((*fields, "seeds", *_names(flat)), rows)


def to_csv(table: Table) -> bytes:
    """Return the table as CSV with a header.

    A missing value is empty; values other than numbers and texts are JSON.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_cell(row[name]) for name in table.columns])
    return text.getvalue().encode()


def to_parquet(table: Table) -> bytes:
    """Return the table as one Parquet file; a column of mixed types holds JSON texts."""
    columns = [_column([row[name] for row in table.rows]) for name in table.columns]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(table.columns)), sink, compression="zstd")
    return sink.getvalue()


def _metrics(trial: RunRow) -> dict[str, Any]:
    """Return the metrics and the times of a trial by dotted name."""
    metrics = dict(_flatten("", trial.metrics or {}))
    if trial.timing is not None:
        metrics |= {name: trial.timing[name] for name in TIMING}
    return metrics


def _flatten(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            yield from _flatten(f"{prefix}{name}.", entry)
        else:
            # The overflow is a list of names.
            yield prefix + name, ",".join(entry) if isinstance(entry, list) else entry


def _statistics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    summary: dict[str, float | None] = {}
    for name in _names(rows):
        values = [row[name] for row in rows if row.get(name) is not None]
        if any(isinstance(value, str) for value in values):
            continue
        summary[f"{name}.mean"] = math.fsum(values) / len(values) if values else None
        summary[f"{name}.std"] = statistics.stdev(values) if len(values) > 1 else None
    return summary


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of all rows, each once, in order."""
    return tuple(dict.fromkeys(name for row in rows for name in row))


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> Table:
    return Table(columns, [{name: row.get(name) for name in columns} for row in rows])


def _cell(value: Any) -> Any:
    return _text(value) if isinstance(value, bool | list | Mapping) else value


def _column(values: list[Any]) -> pa.Array[Any]:
    column: pa.Array[Any]
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        column = pa.array([None if value is None else _text(value) for value in values])
    return column


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
