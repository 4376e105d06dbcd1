"""When a sample has converged: (almost) all flows arrived, or arrivals have dried up."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Checks:
    """The convergence bookkeeping of samples; int64 [B], ``history`` [B, widest window]."""

    done: Tensor
    window_sum: Tensor
    stale: Tensor
    history: Tensor


def check(
    before: Checks,
    checked_B: Tensor,
    completed_B: Tensor,
    created_B: Tensor,
    threshold_B: Tensor,
    window_B: Tensor,
    patience_B: Tensor,
    min_improvement_B: Tensor,
) -> tuple[Checks, Tensor]:
    """One check of the samples in ``checked_B``.

    ``completed / created ≥ threshold`` converges. So does ``patience`` times in a row a relative
    growth of the mean completed count below ``min_improvement``, the mean taken over the last
    ``window`` checks, from the first check at which there are that many.

    Returns:
        The bookkeeping after the check, and which samples converged, bool [B].
    """
    rate_B = completed_B.to(torch.float64) / created_B.to(torch.float64)
    slot_B1 = (before.done % window_B).unsqueeze(1)
    dropped_B = before.history.gather(1, slot_B1).squeeze(1)
    sum_B = before.window_sum + completed_B - dropped_B
    # The windows are equally long, so the growth of their means is that of their sums.
    previous_B = before.window_sum.to(torch.float64)
    growth_B = (sum_B.to(torch.float64) - previous_B) / previous_B.clamp(min=1.0)
    judged_B = checked_B & (before.done >= window_B) & (before.window_sum > 0)
    stale_B = torch.where(
        judged_B,
        torch.where(growth_B < min_improvement_B, before.stale + 1, torch.zeros_like(before.stale)),
        before.stale,
    )
    history = before.history.scatter(1, slot_B1, completed_B.unsqueeze(1))
    after = Checks(
        done=before.done + checked_B.to(torch.int64),
        window_sum=torch.where(checked_B, sum_B, before.window_sum),
        stale=stale_B,
        history=torch.where(checked_B.unsqueeze(1), history, before.history),
    )
    return after, checked_B & ((rate_B >= threshold_B) | (stale_B >= patience_B))
