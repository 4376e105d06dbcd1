"""The trace records of a step: which numbers they take, which survive, and writing them.

Shape legend: N flows before the step, B samples, C children, K records of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from energy_flow.simulation.columns import counted_before
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import Reason, is_tallied
from energy_flow.simulation.step_types import Decisions, RecordNumbers
from energy_flow.telemetry.counters import Count
from energy_flow.trace.records import REFLECT, SPAWN, TERMINATE
from energy_flow.trace.ring import NewRecords, RingBounds


@dataclass(frozen=True, slots=True)
class Births:
    """Children in the order (sample, parent id, ordinal); int64 [C].

    Attributes:
        parent: row of the parent. sample: of both. rank: among the sample's children of the step.
        ordinal: among its siblings. flow_id: its own.
    """

    parent: Tensor
    sample: Tensor
    rank: Tensor
    ordinal: Tensor
    flow_id: Tensor


def number_records(state: FlowState, decided: Decisions) -> RecordNumbers:
    """Numbers the step's records: within a sample reflect, terminate, spawn."""
    options, counts = state.options, decided.counts
    terminated = counts[:, : Count.ACTIVE_LOW].sum(dim=1)
    events = torch.stack((counts[:, Count.SPAWNED], counts[:, Count.REFLECTED], terminated), dim=1)
    enabled = options.trace_kinds & (options.ring_capacity > 0).unsqueeze(1)
    events = events * enabled.to(torch.int64)
    first_reflect = state.progress.records
    first_terminate = first_reflect + events[:, REFLECT]
    first_spawn = first_terminate + events[:, TERMINATE]
    total = first_spawn + events[:, SPAWN]
    bounds = RingBounds.of(total, options.ring_capacity, options.ring_latest, options.ring_lossless)
    first = (first_spawn, first_reflect, first_terminate)
    surviving = [bounds.overlap(first[kind], events[:, kind]).sum() for kind in range(len(first))]
    return RecordNumbers(first, enabled, bounds, total, torch.stack(surviving))


@dataclass(frozen=True, slots=True)
class KindSize:
    """How many events of a kind happened in a step, and how many of their records survive it."""

    happened: int
    surviving: int


@dataclass(frozen=True, slots=True)
class _Events:
    """All events of one kind, surviving or not, as columns over rows that may have one.

    Attributes:
        happened: which rows have one. rank: among the sample's events of this step and kind.
        flow_row: the row in the columns over flows. The rest are a record's fields.
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
    sizes: tuple[KindSize, ...],
) -> None:
    """Writes the step's surviving records into the rings, in one scatter."""
    events = {REFLECT: _reflections, TERMINATE: _terminations}
    batches = [
        _numbered(state, decided, numbers, events[kind](state, decided), sizes[kind])
        for kind in (REFLECT, TERMINATE)
        if sizes[kind].surviving
    ]
    if sizes[SPAWN].surviving:
        batches.append(_numbered(state, decided, numbers, _spawns(state, births), sizes[SPAWN]))
    state.ring.write(batches)


def _numbered(
    state: FlowState, decided: Decisions, numbers: RecordNumbers, events: _Events, size: KindSize
) -> NewRecords:
    """The surviving ones of these events, with their numbers and places."""
    at = torch.nonzero_static(events.happened, size=size.happened).squeeze(1)
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
    if size.surviving < size.happened:
        survives = (enabled > 0) & (seq >= low) & (seq < high)
        kept = torch.nonzero_static(survives, size=size.surviving).squeeze(1)
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
    """Flows that end are moved to their plane; those that reached it are there already."""
    outcome, position = decided.outcome, decided.walls.position.detach()
    tallied = is_tallied(outcome)
    plane_z = (2 * decided.plane - 1).to(position.dtype)
    z = torch.where(tallied, plane_z, position[:, 2])
    final = torch.cat((position[:, :2], z.unsqueeze(1)), dim=1)
    plane = torch.where(tallied, decided.plane, -1)
    return _of_flows(state, decided, TERMINATE, outcome <= Reason.STALLED, outcome, plane, final)


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
    before = counted_before(happened)
    first = before.index_select(0, decided.starts[:-1])
    return _Events(
        kind=kind,
        happened=happened,
        sample=flows.sample,
        rank=before[:-1] - first.index_select(0, flows.sample),
        flow_row=torch.arange(state.active_flows, device=happened.device),
        flow=flows.flow_id,
        parent=flows.parent,
        code=code,
        plane=plane,
        position=position,
    )


def _spawns(state: FlowState, births: Births) -> _Events:
    """A child starts where its parent was before the move."""
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
