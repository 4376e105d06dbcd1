"""``Retrieval``: how well predictions find their own targets, and how near they come to them.

Shape legend: B rows, E width of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1024
ROUNDING = 1e-12
"""Cosines that differ by less are taken as equal: they may be sums in a different order."""


@dataclass(frozen=True, eq=False, slots=True)
class RowFigures:
    """What each prediction contributes to the figures of all of them.

    Attributes:
        cosine: of prediction and own target, float64 [B].
        rank: of the own target among all targets, from 1, int64 [B].
        squared_error: ‖p - y‖², float64 [B].
    """

    cosine: NDArray[np.float64]
    rank: NDArray[np.int64]
    squared_error: NDArray[np.float64]

    @classmethod
    def of(cls, predicted_BE: NDArray[np.float32], target_BE: NDArray[np.float32]) -> RowFigures:
        """Return the figures of predictions.

        The rank of a target is one more than the number of targets that are nearer to the
        prediction by cosine, so equal targets have equal ranks.

        Args:
            predicted_BE: predictions.
            target_BE: their own targets, in the same order.
        """
        return TargetRows(target_BE).measure(predicted_BE, 0)

    @classmethod
    def concatenate(cls, parts: Sequence[RowFigures]) -> RowFigures:
        """Return the figures of consecutive predictions as one.

        Args:
            parts: at least one, in the order of the rows.
        """
        return cls(
            np.concatenate([part.cosine for part in parts]),
            np.concatenate([part.rank for part in parts]),
            np.concatenate([part.squared_error for part in parts]),
        )


class TargetRows:
    """Targets that are prepared once, for predictions that arrive in parts.

    Args:
        target_BE: targets of all rows.
    """

    def __init__(self, target_BE: NDArray[np.float32]) -> None:
        self._target = target_BE
        self._direction = _normalize(target_BE)

    def measure(self, predicted_BE: NDArray[np.float32], first: int) -> RowFigures:
        """Return the figures of predictions of consecutive rows.

        Args:
            predicted_BE: predictions.
            first: row of the first one.
        """
        rows = slice(first, first + len(predicted_BE))
        predicted = _normalize(predicted_BE)
        own = (predicted * self._direction[rows]).sum(axis=1)
        ranks = np.empty(len(own), dtype=np.int64)
        for start in range(0, len(own), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            cosines = predicted[part] @ self._direction.T
            ranks[part] = 1 + (cosines > own[part, None] + ROUNDING).sum(axis=1)
        error = predicted_BE.astype(np.float64) - self._target[rows].astype(np.float64)
        return RowFigures(own, ranks, (error * error).sum(axis=1))


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Figures of a validation.

    Attributes:
        rows: number of predictions, and of the targets among which they look for their own.
        cosine: mean cosine of prediction and own target.
        top_1: share of rows whose own target is the nearest, in [0, 1].
        top_10: share of rows whose own target is among the ten nearest, in [0, 1].
        median_rank: median rank of the own target, from 1.
        r2: 1 - Σ(p - y)² / Σ(y - mean of the column)², at most 1.
    """

    rows: int
    cosine: float
    top_1: float
    top_10: float
    median_rank: float
    r2: float

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain JSON data."""
        return asdict(self)


def retrieval(predicted_BE: NDArray[np.float32], target_BE: NDArray[np.float32]) -> Retrieval:
    """Return how well predictions find their own targets by cosine, and their R².

    Args:
        predicted_BE: predictions.
        target_BE: their own targets, in the same order.
    """
    rows = RowFigures.of(predicted_BE, target_BE)
    return Retrieval(
        rows=len(rows.rank),
        cosine=float(rows.cosine.mean()),
        top_1=float((rows.rank <= 1).mean()),
        top_10=float((rows.rank <= 10).mean()),
        median_rank=float(np.median(rows.rank)),
        r2=float(r_squared(rows.squared_error.sum(), total_variation(target_BE))),
    )


def total_variation(target_BE: NDArray[np.float32]) -> float:
    """Return Σ(y - mean of the column)² over rows and columns."""
    centred = target_BE.astype(np.float64)
    centred -= centred.mean(axis=0)
    return float((centred * centred).sum())


def r_squared(squared_error: Any, variation: Any) -> NDArray[np.float64]:
    """Return 1 - squared_error / variation; where all targets are equal, 1 if exact, else 0.

    Args:
        squared_error: Σ(p - y)².
        variation: Σ(y - mean of the column)², of the same shape.
    """
    error, total = np.asarray(squared_error, np.float64), np.asarray(variation, np.float64)
    varies = total > 0
    ratio = error / np.where(varies, total, 1.0)
    return np.where(varies, 1.0 - ratio, np.where(error > 0, 0.0, 1.0))


def _normalize(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    rows64 = rows.astype(np.float64)
    length = np.linalg.norm(rows64, axis=1, keepdims=True)
    return rows64 / np.where(length > 0, length, 1.0)
