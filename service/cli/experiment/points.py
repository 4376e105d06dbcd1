"""The points of a sweep, and in which of them a metric is best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.cli.experiment.results import (
    MEAN,
    STD,
    choose_metrics,
    format_spread,
    metrics_of,
)
from service.cli.experiment.view import format_parameter, format_value
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.terminal import columns_table

if TYPE_CHECKING:
    from rich.table import Table

    from energy_flow.client import Experiment, ExperimentResults

HIGHER_IS_BETTER = frozenset(
    {
        "completion_ratio",
        "flow_steps_per_second",
        "held_out.cosine",
        "held_out.r2",
        "held_out.top_1",
        "held_out.top_10",
    }
)
LOWER_IS_BETTER = frozenset({"stalled", "compute_ms", "mean_step_ms", "max_step_ms"})

EXTREMES = {"max": "highest", "min": "lowest"}


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric, and whether higher or lower values of it are better.

    Attributes:
        metric: name of the metric.
        best: ``highest``, ``lowest``, or ``None`` if neither is better.
    """

    metric: str
    best: str | None

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective of ``NAME``, ``NAME:max`` or ``NAME:min``.

        Raises:
            CommandFailed: the text has another form.
        """
        name, colon, end = text.partition(":")
        if colon:
            if end not in EXTREMES:
                raise CommandFailed(
                    f"--metric must be NAME, NAME:max or NAME:min, not {text!r}", EXIT_USAGE
                )
            return cls(name, EXTREMES[end])
        return cls.usual(name)

    @classmethod
    def usual(cls, name: str) -> Objective:
        """Return the objective of a metric that is given by its name alone."""
        if name in HIGHER_IS_BETTER:
            return cls(name, "highest")
        if name in LOWER_IS_BETTER or "loss" in name:
            return cls(name, "lowest")
        return cls(name, None)


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the seeds of a point.

    Attributes:
        mean: the mean.
        std: the standard deviation; ``None`` for one seed.
    """

    mean: float
    std: float | None

    def is_near(self, other: Spread) -> bool:
        """Return whether the means differ by at most the larger standard deviation."""
        widest = max(self.std or 0.0, other.std or 0.0)
        return abs(self.mean - other.mean) <= widest


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a sweep.

    Attributes:
        parameters: values of the swept fields by name.
        seeds: number of its trials that succeeded.
        metrics: metrics that have a value, by name.
    """

    parameters: Mapping[str, Any]
    seeds: int
    metrics: Mapping[str, Spread]

    def describe(self) -> str:
        """Return the parameters in one line."""
        named = (f"{name}={format_parameter(value)}" for name, value in self.parameters.items())
        return ", ".join(named) or "the only point"


@dataclass(frozen=True, slots=True)
class Extremes:
    """The points, by index, where a metric is highest, lowest and best.

    Attributes:
        highest: the point with the highest mean.
        lowest: the point with the lowest mean.
        best: one of the two; ``None`` if neither is better, or both means are equal.
        near_best: points whose mean is within one standard deviation of the best mean.
    """

    highest: int
    lowest: int
    best: int | None
    near_best: tuple[int, ...]


def points_of(results: ExperimentResults, fields: Sequence[str]) -> list[Point]:
    """Return the points of a table of results.

    Args:
        results: with a row for each point.
        fields: the fields that the sweep varies.
    """
    metrics = metrics_of(results, fields)
    return [
        Point(
            {name: row.get(name) for name in fields},
            row["seeds"],
            {
                name: Spread(row[name + MEAN], row.get(name + STD))
                for name in metrics
                if row.get(name + MEAN) is not None
            },
        )
        for row in results.rows
    ]


def choose_objectives(known: Sequence[str], wanted: Iterable[str] | None) -> list[Objective]:
    """Return the metrics to compare.

    Args:
        known: the metrics that exist.
        wanted: values of ``--metric``; the usual metrics if none.

    Raises:
        CommandFailed: a metric does not exist, or a value has another form.
    """
    named = {objective.metric: objective for objective in map(Objective.parse, wanted or ())}
    names = choose_metrics(known, named)
    return [named.get(name) or Objective.usual(name) for name in names]


def find_extremes(points: Sequence[Point], objective: Objective) -> Extremes | None:
    """Return where a metric is highest, lowest and best; ``None`` if no point has it."""
    measured = {
        index: point.metrics[objective.metric]
        for index, point in enumerate(points)
        if objective.metric in point.metrics
    }
    if not measured:
        return None
    highest = max(measured, key=lambda index: measured[index].mean)
    lowest = min(measured, key=lambda index: measured[index].mean)
    differ = measured[highest].mean != measured[lowest].mean
    best = {"highest": highest, "lowest": lowest}.get(objective.best or "") if differ else None
    near = () if best is None else _near(measured, best)
    return Extremes(highest, lowest, best, near)


def _near(measured: Mapping[int, Spread], best: int) -> tuple[int, ...]:
    return tuple(
        index
        for index, value in measured.items()
        if index != best and measured[best].is_near(value)
    )


def points_document(
    experiment: Experiment, points: Sequence[Point], objectives: Sequence[Objective]
) -> dict[str, Any]:
    """Return the points of an experiment as plain JSON data."""
    extremes = {}
    for objective in objectives:
        found = find_extremes(points, objective)
        if found is not None:
            extremes[objective.metric] = {
                "highest": found.highest,
                "lowest": found.lowest,
                "best": found.best,
                "near_best": list(found.near_best),
            }
    return {
        "experiment": experiment.name,
        "state": experiment.state,
        "points": [point_document(point, objectives) for point in points],
        "extremes": extremes,
    }


def points_table(
    points: Sequence[Point], fields: Sequence[str], objectives: Sequence[Objective]
) -> Table:
    """Return a table with a row for each point; the best value of a metric has a star."""
    metrics = [objective.metric for objective in objectives]
    table = columns_table((*fields, "seeds", *metrics), left=())
    best = {}
    for objective in objectives:
        found = find_extremes(points, objective)
        best[objective.metric] = found.best if found else None
    for index, point in enumerate(points):
        cells = [format_parameter(point.parameters[name]) for name in fields]
        cells.append(str(point.seeds))
        cells += [
            format_metric(point, metric) + (" *" if best[metric] == index else "")
            for metric in metrics
        ]
        table.add_row(*cells)
    return table


def describe_extremes(points: Sequence[Point], objective: Objective) -> str | None:
    """Return a line with the best point of a metric, or with its highest and lowest."""
    metric = objective.metric
    found = find_extremes(points, objective)
    if found is None:
        return None
    if found.best is None:
        highest, lowest = (points[index].metrics[metric] for index in (found.highest, found.lowest))
        if highest.mean == lowest.mean:
            return f"{metric}: {format_value(highest.mean)} at all points"
        return (
            f"{metric}: highest {_describe(points, found.highest, metric)}, "
            f"lowest {_describe(points, found.lowest, metric)}"
        )
    text = f"{metric}: best ({objective.best}) {_describe(points, found.best, metric)}"
    if points[found.best].metrics[metric].std is None:
        return f"{text}; one seed, so the spread is not known"
    if found.near_best:
        others = "1 other" if len(found.near_best) == 1 else f"{len(found.near_best)} others"
        return f"{text}; within one standard deviation of {others}"
    return text


def _describe(points: Sequence[Point], index: int, metric: str) -> str:
    return f"{format_metric(points[index], metric)} at {points[index].describe()}"


def format_metric(point: Point | None, metric: str) -> str:
    """Return a metric of a point with its spread."""
    value = None if point is None else point.metrics.get(metric)
    return "–" if value is None else format_spread(value.mean, value.std)


def point_document(point: Point, objectives: Sequence[Objective]) -> dict[str, Any]:
    """Return a point as plain JSON data."""
    return {
        "parameters": point.parameters,
        "seeds": point.seeds,
        "metrics": {
            objective.metric: {"mean": value.mean, "std": value.std}
            for objective in objectives
            if (value := point.metrics.get(objective.metric)) is not None
        },
    }
