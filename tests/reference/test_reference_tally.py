"""The tally of the reference, compared with numbers that can be calculated by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .splat import Touch, corner_weights, distance_to_corner, touches_of
from .tally import Score, Tally, importance, legacy_mean, splat_mean, weighted_mean

F = np.float32


def score(energy: float, w: float, plane: int = 0, ix: int = 0, iy: int = 0) -> Score:
    return Score(plane, ix, iy, energy, w, (Touch(plane, ix, iy, 1.0),))


def test_tally_formulas() -> None:
    assert importance(-0.5, distance=0.25, age=5) == pytest.approx(0.5 / 1.25 * 1.5)
    scores = [score(0.5, 1.0), score(-0.25, 2.0)]
    expected = (0.5 * math.e - 0.25 * math.e**2) / (math.e + math.e**2)
    assert weighted_mean(scores) == pytest.approx(expected)
    assert weighted_mean(scores * 2) == pytest.approx(expected)
    assert weighted_mean([score(0.5, 1e4)]) == 0.5
    assert legacy_mean(scores) == pytest.approx((0.5 - 0.5) / 3)
    assert legacy_mean([score(0.0, 0.0)]) == 0
    assert weighted_mean([]) == 0


def test_tally_cells_and_planes() -> None:
    tally = Tally(width=3, height=2, mode="legacy")
    for entry in (score(1.0, 1.0, 0, 2, 1), score(0.5, 3.0, 1, 2, 1), score(0.25, 1.0, 1, 0, 1)):
        tally.add(entry)
    assert tally.surface().tolist() == [[0, 0, 0], [0.25, 0, 0.625]]
    assert tally.surface(0).tolist() == [[0, 0, 0], [0, 0, 1]]
    assert tally.surface(1).tolist() == [[0, 0, 0], [0.25, 0, 0.5]]
    assert tally.hits().tolist() == [[[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [1, 0, 1]]]
    assert tally.reached().tolist() == (tally.hits() > 0).tolist()


def test_corner_weights() -> None:
    # Five cells are 0.5 apart: 0.125 is a quarter of the way from cell 2 to cell 3.
    assert corner_weights(F(0.125), 5) == [(2, 0.75), (3, 0.25)]
    assert corner_weights(F(-0.875), 5) == [(0, 0.75), (1, 0.25)]
    # On a centre all goes to one cell; at the upper end the pair is the last one.
    assert corner_weights(F(0.5), 5) == [(3, 1.0), (4, 0.0)]
    assert corner_weights(F(-1), 5) == [(0, 1.0), (1, 0.0)]
    assert corner_weights(F(1), 5) == [(3, 0.0), (4, 1.0)]
    assert corner_weights(F(0), 2) == [(0, 0.5), (1, 0.5)]


def test_touches_of_four_cells_and_two_planes() -> None:
    # u = 2.25 of five, v = 0.5 of two, and three quarters of the way to zdepth.
    touches = touches_of(F(0.125), F(0), F(0.5), width=5, height=2)
    assert touches == (
        Touch(0, 2, 0, 0.75 * 0.5 * 0.25),
        Touch(0, 3, 0, 0.25 * 0.5 * 0.25),
        Touch(0, 2, 1, 0.75 * 0.5 * 0.25),
        Touch(0, 3, 1, 0.25 * 0.5 * 0.25),
        Touch(1, 2, 0, 0.75 * 0.5 * 0.75),
        Touch(1, 3, 0, 0.25 * 0.5 * 0.75),
        Touch(1, 2, 1, 0.75 * 0.5 * 0.75),
        Touch(1, 3, 1, 0.25 * 0.5 * 0.75),
    )
    # On a centre, and on a plane, the neighbours are not touched at all.
    assert touches_of(F(0), F(-1), F(-1), 5, 2) == (Touch(0, 2, 0, 1.0),)
    assert touches_of(F(1), F(1), F(1), 5, 2) == (Touch(1, 4, 1, 1.0),)


def test_distance_to_the_centre_of_a_cell() -> None:
    assert distance_to_corner(F(0.5), 5) == 0
    assert distance_to_corner(F(0.5 - 2.0**-10), 5) == 2.0**-10
    assert distance_to_corner(F(0.75), 5) == 0.25
    assert distance_to_corner(F(-1 + 2.0**-10), 2) == 2.0**-10


def splat_score(energy: float, w: float, *touches: Touch) -> Score:
    first = touches[0]
    return Score(first.plane, first.ix, first.iy, energy, w, touches)


def test_splat_formula() -> None:
    one, two = score(0.5, 1.0), score(-0.25, 1.5)
    above = 0.25 * math.e * 0.5 - 0.75 * math.exp(1.5) * 0.25
    weights = 0.25 * math.e + 0.75 * math.exp(1.5)
    pair = [(0.25, one), (0.75, two)]
    assert splat_mean(pair, 0.1) == pytest.approx(above / (0.1 + weights))
    assert splat_mean(pair, 0.0) == pytest.approx(above / weights)
    # Two of each are not the same as one of each, since the background stays.
    assert splat_mean(pair * 2, 0.1) == pytest.approx(above / (0.05 + weights))
    assert splat_mean([], 0.0) == splat_mean([], 0.1) == 0
    # Without a background the slightest touch gives a cell all of e'.
    assert splat_mean([(1e-12, one)], 0.0) == 0.5
    assert splat_mean([(1e-12, one)], 0.1) == pytest.approx(0.5e-12 * math.e / 0.1)


def test_importance_has_a_limit_under_splat() -> None:
    for w in (2.0, 2.5, 700.0, 1e6):
        mean = splat_mean([(0.5, score(3.0, w)), (1.0, score(-1.0, 0.0))], 0.1)
        e2 = 0.5 * math.exp(2)
        assert mean == pytest.approx((3 * e2 - 1) / (0.1 + e2 + 1))
    below = splat_mean([(1.0, score(3.0, 1.9))], 1.0)
    assert below == pytest.approx(3 * math.exp(1.9) / (1 + math.exp(1.9)))


def test_splat_tally_of_cells_and_planes() -> None:
    tally = Tally(width=3, height=2, mode="splat", background=0.5)
    tally.add(splat_score(2.0, 0.0, Touch(0, 0, 0, 0.25), Touch(1, 0, 0, 0.75)))
    tally.add(splat_score(-1.0, 0.0, Touch(0, 0, 0, 0.25), Touch(0, 2, 1, 0.5)))
    cell_of_both = (2 * 1.0 - 0.25) / (0.5 + 1.25)
    assert tally.surface().tolist() == [[cell_of_both, 0, 0], [0, 0, -0.5]]
    assert tally.surface(0).tolist() == [[0.25, 0, 0], [0, 0, -0.5]]
    assert tally.surface(1).tolist() == [[F(1.5 / 1.25), 0, 0], [0, 0, 0]]
    # Hits are counted once a score, where it is nearest.
    assert tally.hits().sum() == 2
    assert tally.hits()[0, 0, 0] == 2
    assert tally.reached().tolist() == [
        [[True, False, False], [False, False, True]],
        [[True, False, False], [False, False, False]],
    ]


def test_scores_that_add_up_to_zero_are_reached() -> None:
    tally = Tally(width=2, height=2, mode="splat", background=0.0)
    tally.add(splat_score(0.5, 0.5, Touch(1, 1, 0, 0.5)))
    tally.add(splat_score(-0.5, 0.5, Touch(1, 1, 0, 0.5)))
    assert tally.surface(1).tolist() == [[0, 0], [0, 0]]
    assert np.argwhere(tally.reached()).tolist() == [[1, 0, 1]]
