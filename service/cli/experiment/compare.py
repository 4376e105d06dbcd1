"""Points of two experiments side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from energy_flow.client import Experiment
from service.cli.experiment.points import Aim, Point, cell, point_document
from service.cli.experiment.view import format_parameter, format_value


@dataclass(frozen=True, slots=True)
class Pair:
    """A point that one or both of two experiments have."""

    parameters: Mapping[str, Any]
    first: Point | None
    second: Point | None

    def difference(self, metric: str) -> float | None:
        """The second's mean minus the first's."""
        if self.first is None or self.second is None:
            return None
        one, other = self.first.metrics.get(metric), self.second.metrics.get(metric)
        return None if one is None or other is None else other.mean - one.mean


def pairs_of(first: Sequence[Point], second: Sequence[Point]) -> list[Pair]:
    """Points with equal parameters side by side; then those that only the second has."""
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


def setting_differences(first: Experiment, second: Experiment) -> list[str]:
    """In what else than their sweeps two experiments differ."""
    told = []
    for name, one, other in (
        ("kind", first.kind, second.kind),
        ("model", _named(first, "model"), _named(second, "model")),
        ("dataset", _named(first, "dataset"), _named(second, "dataset")),
        ("rows", list(first.dataset.rows), list(second.dataset.rows)),
        ("seeds", list(first.seeds), list(second.seeds)),
        ("options", first.data.get("options"), second.data.get("options")),
    ):
        if one != other:
            told.append(f"{name}: {one} and {other}")
    return told


def _named(experiment: Experiment, what: str) -> str:
    told = experiment.data[what]
    return f"{told['name']} ({told['digest'][:12]})"


def pairs_document(
    experiments: tuple[Experiment, Experiment], pairs: Sequence[Pair], aims: Sequence[Aim]
) -> dict[str, Any]:
    """Two experiments as plain JSON data."""
    first, second = experiments
    return {
        "a": {"experiment": first.name, "state": first.state},
        "b": {"experiment": second.name, "state": second.state},
        "settings": setting_differences(first, second),
        "points": [
            {
                "parameters": pair.parameters,
                "a": None if pair.first is None else point_document(pair.first, aims),
                "b": None if pair.second is None else point_document(pair.second, aims),
                "difference": {aim.metric: pair.difference(aim.metric) for aim in aims},
            }
            for pair in pairs
        ],
    }


def pairs_table(
    names: tuple[str, str], pairs: Sequence[Pair], fields: Sequence[str], aims: Sequence[Aim]
) -> Table:
    """For each metric, a row a point: the one, the other, and the other minus the one."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("metric", *fields, *names, "difference"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for aim in aims:
        for place, pair in enumerate(pairs):
            difference = pair.difference(aim.metric)
            table.add_row(
                aim.metric if place == 0 else "",
                *(
                    format_parameter(pair.parameters[name]) if name in pair.parameters else ""
                    for name in fields
                ),
                cell(pair.first, aim.metric),
                cell(pair.second, aim.metric),
                "–"
                if difference is None
                else f"{'+' if difference > 0 else ''}{format_value(difference)}",
            )
    return table
