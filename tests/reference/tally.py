"""Scores of ended flows, and the surfaces made from them (docs/simulation.md §4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .splat import Touch

IMPORTANCE_LIMIT: Final = 2.0
"""Upper limit of w under `splat`."""


class Score(NamedTuple):
    """One tallied flow: its nearest plane and cell, and all cells that it touches."""

    plane: int
    ix: int
    iy: int
    energy: float
    importance: float
    touches: tuple[Touch, ...]


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


def splat_mean(touches: Sequence[tuple[float, Score]], background: float) -> float:
    """`splat`: Σ k ζ e^w e' / (β + Σ k ζ e^w), from pairs of k ζ and score; 0/0 is 0."""
    weights = [
        share * math.exp(min(score.importance, IMPORTANCE_LIMIT)) for share, score in touches
    ]
    total = background + sum(weights)
    if total == 0.0:
        return 0.0
    return sum(w * score.energy for w, (_, score) in zip(weights, touches, strict=True)) / total


class Tally:
    """Every score of a sample, kept; the surfaces are made when asked for."""

    def __init__(self, width: int, height: int, mode: str, background: float = 0.0) -> None:
        self._width = width
        self._height = height
        self._mode = mode
        self._background = background
        self._scores: list[Score] = []

    def add(self, score: Score) -> None:
        """Add one score to the cells that it touches."""
        self._scores.append(score)

    def surface(self, plane: int | None = None) -> npt.NDArray[np.float32]:
        """[H, W] from both planes together, or from one plane alone."""
        by_cell: dict[tuple[int, int], list[tuple[float, Score]]] = {}
        for score in self._scores:
            for touch in score.touches:
                if plane in (None, touch.plane):
                    by_cell.setdefault((touch.iy, touch.ix), []).append((touch.weight, score))
        surface = np.zeros((self._height, self._width), dtype=np.float32)
        for cell, touches in by_cell.items():
            if self._mode == "splat":
                surface[cell] = splat_mean(touches, self._background)
            elif self._mode == "legacy":
                surface[cell] = legacy_mean([score for _, score in touches])
            else:
                surface[cell] = weighted_mean([score for _, score in touches])
        return surface

    def hits(self) -> npt.NDArray[np.int64]:
        """[2, H, W] number of scores by nearest cell and nearest plane."""
        hits = np.zeros((2, self._height, self._width), dtype=np.int64)
        for score in self._scores:
            hits[score.plane, score.iy, score.ix] += 1
        return hits

    def reached(self) -> npt.NDArray[np.bool_]:
        """[2, H, W] whether a score touches the cell."""
        reached = np.zeros((2, self._height, self._width), dtype=np.bool_)
        for score in self._scores:
            for touch in score.touches:
                reached[touch.plane, touch.iy, touch.ix] = True
        return reached
