"""``Segments``: scores sorted by a key, so that sums over equal keys have a fixed order.

Shape legend: K scores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Segments(NamedTuple):
    """Scores sorted by a key, in segments of equal keys.

    There are as many entries as scores: one for each segment, and empty ones after them.

    Attributes:
        order: place of each sorted score before the sorting, int64 [K].
        segment: of each sorted score, int64 [K].
        length: scores of each segment; 0 in empty entries, int64 [K].
        key: of each segment; ``empty`` in empty entries, int64 [K].
    """

    order: Tensor
    segment: Tensor
    length: Tensor
    key: Tensor

    @classmethod
    def sort(cls, key_K: Tensor, empty: int) -> Segments:
        """Return the segments of some scores.

        Args:
            key_K: of each score.
            empty: key of empty entries.
        """
        key_K, order_K = torch.sort(key_K, stable=True)
        opens_K = torch.ones_like(key_K, dtype=torch.bool)
        opens_K[1:] = key_K[1:] != key_K[:-1]
        segment_K = opens_K.cumsum(0) - 1
        length_K = torch.zeros_like(key_K).scatter_add_(0, segment_K, torch.ones_like(key_K))
        where_K = torch.full_like(key_K, empty).scatter_(0, segment_K, key_K)
        return cls(order_K, segment_K, length_K, where_K)
