"""The importance of a score, and its exponential.

Shape legend: K scores.
"""

from __future__ import annotations

import torch
from torch import Tensor


def importance(energy_K: Tensor, distance_K: Tensor, age_K: Tensor) -> Tensor:
    """Return w = |e'| / (1 + distance) · (1 + 0.1 · age) (docs/simulation.md §4), [K].

    Args:
        energy_K: e', [K].
        distance_K: distance to the plane before the flow was moved there, [K].
        age_K: steps taken, int64 [K].
    """
    return energy_K.abs() / (1.0 + distance_K) * (1.0 + 0.1 * age_K.to(energy_K.dtype))


def exponential(x: Tensor) -> Tensor:
    """Return eˣ, rounded once from float64: its bits must not depend on an element's place."""
    return x.to(torch.float64).exp().to(x.dtype)
