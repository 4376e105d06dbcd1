"""The choice between tensor operations and compiled passes, for each phase that has both."""

from __future__ import annotations

import torch

from energy_flow.runtime.numba_support import supports_numba
from energy_flow.simulation.pool import FlowState


def explores_compiled(state: FlowState) -> bool:
    """Return whether the compiled pass draws the noise of a step; it is for float32."""
    position = state.flows.position
    return position.dtype == torch.float32 and supports_numba(position.device)


def emits_compiled(state: FlowState) -> bool:
    """Return whether the compiled pass writes what follows from a step; it knows no gradients."""
    return explores_compiled(state) and not torch.is_grad_enabled()
