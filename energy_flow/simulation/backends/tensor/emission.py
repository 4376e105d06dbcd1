"""What follows from a step's decisions, in tensor operations: records, survivors and children.

Shape legend: N flows before the step, M flows after it, B samples, C children.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energy_flow.choices import ACTIVE
from energy_flow.runtime.ordered_sums import take_rows
from energy_flow.simulation.backends.tensor.births import Births
from energy_flow.simulation.backends.tensor.records import write_records
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
    births = Births.number(state, decided, counts.births)
    if counts.surviving.any():
        write_records(state, decided, numbers, births, counts)
    return _next_flows(state, decided, births, counts.survivors)


def _next_flows(
    state: FlowState, decided: Decisions, births: Births, survivors: int
) -> tuple[Flows, Tensor]:
    """Return survivors and children sorted by (sample, flow id), and the row each continues from.

    Places are counted with prefix sums instead of sorting (Blelloch, "Prefix sums and their
    applications", 1990).
    """
    flows, energy_N = state.flows, decided.proposals.energy
    index = torch.nonzero_static(decided.endings.outcome == ACTIVE, size=survivors).squeeze(1)
    alive = Flows(
        sample=flows.sample,
        flow_id=flows.flow_id,
        parent=flows.parent,
        position=decided.walls.position,
        energy=energy_N,
        age=decided.paths.age,
        path_length=decided.paths.length,
    ).take(index)
    count = births.parent.shape[0]
    if not count:
        return alive, index
    children = Flows(
        sample=births.sample,
        flow_id=births.flow_id,
        parent=flows.flow_id.index_select(0, births.parent),
        position=take_rows(flows.position, births.parent),
        energy=take_rows(energy_N, births.parent),
        age=torch.zeros_like(births.flow_id),
        path_length=flows.path_length.new_zeros(count),
    )
    # A survivor follows the children of earlier samples; a child follows the survivors of its own
    # sample and of earlier ones.
    spawned_B = decided.spawns.spawned
    born_before = segment_starts(spawned_B)
    living_before = segment_starts(decided.progress.active - spawned_B)
    order_M = torch.empty(survivors + count, dtype=torch.int64, device=index.device)
    alive_row = torch.arange(survivors, device=index.device)
    child_row_C = torch.arange(count, device=index.device)
    order_M[alive_row + born_before.index_select(0, alive.sample)] = alive_row
    order_M[child_row_C + living_before.index_select(0, births.sample + 1)] = (
        survivors + child_row_C
    )
    source_M = torch.cat((index, births.parent)).index_select(0, order_M)
    return Flows.concatenate((alive, children)).take(order_M), source_M
