"""What follows from a step's decisions on a CPU, in one pass: records, survivors and children.

Shape legend: M flows after the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.runtime.numba_kernel import array
from energy_flow.simulation.backends.numba import flow_passes
from energy_flow.simulation.columns import Flows, segment_starts
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_counts import StepCounts
from energy_flow.simulation.step_types import Decisions, RecordNumbers


def emit_flows(
    state: FlowState, decided: Decisions, numbers: RecordNumbers, counts: StepCounts
) -> tuple[Flows, Tensor]:
    """Write the step's surviving records into the rings, and return the next flows.

    See ``EmitFlows``.
    """
    flows, options, progress = state.flows, state.options, state.progress
    after_M = counts.survivors + counts.births
    after = flows.map(lambda column: column.new_empty((after_M, *column.shape[1:])))
    source_M = flows.flow_id.new_empty(after_M)
    words = state.ring.words
    arguments = (
        decided.starts,
        segment_starts(decided.progress.active),
        decided.spawns.spawned,
        progress.created,
        progress.step,
        torch.stack(numbers.first),
        numbers.enabled,
        numbers.bounds.low,
        numbers.bounds.high,
        options.ring_start,
        options.ring_capacity,
        flows.flow_id,
        flows.parent,
        flows.position,
        decided.walls.position,
        decided.proposals.energy,
        decided.motion.length,
        decided.paths.age,
        decided.paths.length,
        decided.endings.outcome,
        decided.endings.plane,
        decided.spawns.granted,
        decided.walls.wall_bits,
        words,
        words.view(torch.float32),
        *after.tensors(),
        source_M,
    )
    flow_passes.emit(*map(array, arguments))
    return after, source_M
