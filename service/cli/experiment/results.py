"""``energy-flow experiment results``: parameters and metrics as a table, or as a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.table import Table

from energy_flow.choices import ResultFormat, ResultRows, unknown_name
from service.cli.execute.server_client import open_for_experiments
from service.cli.experiment.view import format_parameter, format_value
from service.cli.input.failures import EXIT_USAGE, CommandFailed, check_choice
from service.cli.input.file_format import choose_format
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, ExperimentName, Url
from service.cli.input.terminal import columns_table, print_json, print_note, print_text

if TYPE_CHECKING:
    from energy_flow.client import ExperimentResults, FlowClient

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
    "held_out.r2",
    "held_out.top_1",
    "held_out.top_10",
    "flow_steps_per_second",
)
"""Metrics that are shown unless others are named; a file has all."""
MAX_METRICS = 7
MAX_FAILURES_SHOWN = 10

MEAN, STD = ".mean", ".std"
# Columns of a trial that are neither parameters nor metrics.
TRIAL_COLUMNS = ("trial", "state", "seed", "run_id")
TEXT_COLUMNS = ("error", "overflow")


def results(
    experiment: ExperimentName,
    of: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"What the rows stand for: {', '.join(ResultRows)}. Points have the mean and the "
            "deviation over their seeds.",
        ),
    ] = ResultRows.TRIALS.value,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Metric to show; repeatable.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Write all metrics as {', '.join(ResultFormat)}; by default as the suffix of "
            "--out.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="File to write all metrics to."),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print parameters and metrics as a table, or write all of them to a file."""
    check_choice("--of", of, ResultRows)
    chosen = choose_format(ResultFormat, format, out, "--out ")
    if out is None and chosen is ResultFormat.PARQUET:
        raise CommandFailed("--format parquet is not text; add --out FILE", EXIT_USAGE)
    with open_for_experiments(url, api_key, experiment) as client:
        if out is not None and chosen is not None:
            _write(client, experiment, of, chosen, out)
            print_note(f"written to {out} as {chosen}")
            return
        if chosen is ResultFormat.CSV:
            sys.stdout.write(_read_csv(client, experiment, of))
            return
        table = client.experiments.results(experiment, of=of)
        if as_json or chosen is ResultFormat.JSON:
            print_json(_document(table))
            return
        fields = client.experiments.get(experiment).fields
    _print(table, fields, metric)


def metrics_of(results: ExperimentResults, fields: Sequence[str]) -> list[str]:
    """Return the names of the metrics of a table, without ``.mean`` and ``.std``.

    Args:
        results: the table.
        fields: the fields that the sweep varies.
    """
    if results.of == ResultRows.POINTS:
        names = [name for name in results.columns if name.endswith(MEAN)]
        return [name.removesuffix(MEAN) for name in names if name not in fields]
    others = {*TRIAL_COLUMNS, *fields, *TEXT_COLUMNS}
    return [name for name in results.columns if name not in others]


def choose_metrics(known: Sequence[str], wanted: Iterable[str] | None) -> list[str]:
    """Return the metrics to show.

    Args:
        known: the metrics that exist.
        wanted: the metrics that ``--metric`` names; the usual ones if none.

    Raises:
        CommandFailed: a metric does not exist.
    """
    if wanted:
        for name in wanted:
            if name not in known:
                raise CommandFailed(
                    f"--metric: there is no {name}; {unknown_name(name, known)}", EXIT_USAGE
                )
        return list(dict.fromkeys(wanted))
    usual = [name for name in USUAL_METRICS if name in known]
    # A training has metrics of its own.
    return usual or list(known)[:MAX_METRICS]


def format_spread(mean: Any, std: Any) -> str:
    """Return a mean with its standard deviation, if it has one."""
    if mean is None:
        return "–"
    if std is None:
        return format_value(mean)
    # Two digits are enough for a deviation; large ones need no exponent.
    return f"{format_value(mean)} ± {format_value(std) if std >= 100 else f'{std:.2g}'}"


def _document(results: ExperimentResults) -> dict[str, Any]:
    return {
        "experiment_id": results.experiment_id,
        "name": results.name,
        "state": results.state,
        "of": results.of,
        "columns": results.columns,
        "rows": results.rows,
    }


def _write(client: FlowClient, experiment: str, of: str, format: ResultFormat, out: Path) -> None:
    from energy_flow.client.connection import write_atomically

    try:
        if format is ResultFormat.JSON:
            document = _document(client.experiments.results(experiment, of=of))
            with write_atomically(out) as file:
                file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        else:
            client.experiments.download_results(experiment, out, format=format.value, of=of)
    except OSError as error:
        raise CommandFailed(f"{out} cannot be written: {error.strerror or error}") from None


def _read_csv(client: FlowClient, experiment: str, of: str) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results.csv"
        client.experiments.download_results(experiment, path, format=ResultFormat.CSV.value, of=of)
        return path.read_text(encoding="utf-8")


def _print(table: ExperimentResults, fields: Sequence[str], metric: list[str] | None) -> None:
    known = metrics_of(table, fields)
    metrics = choose_metrics(known, metric)
    rows = _trial_rows if table.of == ResultRows.TRIALS else _point_rows
    print_text(rows(table, fields, metrics))
    for line in _failures(table):
        print_text(line)
    if len(metrics) < len(known):
        print_note(
            f"{len(metrics)} of {len(known)} metrics are shown; choose others with --metric NAME, "
            "or all of them with --format csv"
        )


def _trial_rows(results: ExperimentResults, fields: Sequence[str], metrics: Sequence[str]) -> Table:
    table = columns_table(("trial", "state", "seed", *fields, *metrics), left=("state",))
    for row in results.rows:
        cells = [str(row["trial"]), str(row["state"]), str(row["seed"])]
        cells += [format_parameter(row.get(name)) for name in fields]
        cells += [format_value(row.get(name)) for name in metrics]
        table.add_row(*cells)
    return table


def _point_rows(results: ExperimentResults, fields: Sequence[str], metrics: Sequence[str]) -> Table:
    table = columns_table((*fields, "seeds", *metrics), left=())
    for row in results.rows:
        cells = [format_parameter(row.get(name)) for name in fields]
        cells.append(str(row["seeds"]))
        cells += [format_spread(row.get(name + MEAN), row.get(name + STD)) for name in metrics]
        table.add_row(*cells)
    return table


def _failures(results: ExperimentResults) -> list[str]:
    """Return a line for each of the first trials that failed."""
    failed = [row for row in results.rows if row.get("error")]
    lines = [f"trial {row['trial']} failed: {row['error']}" for row in failed[:MAX_FAILURES_SHOWN]]
    more = len(failed) - len(lines)
    return [*lines, f"{more} more failed"] if more else lines
