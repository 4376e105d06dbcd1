"""The best point of a sweep, and the points that two experiments share."""

from __future__ import annotations

from typing import Any

import pytest

from energy_flow.client import ExperimentResults
from service.cli.experiment.compare import pairs_of
from service.cli.experiment.points import (
    Objective,
    Point,
    choose_objectives,
    describe_extremes,
    points_of,
)
from service.cli.input.failures import CommandFailed

FIELDS = ("noise_std",)


def results(*rows: tuple[Any, ...]) -> ExperimentResults:
    columns = ("noise_std", "seeds", "loss.mean", "loss.std", "spawned.mean", "spawned.std")
    return ExperimentResults(
        "id", "noise", "succeeded", "points", columns,
        tuple(dict(zip(columns, row, strict=True)) for row in rows),
    )  # fmt: skip


def points(*rows: tuple[Any, ...]) -> list[Point]:
    return points_of(results(*rows), FIELDS)


def test_the_best_point_is_named_with_those_that_are_as_good() -> None:
    swept = points(
        (0.1, 3, 0.50, 0.02, 10.0, 1.0),
        (0.2, 3, 0.40, 0.02, 30.0, 1.0),
        (0.4, 3, 0.41, 0.01, 20.0, 1.0),
        (0.8, 0, None, None, None, None),
    )
    line = describe_extremes(swept, Objective.parse("loss"))
    assert line == (
        "loss: best (lowest) 0.4 ± 0.02 at noise_std=0.2; within one standard deviation of 1 other"
    )
    highest = describe_extremes(swept, Objective.parse("loss:max"))
    assert highest == "loss: best (highest) 0.5 ± 0.02 at noise_std=0.1"


def test_of_a_metric_that_is_not_better_either_way_both_ends_are_named() -> None:
    swept = points((0.1, 2, 0.5, 0.0, 10.0, 1.0), (0.2, 2, 0.4, 0.0, 30.0, 2.0))
    line = describe_extremes(swept, Objective.parse("spawned"))
    assert line == "spawned: highest 30 ± 2 at noise_std=0.2, lowest 10 ± 1 at noise_std=0.1"


def test_a_metric_that_is_equal_at_all_points_has_no_best() -> None:
    swept = points((0.1, 2, 0.5, 0.1, 10.0, 1.0), (0.2, 2, 0.5, 0.2, 30.0, 2.0))
    assert describe_extremes(swept, Objective.parse("loss")) == "loss: 0.5 at all points"


def test_one_seed_has_no_spread() -> None:
    swept = points((0.1, 1, 0.5, None, 10.0, None), (0.2, 1, 0.4, None, 30.0, None))
    line = describe_extremes(swept, Objective.parse("loss"))
    assert line is not None
    assert line.endswith("one seed, so the spread is not known")


def test_a_metric_that_no_point_has_is_not_described() -> None:
    assert (
        describe_extremes(points((0.1, 0, None, None, None, None)), Objective.parse("loss")) is None
    )


def test_metrics_that_are_not_there_are_refused() -> None:
    with pytest.raises(CommandFailed, match=r"no nonsense; known are loss, spawned"):
        choose_objectives(["loss", "spawned"], ["nonsense:max"])
    with pytest.raises(CommandFailed, match="NAME:max"):
        choose_objectives(["loss"], ["loss:best"])
    assert [
        objective.metric
        for objective in choose_objectives(["loss", "spawned"], ["spawned", "loss"])
    ] == [
        "spawned",
        "loss",
    ]


def test_points_of_equal_parameters_stand_side_by_side() -> None:
    one = points((0.1, 1, 0.5, None, 1.0, None), (1, 1, 0.4, None, 1.0, None))
    other = points((1.0, 1, 0.1, None, 1.0, None), (2.0, 1, 0.3, None, 1.0, None))
    pairs = pairs_of(one, other)
    assert [(pair.parameters["noise_std"], pair.difference("loss")) for pair in pairs] == [
        (0.1, None),
        (1, pytest.approx(-0.3)),
        (2.0, None),
    ]
    assert [pair.first is None for pair in pairs] == [False, False, True]
    assert [pair.second is None for pair in pairs] == [True, False, False]
