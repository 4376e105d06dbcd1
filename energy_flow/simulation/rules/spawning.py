"""How many children each flow spawns, and how many of those fit."""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.choices import SpawnMode

OFF, PERCENTILE = SpawnMode.OFF.code, SpawnMode.PERCENTILE.code
MAX_MULTIPLES = 2.0**20
"""Far above ``max_children``. A quotient may exceed every integer, and is 0/0 for τ = 0."""


def count_multiples(length_N: Tensor, tau_N: Tensor) -> Tensor:
    """Return the number of k = 1, 2, … with k · τ ≤ length, at most ``MAX_MULTIPLES``, int64 [N].

    The quotient is rounded, so the products decide, as in the definition. They are computed in
    the dtype of the lengths, so that 2 · 0.35 ≤ 0.7.

    Args:
        length_N: [N].
        tau_N: τ, [N]; one that is tiny may be 0 in the dtype of the lengths.
    """
    count_N = torch.floor(length_N / tau_N)
    count_N = count_N + ((count_N + 1.0) * tau_N <= length_N).to(count_N.dtype)
    count_N = count_N - (count_N * tau_N > length_N).to(count_N.dtype)
    return count_N.nan_to_num(nan=MAX_MULTIPLES).clamp(max=MAX_MULTIPLES).to(torch.int64)


def count_wanted_children(
    length_N: Tensor,
    active_N: Tensor,
    mode_N: Tensor,
    tau_N: Tensor,
    max_children_N: Tensor,
) -> Tensor:
    """Return how many children each flow has if all fit (docs/simulation.md §3.10), int64 [N].

    Args:
        length_N: length of this step's displacement, [N].
        active_N: flows that are still active; the others have no children, bool [N].
        mode_N: codes of ``SpawnMode``, int64 [N].
        tau_N: τ > 0, [N]; in percentile mode a length must exceed it.
        max_children_N: of one parent in one step, int64 [N].
    """
    count_N = count_multiples(length_N, tau_N)
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
    """Return the percentile of the lengths of each sample's active flows, [B].

    Linear interpolation at rank (count - 1) · percentile / 100, the seventh definition in Hyndman
    and Fan, "Sample quantiles in statistical packages" (1996); 0 for a sample without flows.

    Args:
        length_N: length of this step's displacement, [N].
        active_N: flows that are still active, bool [N].
        sample_N: sample of each flow, ascending, int64 [N].
        starts_B: first row of each sample, int64 [B].
        active_B: active flows of each sample, int64 [B].
        percentile_B: in (0, 100), float64 [B].
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
    """Return how many children each flow gets, in the order (parent id, ordinal), int64 [N].

    Args:
        wanted_N: children wanted, int64 [N].
        wanted_before_N: children wanted by earlier flows of the same sample, int64 [N].
        room_N: children that the flow's sample has room for in total, int64 [N].
    """
    left_N = (room_N - wanted_before_N).clamp(min=0)
    return torch.minimum(wanted_N, left_N)
