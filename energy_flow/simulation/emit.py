"""What follows from a step's decisions: scores, trace records, survivors and children.

Shape legend: K scores.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from energy_flow.model.hidden_state import Hidden
from energy_flow.simulation.backends import select_emission
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.termination import is_tallied
from energy_flow.simulation.step_counts import StepCounts
from energy_flow.simulation.step_types import Decisions, RecordNumbers
from energy_flow.simulation.tally.importance import importance
from energy_flow.simulation.tally.tally import Scores, Tally


def emit(
    state: FlowState,
    decided: Decisions,
    numbers: RecordNumbers,
    lattice: EnergyLattice,
    counts: StepCounts,
) -> FlowState:
    """Write the step's trace records, and return the state after the step.

    Args:
        state: before the step.
        decided: about its flows.
        numbers: of its records.
        lattice: the model's.
        counts: of the step, on the host.
    """
    emit_flows = select_emission(state)
    flows, source = emit_flows(state, decided, numbers, counts)
    return replace(
        state,
        flows=flows,
        hidden=Hidden(decided.proposals.rows, source, state.hidden.rows),
        progress=replace(decided.progress, records=numbers.total),
        tally=_add_scores(state, decided, lattice, counts.scores),
    )


def _add_scores(state: FlowState, decided: Decisions, lattice: EnergyLattice, scores: int) -> Tally:
    """Return the tally with the flows that ended at a plane: docs/simulation.md §4."""
    if not scores:
        return state.tally
    index_K = torch.nonzero_static(is_tallied(decided.endings.outcome), size=scores).squeeze(1)
    position_K3 = decided.walls.position.index_select(0, index_K)
    energy_K = decided.proposals.energy.index_select(0, index_K)
    sample_K = state.flows.sample.index_select(0, index_K)
    distance_K = 1.0 - position_K3[:, 2].abs()
    age_K = decided.paths.age.index_select(0, index_K)
    return state.tally.add(
        Scores(
            slot=state.options.tally_slot.index_select(0, sample_K),
            plane=decided.endings.plane.index_select(0, index_K),
            cell=lattice.cell_of(position_K3[:, 0].detach(), position_K3[:, 1].detach()),
            position=position_K3,
            energy=energy_K,
            weight=importance(energy_K, distance_K, age_K),
            aggregation=state.options.aggregation.index_select(0, sample_K),
        ),
        {cohort.config.aggregation_mode for cohort in state.cohorts},
    )
