"""The trace records of a step in tensor operations, written in one scatter.

Shape legend: N flows before the step, B samples, C children.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.simulation.backends.tensor.births import Births
from energy_flow.simulation.columns import before_in_sample, counted_before
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import LAST_REASON, is_tallied
from energy_flow.simulation.step_counts import StepCounts
from energy_flow.simulation.step_types import Decisions, RecordNumbers
from energy_flow.trace.records import REFLECT, SPAWN, TERMINATE
from energy_flow.trace.ring import NewRecords


@dataclass(frozen=True, slots=True)
class _Events:
    """All events of one kind, surviving or not, as columns over rows that may have one.

    The rows are flows, [N], or children, [C].

    Attributes:
        kind: code of the kind.
        happened: which rows have an event, bool.
        sample: of each row, int64.
        rank: number among the sample's events of this step and kind, from 0, int64.
        flow_row: the row in the columns over flows, int64.
        flow: field of the record, as are the following.
        parent: int64.
        code: int64.
        plane: int64.
        position: [N, 3] or [C, 3].
    """

    kind: int
    happened: Tensor
    sample: Tensor
    rank: Tensor
    flow_row: Tensor
    flow: Tensor
    parent: Tensor
    code: Tensor
    plane: Tensor
    position: Tensor


def write_records(
    state: FlowState,
    decided: Decisions,
    numbers: RecordNumbers,
    births: Births,
    counts: StepCounts,
) -> None:
    """Write the step's surviving records into the rings.

    Args:
        state: before the step.
        decided: about its flows.
        numbers: of its records.
        births: its children.
        counts: of the step, on the host.
    """
    happened, surviving = counts.events.tolist(), counts.surviving.tolist()
    batches = []
    if surviving[REFLECT]:
        batches.append(_reflections(state, decided))
    if surviving[TERMINATE]:
        batches.append(_terminations(state, decided))
    if surviving[SPAWN]:
        batches.append(_spawns(state, births))
    state.ring.write(
        [
            _surviving(
                state, decided, numbers, events, happened[events.kind], surviving[events.kind]
            )
            for events in batches
        ]
    )


def _surviving(
    state: FlowState,
    decided: Decisions,
    numbers: RecordNumbers,
    events: _Events,
    happened: int,
    surviving: int,
) -> NewRecords:
    """Return the records of the events that survive, with their numbers and places.

    Args:
        state: before the step.
        decided: about its flows.
        numbers: of its records.
        events: of one kind.
        happened: how many events there are.
        surviving: how many of their records survive.
    """
    at = torch.nonzero_static(events.happened, size=happened).squeeze(1)
    sample = events.sample.index_select(0, at)
    columns_B = torch.stack(
        (
            numbers.bounds.low,
            numbers.bounds.high,
            numbers.first[events.kind],
            numbers.enabled[:, events.kind],
            state.options.ring_start,
            state.options.ring_capacity,
            state.progress.step,
        )
    )
    low, high, first, enabled, start, capacity, step = columns_B.index_select(1, sample).unbind(0)
    seq = first + events.rank.index_select(0, at)
    place = start + seq % capacity.clamp(min=1)
    if surviving < happened:
        survives = (enabled > 0) & (seq >= low) & (seq < high)
        kept = torch.nonzero_static(survives, size=surviving).squeeze(1)
        at, seq, place, step = (column.index_select(0, kept) for column in (at, seq, place, step))
    row = events.flow_row.index_select(0, at)
    return NewRecords(
        place=place,
        seq=seq,
        step=step,
        kind=events.kind,
        flow=events.flow.index_select(0, at),
        parent=events.parent.index_select(0, at),
        code=events.code.index_select(0, at),
        plane=events.plane.index_select(0, at),
        position=events.position.index_select(0, at),
        energy=decided.proposals.energy.detach().index_select(0, row),
        length=decided.motion.length.detach().index_select(0, row),
    )


def _reflections(state: FlowState, decided: Decisions) -> _Events:
    bits = decided.walls.wall_bits
    position = decided.walls.position.detach()
    return _of_flows(state, decided, REFLECT, bits > 0, bits, torch.full_like(bits, -1), position)


def _terminations(state: FlowState, decided: Decisions) -> _Events:
    """Return the flows that ended, moved to their plane."""
    outcome, position = decided.endings.outcome, decided.walls.position.detach()
    tallied = is_tallied(outcome)
    plane_z = (2 * decided.endings.plane - 1).to(position.dtype)
    z = torch.where(tallied, plane_z, position[:, 2])
    final = torch.cat((position[:, :2], z.unsqueeze(1)), dim=1)
    plane = torch.where(tallied, decided.endings.plane, -1)
    return _of_flows(state, decided, TERMINATE, outcome <= LAST_REASON, outcome, plane, final)


def _of_flows(
    state: FlowState,
    decided: Decisions,
    kind: int,
    happened: Tensor,
    code: Tensor,
    plane: Tensor,
    position: Tensor,
) -> _Events:
    flows = state.flows
    return _Events(
        kind=kind,
        happened=happened,
        sample=flows.sample,
        rank=before_in_sample(counted_before(happened), decided.starts, flows.sample),
        flow_row=torch.arange(state.active_flows, device=happened.device),
        flow=flows.flow_id,
        parent=flows.parent,
        code=code,
        plane=plane,
        position=position,
    )


def _spawns(state: FlowState, births: Births) -> _Events:
    """Return the children, each where its parent was before the move."""
    flows = state.flows
    return _Events(
        kind=SPAWN,
        happened=torch.ones_like(births.parent, dtype=torch.bool),
        sample=births.sample,
        rank=births.rank,
        flow_row=births.parent,
        flow=births.flow_id,
        parent=flows.flow_id.index_select(0, births.parent),
        code=births.ordinal,
        plane=torch.full_like(births.parent, -1),
        position=flows.position.detach().index_select(0, births.parent),
    )
