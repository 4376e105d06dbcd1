"""Sweeps: their points, the order of the points, and refused sweeps."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from service.experiments.sweep import (
    count_points,
    find_equal_points,
    find_faults,
    points,
    swept_fields,
)
from service.schemas.experiment import Sweep

NUMBERS = ("noise_std", "spawn.threshold", "convergence.threshold", "max_displacement")
INTEGERS = ("max_steps", "spawn.max_children", "trace.capacity", "seed")
OTHERS = ("boundary", "spawn.mode", "deterministic", "trace.keep")

values = some.lists(
    some.one_of(some.integers(-5, 5), some.floats(-1, 1), some.text(max_size=3), some.booleans()),
    min_size=1,
    max_size=4,
)
grids = some.dictionaries(
    some.sampled_from(NUMBERS + INTEGERS + OTHERS), values, min_size=1, max_size=4
)


@given(grids)
def test_a_grid_has_every_combination_and_the_last_field_varies_fastest(
    grid: dict[str, list[Any]],
) -> None:
    sweep = Sweep(grid=grid)
    assert find_faults(sweep) == []
    assert swept_fields(sweep) == tuple(grid)
    found = list(points(sweep))
    expected = [
        dict(zip(grid, combination, strict=True)) for combination in product(*grid.values())
    ]
    assert [point.parameters for point in found] == expected
    assert count_points(sweep) == len(found)
    for point in found:
        for field, place in point.places.items():
            assert place is not None
            assert grid[field][place] is point.parameters[field]


@given(
    low=some.floats(-1e6, 1e6),
    width=some.floats(0, 1e6),
    log=some.booleans(),
    field=some.sampled_from(NUMBERS),
    seed=some.integers(0, 2**63 - 1),
)
def test_a_drawn_number_lies_in_its_range(
    low: float, width: float, log: bool, field: str, seed: int
) -> None:
    assume(low > 0 or not log)
    high = low + width
    choice = {"low": low, "high": high, "log": log}
    sweep = Sweep(random={field: choice}, count=20, seed=seed)
    assert find_faults(sweep) == []
    drawn = [point.parameters[field] for point in points(sweep)]
    assert len(drawn) == count_points(sweep) == 20
    assert all(isinstance(value, float) and low <= value <= high for value in drawn)
    assert all(point.places == {field: None} for point in points(sweep))


@given(
    low=some.integers(1, 50),
    width=some.integers(0, 3),
    log=some.booleans(),
    field=some.sampled_from(INTEGERS),
    seed=some.integers(0, 2**32),
)
def test_integers_are_drawn_with_both_ends(
    low: int, width: int, log: bool, field: str, seed: int
) -> None:
    choice = {"low": low, "high": low + width, "log": log}
    sweep = Sweep(random={field: choice}, count=200, seed=seed)
    assert find_faults(sweep) == []
    drawn = {point.parameters[field] for point in points(sweep)}
    assert all(type(value) is int for value in drawn)
    assert drawn == set(range(low, low + width + 1))


@given(seed=some.integers(0, 2**63 - 1), count=some.integers(1, 30))
def test_random_points_follow_from_the_seed_and_not_from_their_number(
    seed: int, count: int
) -> None:
    random: dict[str, Any] = {
        "noise_std": {"low": 0.01, "high": 1.0, "log": True},
        "boundary": ["reflect", "clamp"],
        "max_steps": {"low": 1, "high": 1000},
    }
    some_points = list(points(Sweep(random=random, count=count, seed=seed)))
    more = list(points(Sweep(random=random, count=count + 5, seed=seed)))
    assert more[:count] == some_points
    other = list(points(Sweep(random=random, count=count, seed=(seed + 1) % 2**63)))
    assert other != some_points


def test_a_seed_keeps_its_points_from_version_to_version() -> None:
    random: dict[str, Any] = {
        "noise_std": {"low": 0.0, "high": 1.0},
        "spawn.threshold": {"low": 0.01, "high": 1.0, "log": True},
        "max_steps": {"low": 1, "high": 6},
        "boundary": ["reflect", "clamp", "reflect"],
    }
    first, second = points(Sweep(random=random, count=2, seed=7))
    assert dict(first.parameters) == {
        "noise_std": pytest.approx(0.32383276483316237, abs=1e-15),
        "spawn.threshold": pytest.approx(math.exp(math.log(0.01) * (1 - 0.15084917392450192))),
        "max_steps": 4,
        "boundary": "reflect",
    }
    assert first.places["boundary"] == 0
    assert second.parameters != first.parameters


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1, 2, 1.0, 2.5], [2]),
        ([True, 1, "1", None, None, True], [4, 5]),
        ([[1, 2], [2, 1], [1, 2]], [2]),
        ([10**30, 1, 10**30, 10**31], [2]),
    ],
)
def test_values_that_are_there_twice_are_named(values: list[Any], places: list[int]) -> None:
    faults = find_equal_points(Sweep(grid={"a": [0], "b": values}))
    assert [fault.loc for fault in faults] == [("sweep", "grid", "b", place) for place in places]


def test_equal_random_points_are_named() -> None:
    wide = Sweep(random={"noise_std": {"low": 0, "high": 1}, "max_steps": [1, 2]}, count=100)
    assert find_equal_points(wide) == []
    narrow = Sweep(random={"max_steps": [1, 2]}, count=3, seed=4)
    (fault,) = find_equal_points(narrow)
    drawn = [point.parameters["max_steps"] for point in points(narrow)]
    before, number = next(
        (first, second)
        for second, value in enumerate(drawn)
        for first in range(second)
        if drawn[first] == value
    )
    assert fault.loc == ("sweep", "count")
    assert f"{before} and {number} both have max_steps = {drawn[number]}" in fault.msg


def test_no_sweep_is_one_point() -> None:
    (point,) = points(None)
    assert (point.parameters, count_points(None), swept_fields(None)) == ({}, 1, ())


@pytest.mark.parametrize(
    ("sweep", "places"),
    [
        ({}, [("sweep",)]),
        ({"grid": {}}, [("sweep",)]),
        ({"grid": {"noise_std": []}}, [("sweep", "grid", "noise_std")]),
        ({"grid": {"noise_std": 3}}, [("sweep", "grid", "noise_std")]),
        ({"grid": {"noise_std": {"low": 0, "high": 1}}}, [("sweep", "grid", "noise_std")]),
        ({"grid": {"noise": [1]}}, [("sweep", "grid", "noise")]),
        ({"grid": {"spawn": [{}]}}, [("sweep", "grid", "spawn")]),
        ({"grid": {"lattice_width": [4]}}, [("sweep", "grid", "lattice_width")]),
        ({"grid": {"noise_std": [1]}, "count": 3}, [("sweep", "count")]),
        ({"random": {"noise_std": [1]}}, [("sweep", "count")]),
        (
            {"random": {"boundary": {"low": 0, "high": 1}}, "count": 1},
            [("sweep", "random", "boundary")],
        ),
        (
            {"random": {"noise_std": {"low": "a", "step": 1}}, "count": 1},
            [
                ("sweep", "random", "noise_std", "step"),
                ("sweep", "random", "noise_std", "low"),
                ("sweep", "random", "noise_std", "high"),
            ],
        ),
        (
            {"random": {"noise_std": {"low": 2, "high": 1}}, "count": 1},
            [("sweep", "random", "noise_std", "low")],
        ),
        (
            {"random": {"noise_std": {"low": 0, "high": 1, "log": True}}, "count": 1},
            [("sweep", "random", "noise_std", "low")],
        ),
        (
            {"random": {"max_steps": {"low": -1.7e308, "high": 1.7e308}}, "count": 1},
            [("sweep", "random", "max_steps", "low"), ("sweep", "random", "max_steps", "high")],
        ),
        (
            {"random": {"noise_std": {"low": -1.7e308, "high": 1.7e308}}, "count": 1},
            [("sweep", "random", "noise_std", "low"), ("sweep", "random", "noise_std", "high")],
        ),
        (
            {"random": {"noise_std": {"low": 0, "high": 10**400}}, "count": 1},
            [("sweep", "random", "noise_std", "high")],
        ),
        (
            {"random": {"max_steps": {"low": 1.5, "high": 3}}, "count": 1},
            [("sweep", "random", "max_steps")],
        ),
    ],
)
def test_faulty_sweeps_are_refused(sweep: dict[str, Any], places: list[tuple[str, ...]]) -> None:
    assert [fault.loc for fault in find_faults(Sweep(**sweep))] == places
