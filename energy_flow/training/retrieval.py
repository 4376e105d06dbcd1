"""``Retrieval``: how well predictions find their own targets among all targets.

Shape legend: B rows, E embedding width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1024
ROUNDING = 1e-12
"""Cosines that differ by less are taken as equal: they may be sums in a different order."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Figures of a validation.

    Attributes:
        rows: number of predictions, and of the targets among which they look for their own.
        cosine: mean cosine of prediction and own target.
        top_1: share of rows whose own target is the nearest, in [0, 1].
        top_10: share of rows whose own target is among the ten nearest, in [0, 1].
        median_rank: median rank of the own target, from 1.
    """

    rows: int
    cosine: float
    top_1: float
    top_10: float
    median_rank: float

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain JSON data."""
        return asdict(self)


def retrieval(predicted_BE: NDArray[np.float32], target_BE: NDArray[np.float32]) -> Retrieval:
    """Return how well predictions find their own targets by cosine.

    The rank of a target is one more than the number of targets that are nearer to the prediction,
    so equal targets have equal ranks.

    Args:
        predicted_BE: predictions.
        target_BE: their own targets, in the same order.
    """
    predicted, target = _normalize(predicted_BE), _normalize(target_BE)
    own = (predicted * target).sum(axis=1)
    ranks = np.empty(len(own), dtype=np.int64)
    for first in range(0, len(own), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        cosines = predicted[part] @ target.T
        ranks[part] = 1 + (cosines > own[part, None] + ROUNDING).sum(axis=1)
    return Retrieval(
        rows=len(own),
        cosine=float(own.mean()),
        top_1=float((ranks <= 1).mean()),
        top_10=float((ranks <= 10).mean()),
        median_rank=float(np.median(ranks)),
    )


def _normalize(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    rows64 = rows.astype(np.float64)
    length = np.linalg.norm(rows64, axis=1, keepdims=True)
    return rows64 / np.where(length > 0, length, 1.0)
