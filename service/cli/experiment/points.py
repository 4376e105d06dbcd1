"""Points of a sweep side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from energy_flow.client import Experiment, ExperimentResults
from service.cli.experiment.results import MEAN, STD, chosen_metrics, metrics_of, spread
from service.cli.experiment.view import format_parameter, format_value
from service.cli.input.failures import EXIT_USAGE, CommandFailed

HIGHER_IS_BETTER = frozenset(
    {
        "completion_ratio",
        "flow_steps_per_second",
        "held_out.cosine",
        "held_out.top_1",
        "held_out.top_10",
    }
)
LOWER_IS_BETTER = frozenset({"stalled", "compute_ms", "mean_step_ms", "max_step_ms"})

EXTREMES = {"max": "highest", "min": "lowest"}


@dataclass(frozen=True, slots=True)
class Aim:
    """A metric, and which end of it is wanted.

    Attributes:
        best: ``highest``, ``lowest``, or ``None`` where neither is better by itself.
    """

    metric: str
    best: str | None

    @classmethod
    def parse(cls, text: str) -> Aim:
        """Reads ``NAME``, ``NAME:max`` or ``NAME:min``.

        Raises:
            CommandFailed: something else follows the colon.
        """
        name, colon, end = text.partition(":")
        if colon:
            if end not in EXTREMES:
                raise CommandFailed(
                    f"--metric takes NAME, NAME:max or NAME:min, not {text!r}", EXIT_USAGE
                )
            return cls(name, EXTREMES[end])
        return cls.usual(name)

    @classmethod
    def usual(cls, name: str) -> Aim:
        """What is wanted of a metric if nobody says otherwise."""
        if name in HIGHER_IS_BETTER:
            return cls(name, "highest")
        if name in LOWER_IS_BETTER or "loss" in name:
            return cls(name, "lowest")
        return cls(name, None)


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the seeds of a point; ``std`` is ``None`` for one seed."""

    mean: float
    std: float | None

    def near(self, other: Spread) -> bool:
        """Whether the means are within one standard deviation, the larger of the two."""
        widest = max(self.std or 0.0, other.std or 0.0)
        return abs(self.mean - other.mean) <= widest


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a sweep.

    Attributes:
        seeds: trials that succeeded.
        metrics: by name; those that have a value.
    """

    parameters: Mapping[str, Any]
    seeds: int
    metrics: Mapping[str, Spread]

    def describe(self) -> str:
        """Its parameters in words."""
        named = (f"{name}={format_parameter(value)}" for name, value in self.parameters.items())
        return ", ".join(named) or "without a sweep"


@dataclass(frozen=True, slots=True)
class Extremes:
    """Where a metric is highest and lowest, as indices of points.

    Attributes:
        best: one of the two, if either is better and they differ.
        near_best: points whose mean is within one standard deviation of the best one's.
    """

    highest: int
    lowest: int
    best: int | None
    near_best: tuple[int, ...]


def points_of(results: ExperimentResults, fields: Sequence[str]) -> list[Point]:
    """The points in a table of results."""
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


def aims_of(known: Sequence[str], wanted: Iterable[str] | None) -> list[Aim]:
    """What to compare.

    Raises:
        CommandFailed: a metric is not among those that there are.
    """
    named = {aim.metric: aim for aim in map(Aim.parse, wanted or ())}
    names = chosen_metrics(known, named)
    return [named.get(name) or Aim.usual(name) for name in names]


def extremes(points: Sequence[Point], aim: Aim) -> Extremes | None:
    """Where a metric is highest and lowest; nowhere if no point has it."""
    measured = {
        index: point.metrics[aim.metric]
        for index, point in enumerate(points)
        if aim.metric in point.metrics
    }
    if not measured:
        return None
    highest = max(measured, key=lambda index: measured[index].mean)
    lowest = min(measured, key=lambda index: measured[index].mean)
    differ = measured[highest].mean != measured[lowest].mean
    best = {"highest": highest, "lowest": lowest}.get(aim.best or "") if differ else None
    near = () if best is None else _near(measured, best)
    return Extremes(highest, lowest, best, near)


def _near(measured: Mapping[int, Spread], best: int) -> tuple[int, ...]:
    return tuple(
        index for index, value in measured.items() if index != best and measured[best].near(value)
    )


def points_document(
    experiment: Experiment, points: Sequence[Point], aims: Sequence[Aim]
) -> dict[str, Any]:
    """The points of one experiment as plain JSON data."""
    told = {}
    for aim in aims:
        found = extremes(points, aim)
        if found is not None:
            told[aim.metric] = {
                "highest": found.highest,
                "lowest": found.lowest,
                "best": found.best,
                "near_best": list(found.near_best),
            }
    return {
        "experiment": experiment.name,
        "state": experiment.state,
        "points": [point_document(point, aims) for point in points],
        "extremes": told,
    }


def points_table(points: Sequence[Point], fields: Sequence[str], aims: Sequence[Aim]) -> Table:
    """A row a point; the best value of a metric has a star."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in (*fields, "seeds", *(aim.metric for aim in aims)):
        table.add_column(column, justify="right")
    best = {}
    for aim in aims:
        found = extremes(points, aim)
        best[aim.metric] = found.best if found else None
    for index, point in enumerate(points):
        cells = [format_parameter(point.parameters[name]) for name in fields]
        cells.append(str(point.seeds))
        for aim in aims:
            star = " *" if best[aim.metric] == index else ""
            cells.append(cell(point, aim.metric) + star)
        table.add_row(*cells)
    return table


def describe_extremes(points: Sequence[Point], aim: Aim) -> str | None:
    """Which point is best in a metric, or where it is highest and lowest."""
    found = extremes(points, aim)
    if found is None:
        return None
    if found.best is None:
        highest, lowest = (
            points[place].metrics[aim.metric] for place in (found.highest, found.lowest)
        )
        if highest.mean == lowest.mean:
            return f"{aim.metric}: {format_value(highest.mean)} everywhere"
        return (
            f"{aim.metric}: highest {_place(points, found.highest, aim.metric)}, "
            f"lowest {_place(points, found.lowest, aim.metric)}"
        )
    text = f"{aim.metric}: best ({aim.best}) {_place(points, found.best, aim.metric)}"
    if points[found.best].metrics[aim.metric].std is None:
        return f"{text}; one seed, so its spread is not known"
    if found.near_best:
        others = "1 other" if len(found.near_best) == 1 else f"{len(found.near_best)} others"
        return f"{text}; within one standard deviation of {others}"
    return text


def _place(points: Sequence[Point], index: int, metric: str) -> str:
    return f"{cell(points[index], metric)} at {points[index].describe()}"


def cell(point: Point | None, metric: str) -> str:
    """A metric of a point in words."""
    value = None if point is None else point.metrics.get(metric)
    return "–" if value is None else spread(value.mean, value.std)


def point_document(point: Point, aims: Sequence[Aim]) -> dict[str, Any]:
    """A point as plain JSON data."""
    return {
        "parameters": point.parameters,
        "seeds": point.seeds,
        "metrics": {
            aim.metric: {"mean": value.mean, "std": value.std}
            for aim in aims
            if (value := point.metrics.get(aim.metric)) is not None
        },
    }
