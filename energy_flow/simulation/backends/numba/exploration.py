"""Exploration noise on a CPU, drawn and scaled in one compiled pass.

Shape legend: N flows, B samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.runtime.numba_kernel import array
from energy_flow.simulation.backends.numba import noise_passes
from energy_flow.simulation.pool import FlowState


def explore(state: FlowState, scale_B: Tensor, scale_z_B: Tensor) -> Tensor:
    """Return the scaled noise of a step, float32 [N, 3]; see ``Explore``."""
    flows, options = state.flows, state.options
    noise_N3 = torch.empty_like(flows.position)
    arguments = (
        flows.flow_id,
        flows.sample,
        state.progress.step,
        options.sample_key,
        options.seed_low,
        options.seed_high,
        scale_B,
        scale_z_B,
        noise_N3,
    )
    noise_passes.explore(*map(array, arguments))
    return noise_N3
