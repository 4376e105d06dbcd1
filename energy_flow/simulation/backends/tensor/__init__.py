"""The phases of a step in tensor operations: the definition, for every device and dtype."""

from __future__ import annotations

from energy_flow.simulation.backends.interface import EmitFlows, Explore
from energy_flow.simulation.backends.tensor.emission import emit_flows
from energy_flow.simulation.backends.tensor.exploration import explore
from energy_flow.simulation.pool import FlowState


def find_exploration(state: FlowState) -> Explore:
    """Return the function that draws noise."""
    return explore


def find_emission(state: FlowState) -> EmitFlows:
    """Return the function that emits flows."""
    return emit_flows
