"""Noise and the writing of records, survivors and children, compiled by Numba for CPUs.

``tensor`` computes the same with tensor operations, for other devices and dtypes and for gradients;
tests compare the two. Apart from constants, a kernel uses nothing of another file but ``Kernel``
and ``part``: its machine code on disk is renewed when its own file changes, and only then.

Importing this package imports no Numba; that happens when a function is first asked for.
"""

from __future__ import annotations

import torch

from energy_flow.runtime.numba_support import supports_numba
from energy_flow.simulation.backends.interface import EmitFlows, Explore
from energy_flow.simulation.pool import FlowState


def find_exploration(state: FlowState) -> Explore | None:
    """Return the function that draws noise, or None unless the state is float32 on a CPU."""
    if not _supports(state):
        return None
    from energy_flow.simulation.backends.numba.exploration import explore

    return explore


def find_emission(state: FlowState) -> EmitFlows | None:
    """Return the function that emits flows, or None as above or where gradients are enabled."""
    if not _supports(state) or torch.is_grad_enabled():
        return None
    from energy_flow.simulation.backends.numba.emission import emit_flows

    return emit_flows


def _supports(state: FlowState) -> bool:
    position = state.flows.position
    return position.dtype == torch.float32 and supports_numba(position.device)
