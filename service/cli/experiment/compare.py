"""``energy-flow experiment compare``: the points of one or two experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from energy_flow.choices import ResultRows
from service.cli.execute.server_client import open_for_experiments
from service.cli.experiment.points import (
    Objective,
    Point,
    choose_objectives,
    describe_extremes,
    format_metric,
    point_document,
    points_document,
    points_of,
    points_table,
)
from service.cli.experiment.results import metrics_of
from service.cli.experiment.view import describe_trials, format_parameter, format_value
from service.cli.input.failures import CommandFailed
from service.cli.input.options import DEFAULT_URL, ApiKey, AsJson, ExperimentName, Url
from service.cli.input.terminal import columns_table, print_json, print_note, print_text

if TYPE_CHECKING:
    from energy_flow.client import Experiment


def compare(
    experiment: ExperimentName,
    other: Annotated[
        str | None,
        typer.Argument(metavar="OTHER", help="Another experiment to compare the first with."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Metric to compare; NAME:max or NAME:min chooses the better values; repeatable.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compare the points of a sweep by mean and deviation over seeds, and name the best.

    With OTHER, compare the points that have equal parameters in both experiments.
    """
    for text in metric or ():
        Objective.parse(text)
    names = [experiment] if other is None else [experiment, other]
    with open_for_experiments(url, api_key, *names) as client:
        experiments = [client.experiments.get(name) for name in names]
        tables = [client.experiments.results(name, of=ResultRows.POINTS.value) for name in names]
    known, points = [], []
    for one, table in zip(experiments, tables, strict=True):
        known.append(metrics_of(table, one.fields))
        points.append(points_of(table, one.fields))
        if not any(point.metrics for point in points[-1]):
            raise CommandFailed(
                f"no trial of {one.name} has succeeded yet; it is {one.state}, "
                f"trials: {describe_trials(one.trials)}"
            )
    objectives = choose_objectives(list(dict.fromkeys(chain.from_iterable(known))), metric)
    if other is None:
        _print_points(experiments[0], points[0], objectives, as_json)
    else:
        pairs = pairs_of(points[0], points[1])
        _print_pairs((experiments[0], experiments[1]), pairs, objectives, as_json)
    if not as_json:
        for one in experiments:
            if not one.ended:
                print_note(f"{one.name} is {one.state}; trials: {describe_trials(one.trials)}")


@dataclass(frozen=True, slots=True)
class Pair:
    """A point of two experiments.

    Attributes:
        parameters: values of the swept fields by name.
        first: the point in the first experiment, if that has it.
        second: the point in the second experiment, if that has it.
    """

    parameters: Mapping[str, Any]
    first: Point | None
    second: Point | None

    def difference(self, metric: str) -> float | None:
        """Return the mean of the second minus that of the first, where both have one."""
        if self.first is None or self.second is None:
            return None
        one, other = self.first.metrics.get(metric), self.second.metrics.get(metric)
        return None if one is None or other is None else other.mean - one.mean


def pairs_of(first: Sequence[Point], second: Sequence[Point]) -> list[Pair]:
    """Return pairs of points with equal parameters; those of the second alone come last."""
    others = {_key(point): point for point in second}
    pairs = [Pair(point.parameters, point, others.pop(_key(point), None)) for point in first]
    return pairs + [Pair(point.parameters, None, point) for point in others.values()]


def _key(point: Point) -> Any:
    return _hashable(point.parameters)


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(entry)) for name, entry in value.items())
    if isinstance(value, list | tuple):
        return tuple(_hashable(entry) for entry in value)
    return value


def _setting_differences(first: Experiment, second: Experiment) -> list[str]:
    """Return in what two experiments differ besides their sweeps."""
    return [
        f"{name}: {one} and {other}"
        for name, one, other in (
            ("kind", first.kind, second.kind),
            ("model", _source(first, "model"), _source(second, "model")),
            ("dataset", _source(first, "dataset"), _source(second, "dataset")),
            ("rows", list(first.dataset.rows), list(second.dataset.rows)),
            ("seeds", list(first.seeds), list(second.seeds)),
            ("options", first.data.get("options"), second.data.get("options")),
            ("arithmetic", first.arithmetic, second.arithmetic),
        )
        if one != other
    ]


def _source(experiment: Experiment, name: str) -> str:
    source = experiment.data[name]
    return f"{source['name']} ({source['digest'][:12]})"


def _print_points(
    experiment: Experiment, points: Sequence[Point], objectives: Sequence[Objective], as_json: bool
) -> None:
    if as_json:
        print_json(points_document(experiment, points, objectives))
        return
    print_text(points_table(points, experiment.fields, objectives))
    print_text()
    for objective in objectives:
        line = describe_extremes(points, objective)
        if line is not None:
            print_text(line)


def _print_pairs(
    experiments: tuple[Experiment, Experiment],
    pairs: Sequence[Pair],
    objectives: Sequence[Objective],
    as_json: bool,
) -> None:
    differences = _setting_differences(*experiments)
    if as_json:
        print_json(_pairs_document(experiments, differences, pairs, objectives))
        return
    print_text(_pairs_table(experiments, pairs, objectives))
    for line in differences:
        print_text(f"the experiments differ in {line}")


def _pairs_document(
    experiments: tuple[Experiment, Experiment],
    differences: list[str],
    pairs: Sequence[Pair],
    objectives: Sequence[Objective],
) -> dict[str, Any]:
    first, second = experiments
    metrics = [objective.metric for objective in objectives]
    return {
        "a": {"experiment": first.name, "state": first.state},
        "b": {"experiment": second.name, "state": second.state},
        "settings": differences,
        "points": [
            {
                "parameters": pair.parameters,
                "a": None if pair.first is None else point_document(pair.first, objectives),
                "b": None if pair.second is None else point_document(pair.second, objectives),
                "difference": {metric: pair.difference(metric) for metric in metrics},
            }
            for pair in pairs
        ],
    }


def _pairs_table(
    experiments: tuple[Experiment, Experiment],
    pairs: Sequence[Pair],
    objectives: Sequence[Objective],
) -> Table:
    """Return a table with a row for each metric and pair: first, second, second minus first."""
    first, second = experiments
    fields = list(dict.fromkeys((*first.fields, *second.fields)))
    columns = ("metric", *fields, first.name, second.name, "difference")
    table = columns_table(columns, left=("metric",))
    for objective in objectives:
        metric = objective.metric
        for index, pair in enumerate(pairs):
            table.add_row(
                metric if index == 0 else "",
                *(
                    format_parameter(pair.parameters[name]) if name in pair.parameters else ""
                    for name in fields
                ),
                format_metric(pair.first, metric),
                format_metric(pair.second, metric),
                _format_difference(pair.difference(metric)),
            )
    return table


def _format_difference(difference: float | None) -> str:
    if difference is None:
        return "–"
    return f"{'+' if difference > 0 else ''}{format_value(difference)}"
