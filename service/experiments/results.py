"""What an experiment gave, as a table: a row a trial, or a row a point of its sweep."""

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

from service.experiments.live_experiment import number_of
from service.states import State
from service.store.tables import ExperimentRow, RunRow

TIMING = ("compute_ms", "flow_steps_per_second")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values by column; a value that is missing is ``None``."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]


def table_of_trials(experiment: ExperimentRow, trials: Sequence[RunRow]) -> Table:
    """A row a trial: what it was, and its metrics."""
    fields: list[str] = experiment.request["fields"]
    flat = [_metrics(trial) for trial in trials]
    rows = [
        {
            "trial": number_of(trial),
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


def table_of_points(experiment: ExperimentRow, trials: Sequence[RunRow]) -> Table:
    """A row a point: mean and standard deviation (n − 1) of its succeeded trials' metrics."""
    fields: list[str] = experiment.request["fields"]
    points: dict[int, list[RunRow]] = {}
    seeds = len(experiment.request["seeds"])
    for trial in trials:
        points.setdefault(number_of(trial) // seeds, []).append(trial)
    flat: list[dict[str, float | None]] = []
    rows: list[dict[str, Any]] = []
    for point in points.values():
        succeeded = [_metrics(trial) for trial in point if trial.state == State.SUCCEEDED]
        told = _statistics(succeeded)
        flat.append(told)
        parameters = point[0].request["parameters"]
        rows.append(
            {
                **{field: parameters.get(field) for field in fields},
                "seeds": len(succeeded),
                **told,
            }
        )
    return _table((*fields, "seeds", *_names(flat)), rows)


def to_csv(table: Table) -> bytes:
    """The table with a header; a missing value is empty, others than numbers and texts JSON."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_cell(row[name]) for name in table.columns])
    return text.getvalue().encode()


def to_parquet(table: Table) -> bytes:
    """The table as one Parquet file; a column of mixed kinds of value holds JSON texts."""
    columns = [_column([row[name] for row in table.rows]) for name in table.columns]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(table.columns)), sink, compression="zstd")
    return sink.getvalue()


def _metrics(trial: RunRow) -> dict[str, Any]:
    """The metrics and the times of a trial, flat."""
    told = dict(_flattened("", trial.metrics or {}))
    if trial.timing is not None:
        told |= {name: trial.timing[name] for name in TIMING}
    return told


def _flattened(prefix: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            yield from _flattened(f"{prefix}{name}.", entry)
        else:
            # Names of what ran out.
            yield prefix + name, ",".join(entry) if isinstance(entry, list) else entry


def _statistics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    told: dict[str, float | None] = {}
    for name in _names(rows):
        values = [row[name] for row in rows if row.get(name) is not None]
        if any(isinstance(value, str) for value in values):
            continue
        told[f"{name}.mean"] = math.fsum(values) / len(values) if values else None
        told[f"{name}.std"] = statistics.stdev(values) if len(values) > 1 else None
    return told


def _names(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of all rows in the order in which they come up."""
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
