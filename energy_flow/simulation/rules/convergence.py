"""When a sample has converged: (almost) all flows were tallied, or no more are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Checks:
    """State of the convergence checks of samples.

    Attributes:
        done: checks so far, int64 [B].
        window_sum: sum of the completed counts of the last ``window`` checks, int64 [B].
        stale: stale checks in a row, int64 [B].
        history: the completed counts of those checks, int64 [B, widest window].
    """

    done: Tensor
    window_sum: Tensor
    stale: Tensor
    history: Tensor


def check_convergence(
    before: Checks,
    checked_B: Tensor,
    completed_B: Tensor,
    created_B: Tensor,
    threshold_B: Tensor,
    window_B: Tensor,
    patience_B: Tensor,
    min_improvement_B: Tensor,
) -> tuple[Checks, Tensor]:
    """Check whether samples have converged (docs/simulation.md §3.9).

    A sample converges when completed / created ≥ ``threshold``. It also converges after
    ``patience`` stale checks in a row. A check is stale when the mean completed count of the last
    ``window`` checks grew by less than the share ``min_improvement``.

    Args:
        before: state before the check.
        checked_B: samples to check; the others keep their state, bool [B].
        completed_B: tallied flows, int64 [B].
        created_B: all flows, int64 [B].
        threshold_B: float64 [B] in (0, 1].
        window_B: int64 [B], at least 1.
        patience_B: int64 [B], at least 1.
        min_improvement_B: float64 [B], at least 0.

    Returns:
        The state after the check, and which samples converged, bool [B].
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
