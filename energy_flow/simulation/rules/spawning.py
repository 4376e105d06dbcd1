"""Who spawns how many children, and how many of those there is room for."""

from __future__ import annotations

import torch
from torch import Tensor

OFF, THRESHOLD, PERCENTILE = 0, 1, 2


def multiples(length_N: Tensor, tau_N: Tensor) -> Tensor:
    """The number of k = 1, 2, … with k · τ ≤ length, int64 [N].

    The quotient is rounded, so the products decide, as the definition says. All in the dtype of
    ``length``, so that twice 0.35 fits into 0.7.
    """
    count_N = torch.floor(length_N / tau_N)
    count_N = count_N + ((count_N + 1.0) * tau_N <= length_N).to(count_N.dtype)
    count_N = count_N - (count_N * tau_N > length_N).to(count_N.dtype)
    return count_N.to(torch.int64)


def wanted_children(
    length_N: Tensor,
    active_N: Tensor,
    mode_N: Tensor,
    tau_N: Tensor,
    max_children_N: Tensor,
) -> Tensor:
    """Children each flow would have if there were room, int64 [N].

    Args:
        length_N: this step's displacement.
        active_N: flows still active; others have none.
        mode_N: ``OFF``, ``THRESHOLD`` or ``PERCENTILE``.
        tau_N: the length that counts once, > 0; in percentile mode it must be exceeded.
        max_children_N: per parent and step.
    """
    count_N = multiples(length_N, tau_N)
    by_threshold_N = (count_N - 1).clamp(min=0)
    by_percentile_N = torch.where(length_N > tau_N, count_N, torch.zeros_like(count_N))
    wanted_N = torch.where(mode_N == PERCENTILE, by_percentile_N, by_threshold_N)
    wanted_N = torch.minimum(wanted_N, max_children_N)
    return wanted_N * (active_N & (mode_N != OFF)).to(torch.int64)


def length_percentile(
    length_N: Tensor,
    active_N: Tensor,
    sample_N: Tensor,
    starts_B: Tensor,
    active_B: Tensor,
    percentile_B: Tensor,
) -> Tensor:
    """The percentile of the lengths of each sample's active flows, [B].

    Linear interpolation at rank (count - 1) · percentile / 100; 0 for a sample without flows.

    Args:
        sample_N: sample of each flow, ascending. starts_B: its first row.
        active_B: how many of its flows are active.
    """
    key_N = torch.where(active_N, length_N, torch.inf)
    by_length_N = torch.argsort(key_N, stable=True)
    order_N = by_length_N.index_select(
        0, torch.argsort(sample_N.index_select(0, by_length_N), stable=True)
    )
    sorted_N = key_N.index_select(0, order_N)
    last_B = (active_B - 1).clamp(min=0)
    rank_B = last_B.to(torch.float64) * percentile_B / 100.0
    low_B = rank_B.floor().to(torch.int64)
    high_B = torch.minimum(low_B + 1, last_B)
    end = max(sorted_N.shape[0] - 1, 0)
    low_value_B = sorted_N.index_select(0, (starts_B + low_B).clamp(max=end))
    high_value_B = sorted_N.index_select(0, (starts_B + high_B).clamp(max=end))
    value_B = low_value_B + (high_value_B - low_value_B) * (rank_B - low_B).to(sorted_N.dtype)
    return torch.where(active_B > 0, value_B, torch.zeros_like(value_B))


def grant(wanted_N: Tensor, wanted_before_N: Tensor, room_N: Tensor) -> Tensor:
    """Children granted to each flow, in the order (parent id, ordinal): int64 [N].

    Args:
        wanted_N: children wanted. wanted_before_N: by earlier flows of the same sample.
        room_N: how many the flow's sample has room for in all.
    """
    left_N = (room_N - wanted_before_N).clamp(min=0)
    return torch.minimum(wanted_N, left_N)
