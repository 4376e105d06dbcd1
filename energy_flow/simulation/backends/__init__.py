"""The one place that chooses how a phase of a step is computed.

Each package here computes the same. ``tensor`` is the definition and runs everywhere; the others
are faster on some devices, and tests compare them with it.
"""

from __future__ import annotations

from typing import Final

from energy_flow.simulation.backends import numba, tensor
from energy_flow.simulation.backends.interface import Backend, EmitFlows, Explore
from energy_flow.simulation.pool import FlowState

BACKENDS: Final[tuple[Backend, ...]] = (numba, tensor)
"""In the order of preference."""


def select_exploration(state: FlowState) -> Explore:
    """Return the function that draws noise, of the first backend that has one for this state."""
    found = (backend.find_exploration(state) for backend in BACKENDS)
    return next(explore for explore in found if explore is not None)


def select_emission(state: FlowState) -> EmitFlows:
    """Return the function that emits flows, of the first backend that has one for this state."""
    found = (backend.find_emission(state) for backend in BACKENDS)
    return next(emit_flows for emit_flows in found if emit_flows is not None)
