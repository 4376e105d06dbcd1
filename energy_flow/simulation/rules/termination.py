"""Which flows end in a step, and why."""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.choices import ACTIVE, FAILED, TALLIED, Reason

MAX_ENERGY = 1e15
"""Largest magnitude of an energy: sums of the tally hold squares of energies in float32."""
LAST_REASON = len(Reason) - 1
LAST_TALLIED = len(TALLIED) - 1


def terminate(
    finite_N: Tensor,
    exits_N: Tensor,
    length_N: Tensor,
    min_length_N: Tensor,
    age_N: Tensor,
    age_limit_N: Tensor,
    last_step_N: Tensor,
) -> Tensor:
    """Return the code of the first reason that applies to each flow (docs/simulation.md §3.8).

    Args:
        finite_N: whether energy and displacement are finite, bool [N].
        exits_N: whether the flow reached an exit plane, bool [N].
        length_N: ‖d‖, the length of this step's displacement, [N].
        min_length_N: min_displacement, [N]; 0 is off.
        age_N: age after this step, int64 [N].
        age_limit_N: projection_age, int64 [N].
        last_step_N: whether this is the sample's last step, bool [N].

    Returns:
        Codes of reasons, or ``ACTIVE`` or ``FAILED``, int64 [N].
    """
    outcome_N = torch.full_like(age_N, ACTIVE)
    # From the last reason to the first, so that an earlier one overwrites.
    outcome_N = outcome_N.masked_fill(last_step_N, Reason.MAX_STEPS.code)
    outcome_N = outcome_N.masked_fill(age_N >= age_limit_N, Reason.PROJECTED.code)
    outcome_N = outcome_N.masked_fill(length_N < min_length_N, Reason.STALLED.code)
    outcome_N = outcome_N.masked_fill(exits_N, Reason.PLANE.code)
    return outcome_N.masked_fill(~finite_N, FAILED)


def is_tallied(outcome_N: Tensor) -> Tensor:
    """Return which flows score: every end except a stall or a failure, bool [N]."""
    return outcome_N <= LAST_TALLIED
