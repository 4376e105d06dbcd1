"""Results of an experiment as a table for people, or as a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from energy_flow.client import ExperimentResults, FlowClient
from energy_flow.client.connection import replacing
from service.cli.experiment.view import format_parameter, format_value
from service.cli.input.failures import EXIT_USAGE, CommandFailed

FORMATS = ("csv", "parquet", "json")
KINDS_OF_ROW = ("trials", "points")

USUAL_METRICS = (
    "created",
    "spawned",
    "reflected",
    "completion_ratio",
    "mean_path_steps",
    "mean_path_length",
    "step",
    "loss",
    "held_out.cosine",
    "held_out.top_1",
    "held_out.top_10",
    "flow_steps_per_second",
)
"""What people are shown unless they name others; a file has everything."""
MOST_METRICS = 7
MOST_FAILURES_SHOWN = 10

MEAN, STD = ".mean", ".std"
# Of a trial, what comes before its parameters and what is not a number to compare.
TRIAL_COLUMNS = ("trial", "state", "seed", "run_id")
WORDS = ("error", "overflow")


def format_of(out: Path | None, format: str | None) -> str | None:
    """The format of a file, by name or by the file's suffix; none if people are to read it.

    Raises:
        CommandFailed: there is none of that name, or it can only be a file.
    """
    known = ", ".join(FORMATS)
    if format is not None and format not in FORMATS:
        raise CommandFailed(f"--format takes {known}, not {format}", EXIT_USAGE)
    if out is None:
        if format == "parquet":
            raise CommandFailed("--format parquet is not text; name a file: -o FILE", EXIT_USAGE)
        return format
    chosen = format or out.suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        raise CommandFailed(
            f"-o {out}: the suffix tells no format; say --format {known}", EXIT_USAGE
        )
    return chosen


def document(results: ExperimentResults) -> dict[str, Any]:
    """The results as plain JSON data."""
    return {
        "experiment_id": results.experiment_id,
        "name": results.name,
        "state": results.state,
        "of": results.of,
        "columns": results.columns,
        "rows": results.rows,
    }


def write(client: FlowClient, experiment: str, of: str, format: str, out: Path) -> None:
    """Writes the results to a file, which appears when it is complete.

    Raises:
        CommandFailed: the file cannot be written.
    """
    try:
        if format == "json":
            told = document(client.experiments.results(experiment, of=of))
            with replacing(out) as file:
                file.write(orjson.dumps(told, option=orjson.OPT_INDENT_2))
        else:
            client.experiments.download_results(experiment, out, format=format, of=of)
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error.strerror or error}") from None


def metrics_of(results: ExperimentResults, fields: Sequence[str]) -> list[str]:
    """Names of the metrics that a table has, without ``.mean`` and ``.std``.

    Args:
        fields: that the sweep varies.
    """
    if results.of == "points":
        names = [name for name in results.columns if name.endswith(MEAN)]
        return [name.removesuffix(MEAN) for name in names if name not in fields]
    known = {*TRIAL_COLUMNS, *fields, *WORDS}
    return [name for name in results.columns if name not in known]


def chosen_metrics(known: Sequence[str], wanted: Iterable[str] | None) -> list[str]:
    """The metrics to show: those that are wanted, else the usual ones.

    Raises:
        CommandFailed: one of them is not among those that there are.
    """
    if wanted:
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise CommandFailed(
                f"--metric: there is no {', '.join(unknown)}; there are {', '.join(known)}",
                EXIT_USAGE,
            )
        return list(dict.fromkeys(wanted))
    usual = [name for name in USUAL_METRICS if name in known]
    # A training has metrics of its own.
    return usual or list(known)[:MOST_METRICS]


def trial_rows(results: ExperimentResults, fields: Sequence[str], metrics: Sequence[str]) -> Table:
    """A row a trial."""
    table = _table(("trial", "state", "seed", *fields, *metrics))
    for row in results.rows:
        cells = [str(row["trial"]), str(row["state"]), str(row["seed"])]
        cells += [format_parameter(row.get(name)) for name in fields]
        cells += [format_value(row.get(name)) for name in metrics]
        table.add_row(*cells)
    return table


def failures(results: ExperimentResults) -> list[str]:
    """Why trials failed, a line for each of the first of them."""
    failed = [row for row in results.rows if row.get("error")]
    told = [f"trial {row['trial']} failed: {row['error']}" for row in failed[:MOST_FAILURES_SHOWN]]
    more = len(failed) - len(told)
    return [*told, f"and {more} more failed"] if more else told


def point_rows(results: ExperimentResults, fields: Sequence[str], metrics: Sequence[str]) -> Table:
    """A row a point, with mean and standard deviation over its seeds."""
    table = _table((*fields, "seeds", *metrics))
    for row in results.rows:
        cells = [format_parameter(row.get(name)) for name in fields]
        cells.append(str(row["seeds"]))
        cells += [spread(row.get(name + MEAN), row.get(name + STD)) for name in metrics]
        table.add_row(*cells)
    return table


def spread(mean: Any, std: Any) -> str:
    """A mean with its standard deviation, where there is one."""
    if mean is None:
        return "–"
    return format_value(mean) if std is None else f"{format_value(mean)} ± {std:.2g}"


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == "state" else "right")
    return table
