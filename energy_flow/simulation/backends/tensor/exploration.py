"""Exploration noise in tensor operations.

Shape legend: N flows, B samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.simulation.noise import normals
from energy_flow.simulation.pool import FlowState


def explore(state: FlowState, scale_B: Tensor, scale_z_B: Tensor) -> Tensor:
    """Return the scaled noise of a step, [N, 3]; see ``Explore``."""
    flows, options = state.flows, state.options
    columns_2B = torch.stack((state.progress.step, options.sample_key))
    step_N, key_N = columns_2B.index_select(1, flows.sample).unbind(0)
    seed = torch.stack((options.seed_low, options.seed_high))
    if len({cohort.seed for cohort in state.cohorts}) == 1:
        # One key for all flows: its schedule need not be computed for each of them.
        seed = seed[:, :1]
    else:
        seed = seed.index_select(1, flows.sample)
    noise_N3 = normals(flows.flow_id, step_N, key_N, seed, flows.position.dtype)
    scale_B3 = torch.stack((scale_B, scale_B, scale_z_B), dim=1)
    return noise_N3 * scale_B3.index_select(0, flows.sample)
