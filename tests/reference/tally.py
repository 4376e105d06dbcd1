"""Scores of ended flows, and the surfaces made from them (docs/simulation.md §4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Score(NamedTuple):
    """One tallied flow."""

    plane: int
    ix: int
    iy: int
    energy: float
    importance: float


def importance(energy: float, distance: float, age: int) -> float:
    """w = |e'| / (1 + distance) · (1 + 0.1 · age)."""
    return abs(energy) / (1.0 + distance) * (1.0 + 0.1 * age)


def weighted_mean(scores: Sequence[Score]) -> float:
    """`weighted_v2`: Σ softmax(w)ᵢ · eᵢ; 0 without scores."""
    if not scores:
        return 0.0
    largest = max(score.importance for score in scores)
    weights = [math.exp(score.importance - largest) for score in scores]
    return sum(w * score.energy for w, score in zip(weights, scores, strict=True)) / sum(weights)


def legacy_mean(scores: Sequence[Score]) -> float:
    """`legacy`: Σ wᵢ eᵢ / Σ wᵢ; 0 where Σ w = 0."""
    total = sum(score.importance for score in scores)
    if total == 0.0:
        return 0.0
    return sum(score.importance * score.energy for score in scores) / total


class Tally:
    """Every score of a sample, kept; the surfaces are made when asked for."""

    def __init__(self, width: int, height: int, weighted: bool) -> None:
        self._width = width
        self._height = height
        self._mean = weighted_mean if weighted else legacy_mean
        self._scores: list[Score] = []

    def add(self, score: Score) -> None:
        """Add one score to its cell."""
        self._scores.append(score)

    def surface(self, plane: int | None = None) -> npt.NDArray[np.float32]:
        """[H, W] from both planes together, or from one plane alone."""
        by_cell: dict[tuple[int, int], list[Score]] = {}
        for score in self._scores:
            if plane in (None, score.plane):
                by_cell.setdefault((score.iy, score.ix), []).append(score)
        surface = np.zeros((self._height, self._width), dtype=np.float32)
        for cell, scores in by_cell.items():
            surface[cell] = self._mean(scores)
        return surface

    def hits(self) -> npt.NDArray[np.int64]:
        """[2, H, W] number of scores."""
        hits = np.zeros((2, self._height, self._width), dtype=np.int64)
        for score in self._scores:
            hits[score.plane, score.iy, score.ix] += 1
        return hits
