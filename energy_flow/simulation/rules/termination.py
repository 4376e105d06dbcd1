"""Which flows end in a step, and why."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor


class Reason(IntEnum):
    """Why a flow ended; the code of its ``terminate`` record."""

    PLANE = 0
    PROJECTED = 1
    CONVERGED = 2
    MAX_STEPS = 3
    STALLED = 4


ACTIVE = 5
"""Stands where a reason would: the flow goes on."""
FAILED = 6
"""Stands where a reason would: the network gave the flow a number that is not finite."""
OUTCOMES = 7


def end(
    finite_N: Tensor,
    exits_N: Tensor,
    length_N: Tensor,
    min_length_N: Tensor,
    age_N: Tensor,
    age_limit_N: Tensor,
    last_step_N: Tensor,
) -> Tensor:
    """The first reason that applies to each flow, or ``ACTIVE`` or ``FAILED``: int64 [N].

    Args:
        finite_N: energy and displacement are finite.
        exits_N: the flow reached an exit plane.
        length_N: ‖d‖. min_length_N: min_displacement; 0 is off.
        age_N: age after this step. age_limit_N: projection_age.
        last_step_N: this is the sample's last step.
    """
    outcome_N = torch.full_like(age_N, ACTIVE)
    # From the last reason to the first, so that an earlier one overwrites.
    outcome_N = outcome_N.masked_fill(last_step_N, Reason.MAX_STEPS)
    outcome_N = outcome_N.masked_fill(age_N >= age_limit_N, Reason.PROJECTED)
    outcome_N = outcome_N.masked_fill(length_N < min_length_N, Reason.STALLED)
    outcome_N = outcome_N.masked_fill(exits_N, Reason.PLANE)
    return outcome_N.masked_fill(~finite_N, FAILED)


def is_tallied(outcome_N: Tensor) -> Tensor:
    """Flows that score: every end but a stall or a failure."""
    return outcome_N <= Reason.MAX_STEPS
