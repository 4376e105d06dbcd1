"""``energy-flow experiment results`` and ``compare``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from energy_flow.client import Experiment
from service.cli.execute.remote_run import open_client
from service.cli.experiment import results as experiment_results
from service.cli.experiment.compare import (
    Pair,
    pairs_document,
    pairs_of,
    pairs_table,
    setting_differences,
)
from service.cli.experiment.points import (
    Aim,
    Point,
    aims_of,
    describe_extremes,
    points_document,
    points_of,
    points_table,
)
from service.cli.experiment.results import metrics_of
from service.cli.experiment.view import describe_trials
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, ExperimentName, Url
from service.cli.input.terminal import print_json, print_note, print_text


def results(
    experiment: ExperimentName,
    of: Annotated[
        str, typer.Option(help="A row for each of: trials, points (mean and deviation over seeds).")
    ] = "trials",
    metric: Annotated[list[str] | None, typer.Option(help="Show this one; repeatable.")] = None,
    format: Annotated[
        str | None,
        typer.Option(help=f"Everything as {', '.join(experiment_results.FORMATS)}."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it to a file.")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print parameters and metrics as a table, or write all of them to a file."""
    if of not in experiment_results.KINDS_OF_ROW:
        kinds = ", ".join(experiment_results.KINDS_OF_ROW)
        raise CommandFailed(f"--of takes {kinds}, not {of}", EXIT_USAGE)
    chosen = experiment_results.format_of(out, format)
    with open_client(url, api_key) as client:
        if out is not None and chosen is not None:
            experiment_results.write(client, experiment, of, chosen, out)
            print_note(f"written to {out} as {chosen}")
            return
        if chosen == "csv":
            with TemporaryDirectory() as folder:
                path = Path(folder) / "results.csv"
                client.experiments.download_results(experiment, path, format="csv", of=of)
                sys.stdout.write(path.read_text(encoding="utf-8"))
            return
        table = client.experiments.results(experiment, of=of)
        if as_json or chosen == "json":
            print_json(experiment_results.document(table))
            return
        fields = client.experiments.get(experiment).fields
    known = metrics_of(table, fields)
    metrics = experiment_results.chosen_metrics(known, metric)
    rows = experiment_results.trial_rows if of == "trials" else experiment_results.point_rows
    print_text(rows(table, fields, metrics))
    for line in experiment_results.failures(table):
        print_text(line)
    if len(metrics) < len(known):
        print_note(
            f"{len(metrics)} of {len(known)} metrics; others with --metric NAME, all of "
            "them with --format csv"
        )


def compare(
    experiment: ExperimentName,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="A second one, to set beside the first.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare this metric; NAME:max or NAME:min says what is better; repeatable."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Set the points of a sweep side by side: mean ± deviation over seeds, and which is best.

    With OTHER: points of equal parameters in two experiments, metric by metric.
    """
    for text in metric or ():
        Aim.parse(text)
    names = [experiment] if other is None else [experiment, other]
    with open_client(url, api_key) as client:
        told = [client.experiments.get(name) for name in names]
        tables = [client.experiments.results(name, of="points") for name in names]
    points = [points_of(table, one.fields) for table, one in zip(tables, told, strict=True)]
    for one, its in zip(told, points, strict=True):
        if not any(point.metrics for point in its):
            raise CommandFailed(f"no trial of {one.name} has succeeded yet")
    known = [metrics_of(table, one.fields) for table, one in zip(tables, told, strict=True)]
    aims = aims_of(list(dict.fromkeys(chain.from_iterable(known))), metric)
    if other is None:
        _print_points(told[0], points[0], aims, as_json)
    else:
        _print_pairs((told[0], told[1]), pairs_of(points[0], points[1]), aims, as_json)


def _print_points(
    experiment: Experiment, points: Sequence[Point], aims: Sequence[Aim], as_json: bool
) -> None:
    if as_json:
        print_json(points_document(experiment, points, aims))
        return
    print_text(points_table(points, experiment.fields, aims))
    print_text()
    for aim in aims:
        line = describe_extremes(points, aim)
        if line is not None:
            print_text(line)
    if not experiment.ended:
        print_note(
            f"{experiment.name} is {experiment.state}; trials: {describe_trials(experiment.trials)}"
        )


def _print_pairs(
    experiments: tuple[Experiment, Experiment],
    pairs: Sequence[Pair],
    aims: Sequence[Aim],
    as_json: bool,
) -> None:
    if as_json:
        print_json(pairs_document(experiments, pairs, aims))
        return
    first, second = experiments
    fields = list(dict.fromkeys((*first.fields, *second.fields)))
    print_text(pairs_table((first.name, second.name), pairs, fields, aims))
    for line in setting_differences(first, second):
        print_text(f"they differ in {line}")
    for one in experiments:
        if not one.ended:
            print_note(f"{one.name} is {one.state}; trials: {describe_trials(one.trials)}")
