"""What follows from a step's decisions on a CPU, in one pass: records, survivors and children.

``emission`` says the same in tensor operations. Scores are folded there in either case.

Shape legend: M flows after the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.runtime.numba_kernel import array
from energy_flow.simulation.backends.numba import flow_passes
from energy_flow.simulation.columns import Flows, segment_starts
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.step_types import Decisions, RecordNumbers
from energy_flow.telemetry.counters import Count


def emit_flows(
    state: FlowState, decided: Decisions, numbers: RecordNumbers, count: int
) -> tuple[Flows, Tensor]:
    """Writes the step's surviving records into the rings.

    Args:
        count: M.

    Returns:
        Survivors and children sorted by (sample, flow id), and the row each one's state is in.
    """
    flows, options, progress = state.flows, state.options, state.progress
    after = flows.map(lambda column: column.new_empty((count, *column.shape[1:])))
    source = flows.flow_id.new_empty(count)
    words = state.ring.words
    arguments = (
        decided.starts,
        segment_starts(decided.progress.active),
        decided.counts[:, Count.SPAWNED],
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
        decided.age,
        decided.path_length,
        decided.outcome,
        decided.plane,
        decided.granted,
        decided.walls.wall_bits,
        words,
        words.view(torch.float32),
        *after.tensors(),
        source,
    )
    flow_passes.emit(*map(array, arguments))
    return after, source
