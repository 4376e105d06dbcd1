"""What a backend of the simulation offers: one function for each phase that it supports.

Shape legend: N flows before the step, M flows after it, B samples.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from energy_flow.simulation.columns import Flows
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_counts import StepCounts
from energy_flow.simulation.step_types import Decisions, RecordNumbers


class Explore(Protocol):
    """Exploration noise: rule 3 of docs/simulation.md §3, and §6."""

    def __call__(self, state: FlowState, scale_B: Tensor, scale_z_B: Tensor) -> Tensor:
        """Return the scaled noise of a step, [N, 3].

        Args:
            state: before the step.
            scale_B: standard deviation along x and y.
            scale_z_B: standard deviation along z.
        """
        ...


class EmitFlows(Protocol):
    """What follows from a step's decisions: trace records, survivors and children."""

    def __call__(
        self, state: FlowState, decided: Decisions, numbers: RecordNumbers, counts: StepCounts
    ) -> tuple[Flows, Tensor]:
        """Write the step's surviving records into the rings, and return the next flows.

        Args:
            state: before the step.
            decided: about its flows.
            numbers: of its records.
            counts: of the step, on the host.

        Returns:
            Survivors and children sorted by (sample, flow id), [M], and the row of the hidden state
            that each of them continues from, int64 [M].
        """
        ...


class Backend(Protocol):
    """One way to compute some phases, for the devices and dtypes that it supports."""

    def find_exploration(self, state: FlowState) -> Explore | None:
        """Return the function that draws noise, or None where this backend has none."""
        ...

    def find_emission(self, state: FlowState) -> EmitFlows | None:
        """Return the function that emits flows, or None where this backend has none."""
        ...
