"""What follows from a step's decisions: scores, trace records, survivors and children.

Shape legend: N flows before the step, B samples, C children, K scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from energy_flow.model.hidden_state import Hidden
from energy_flow.simulation.backends.choice import emits_compiled
from energy_flow.simulation.columns import Flows, segment_starts
from energy_flow.simulation.emit_records import Births, KindSize, write_records
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import ACTIVE, is_tallied
from energy_flow.simulation.step_types import Decisions, RecordNumbers
from energy_flow.simulation.tally.tally import Scores, Tally, importance
from energy_flow.telemetry.counters import Count


@dataclass(frozen=True, slots=True)
class StepSizes:
    """How large the arrays are that follow from a step's decisions.

    Attributes:
        survivors: flows still active. births: children. scores: flows tallied.
        records: trace records by kind.
    """

    survivors: int
    births: int
    scores: int
    records: tuple[KindSize, ...]


def emit(
    state: FlowState,
    decided: Decisions,
    numbers: RecordNumbers,
    lattice: EnergyLattice,
    sizes: StepSizes,
) -> FlowState:
    """The state after the step."""
    if emits_compiled(state):
        from energy_flow.simulation.backends.numba.emission import emit_flows

        flows, source = emit_flows(state, decided, numbers, sizes.survivors + sizes.births)
    else:
        births = _births(state, decided, sizes.births)
        if any(size.surviving for size in sizes.records):
            write_records(state, decided, numbers, births, sizes.records)
        flows, source = _next_flows(state, decided, births, sizes.survivors)
    return replace(
        state,
        flows=flows,
        hidden=Hidden(decided.proposals.rows, source, state.hidden.rows),
        progress=replace(decided.progress, records=numbers.total),
        tally=_tallied(state, decided, lattice, sizes.scores),
    )


def _tallied(state: FlowState, decided: Decisions, lattice: EnergyLattice, scores: int) -> Tally:
    """The tally with the flows that ended at a plane."""
    if not scores:
        return state.tally
    index = torch.nonzero_static(is_tallied(decided.outcome), size=scores).squeeze(1)
    position = decided.walls.position.index_select(0, index)
    energy = decided.proposals.energy.index_select(0, index)
    sample = state.flows.sample.index_select(0, index)
    distance = 1.0 - position[:, 2].abs()
    return state.tally.folded(
        Scores(
            slot=state.options.tally_slot.index_select(0, sample),
            plane=decided.plane.index_select(0, index),
            cell=lattice.cell_of(position[:, 0].detach(), position[:, 1].detach()),
            energy=energy,
            weight=importance(energy, distance, decided.age.index_select(0, index)),
            legacy=state.options.legacy_tally.index_select(0, sample),
        )
    )


def _births(state: FlowState, decided: Decisions, births: int) -> Births:
    """The children in the order (sample, parent id, ordinal)."""
    row_N = torch.arange(state.active_flows, device=decided.granted.device)
    parent = torch.repeat_interleave(row_N, decided.granted, output_size=births)
    sample = state.flows.sample.index_select(0, parent)
    child = torch.arange(births, device=parent.device)
    before = segment_starts(decided.counts[:, Count.SPAWNED])
    rank = child - before.index_select(0, sample)
    return Births(
        parent=parent,
        sample=sample,
        rank=rank,
        ordinal=child - decided.granted_before.index_select(0, parent),
        flow_id=state.progress.created.index_select(0, sample) + rank,
    )


def _next_flows(
    state: FlowState, decided: Decisions, births: Births, survivors: int
) -> tuple[Flows, Tensor]:
    """Survivors and children sorted by (sample, flow id), and the row each one's state is in."""
    flows, energy = state.flows, decided.proposals.energy
    index = torch.nonzero_static(decided.outcome == ACTIVE, size=survivors).squeeze(1)
    alive = Flows(
        sample=flows.sample,
        flow_id=flows.flow_id,
        parent=flows.parent,
        position=decided.walls.position,
        energy=energy,
        age=decided.age,
        path_length=decided.path_length,
    ).take(index)
    count = births.parent.shape[0]
    if not count:
        return alive, index
    children = Flows(
        sample=births.sample,
        flow_id=births.flow_id,
        parent=flows.flow_id.index_select(0, births.parent),
        position=flows.position.index_select(0, births.parent),
        energy=energy.index_select(0, births.parent),
        age=torch.zeros_like(births.flow_id),
        path_length=flows.path_length.new_zeros(count),
    )
    # Sorted without sorting: a survivor comes after the children of earlier samples, a child
    # after the survivors of its own sample and of earlier ones.
    spawned_B = decided.counts[:, Count.SPAWNED]
    born_before = segment_starts(spawned_B)
    living_before = segment_starts(decided.progress.active - spawned_B)
    order = torch.empty(survivors + count, dtype=torch.int64, device=index.device)
    alive_row = torch.arange(survivors, device=index.device)
    child_row = torch.arange(count, device=index.device)
    order[alive_row + born_before.index_select(0, alive.sample)] = alive_row
    order[child_row + living_before.index_select(0, births.sample + 1)] = survivors + child_row
    source = torch.cat((index, births.parent)).index_select(0, order)
    return Flows.concatenated((alive, children)).take(order), source
