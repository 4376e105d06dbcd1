"""The rules of docs/simulation.md §1 and §3 that need no network, one flow at a time.

Position arithmetic is float32, in the order in which the document writes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np

from .rules import ConvergenceRules

F: Final = np.float32
ONE: Final = np.float32(1.0)
TWO: Final = np.float32(2.0)
CELL_TIE_SHIFT: Final = np.float32(2.0**-12)
ENERGY_LIMIT: Final = 1e15


class Plane(IntEnum):
    """Exit planes; NONE stands in records that are not a tallied termination."""

    NONE = -1
    Z0 = 0
    ZDEPTH = 1


class Reason(IntEnum):
    """Why a flow ended, as coded in a terminate record."""

    PLANE = 0
    PROJECTED = 1
    CONVERGED = 2
    MAX_STEPS = 3
    STALLED = 4


def coordinate_of_cell(index: int, count: int) -> np.float32:
    """x = 2 · ix / (W - 1) - 1."""
    return F(TWO * F(index) / F(count - 1) - ONE)


def cell_number(coordinate: np.float32, count: int) -> np.float32:
    """(x + 1) / 2 · (W - 1) + 1/2 - 2⁻¹², the number whose floor is the cell."""
    return F((coordinate + ONE) / TWO * F(count - 1) + F(0.5) - CELL_TIE_SHIFT)


def cell_of_coordinate(coordinate: np.float32, count: int) -> int:
    """Index in 0 … count - 1; a tie falls to the lower cell."""
    return min(max(math.floor(cell_number(coordinate, count)), 0), count - 1)


def distance_to_cell_border(coordinate: np.float32, count: int) -> float:
    """How far the coordinate is from the nearest border between two cells, tie shift included."""
    number = float(cell_number(coordinate, count))
    border = min(max(round(number), 1), count - 1)
    return abs(number - border) * 2.0 / (count - 1)


def exit_plane(z: np.float32) -> Plane:
    """Rule 5, for the unclamped z."""
    if z <= -ONE:
        return Plane.Z0
    if z >= ONE:
        return Plane.ZDEPTH
    return Plane.NONE


def nearest_plane(z: np.float32) -> Plane:
    """Where a projected flow goes: z ≤ 0 to z0."""
    return Plane.Z0 if z <= 0 else Plane.ZDEPTH


def is_energy_within_limit(energy: np.float32) -> bool:
    """Whether a run may go on with this e' (§7): finite and at most 10¹⁵ in magnitude."""
    return bool(np.isfinite(energy)) and abs(float(energy)) <= ENERGY_LIMIT


def fold(q: np.float32) -> np.float32:
    """Rule 6, `reflect`: as a mirror at -1 and +1 does, however far q overshoots."""
    if abs(q) <= ONE:
        return q
    # np.mod takes the sign of the divisor, so the result is never negative.
    return F(ONE - abs(F(np.mod(q + ONE, F(4.0))) - TWO))


def clamp(q: np.float32, limit: np.float32 = ONE) -> np.float32:
    """q held within [-limit, limit]."""
    return min(max(q, -limit), limit)


def wall_code(x: np.float32, y: np.float32) -> int:
    """Sum of 1 (x low), 2 (x high), 4 (y low), 8 (y high) for the unfolded x and y; 0 for none."""
    return 1 * int(x < -ONE) + 2 * int(x > ONE) + 4 * int(y < -ONE) + 8 * int(y > ONE)


def whole_multiples(length: np.float32, tau: np.float32, at_most: int) -> int:
    """The number of k = 1, 2, … with k · τ ≤ length, counted no further than `at_most`.

    k · τ is rounded to float32 as the length is, so that a τ of 0.35 goes twice into 0.7.
    """
    n = 0
    while n < at_most and F(n + 1) * tau <= length:
        n += 1
    return n


def children_by_threshold(length: np.float32, tau: np.float32, max_children: int) -> int:
    """Rule 10, `threshold`."""
    return max(min(whole_multiples(length, tau, max_children + 1) - 1, max_children), 0)


def children_by_percentile(length: np.float32, tau: np.float32, max_children: int) -> int:
    """Rule 10, `percentile`; τ is already the larger of the percentile and the threshold."""
    if not length > tau:
        return 0
    return whole_multiples(length, tau, max_children)


def percentile_rank(count: int, percentile: float) -> tuple[int, int, float]:
    """(index below, index above, fraction between) of rank (count - 1) · percentile / 100."""
    rank = (count - 1) * percentile / 100
    below = math.floor(rank)
    return below, min(below + 1, count - 1), rank - below


def interpolate(below: np.float32, above: np.float32, fraction: float) -> np.float32:
    """below + (above - below) · fraction, which is `below` exactly when the two are equal."""
    return F(below + (above - below) * F(fraction))


def percentile_of(lengths: Sequence[np.float32], percentile: float) -> np.float32:
    """The percentile of lengths in any order, with linear interpolation."""
    ordered = sorted(lengths)
    below, above, fraction = percentile_rank(len(ordered), percentile)
    return interpolate(ordered[below], ordered[above], fraction)


class Convergence:
    """Rule 9 for one sample: a rate of completion, and completion that no longer rises.

    All of it is arithmetic on counts. The window sums stand in for the means, since the window
    cancels out of (m - m_prev) / m_prev: one correctly rounded division of integers then meets a
    decimal `min_improvement` or `threshold` without error, so ties are decided by the rule.
    """

    def __init__(self, rules: ConvergenceRules) -> None:
        self._rules = rules
        self._completed: list[int] = []
        self._previous_sum: int | None = None
        self.stale = 0

    def check(self, step: int, completed: int, created: int) -> bool:
        """Whether the sample has converged after rule 8 of this step (0-based)."""
        rules = self._rules
        if not rules.enabled or step + 1 < rules.min_steps:
            return False
        self._completed.append(completed)
        if len(self._completed) >= rules.window:
            window_sum = sum(self._completed[-rules.window :])
            if self._previous_sum is not None and self._previous_sum > 0:
                improvement = (window_sum - self._previous_sum) / self._previous_sum
                self.stale = self.stale + 1 if improvement < rules.min_improvement else 0
            self._previous_sum = window_sum
        return completed / created >= rules.threshold or self.stale >= rules.patience
