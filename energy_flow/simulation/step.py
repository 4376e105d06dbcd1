"""One step of a pool, in the order of docs/simulation.md §3.

First everything is decided on the device. One transfer then gives the host the counts: how many
flows ended, survive and were born. What follows is written to arrays of exactly those sizes.

Shape legend: N flows before the step, B samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from energy_flow.choices import FAILED
from energy_flow.model import autograd
from energy_flow.model.networks import Proposals
from energy_flow.simulation.columns import segment_starts
from energy_flow.simulation.decide import (
    advance_progress,
    converge,
    explore,
    extend_paths,
    limit_displacement,
    meet_walls,
    move,
    spawn,
    terminate,
    update_energies,
)
from energy_flow.simulation.emit import emit
from energy_flow.simulation.lattice import EnergyLattice
from energy_flow.simulation.number_records import number_records
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules.sensing import sense
from energy_flow.simulation.step_counts import StepCounts, count_events, sum_floats
from energy_flow.simulation.step_types import Decisions
from energy_flow.telemetry.ledger import StepReport

Observer = Callable[[FlowState, Decisions], None]
"""Receives the flows of a step and what was decided about them."""


def advance(
    state: FlowState, lattice: EnergyLattice, observe: Observer | None = None
) -> tuple[FlowState, StepReport]:
    """Move every active flow of the pool once.

    Args:
        state: before the step; it must not be used again.
        lattice: the model's.
        observe: is called with the flows and what was decided about them.

    Returns:
        The state after the step, and what the step counted and how long it took.
    """
    began = time.perf_counter()
    proposals = update_energies(state, propose(state, lattice))  # rule 1
    proposed = time.perf_counter()
    starts = segment_starts(state.progress.active)
    displacement_N3 = limit_displacement(state, proposals)  # rule 2
    displacement_N3 = explore(state, displacement_N3)  # rule 3
    motion = move(state, displacement_N3)  # rules 3 and 4
    walls = meet_walls(state, motion)  # rules 5, 6 and 7
    paths = extend_paths(state, motion)  # rule 7
    endings = terminate(state, proposals, motion, walls, paths)  # rule 8
    endings, progress = converge(state, endings)  # rule 9
    spawns = spawn(state, motion, endings, starts)  # rule 10
    decided = Decisions(
        proposals=proposals,
        motion=motion,
        walls=walls,
        paths=paths,
        endings=endings,
        spawns=spawns,
        starts=starts,
        counts=count_events(state, walls, paths, endings, spawns, starts),
        progress=advance_progress(state, progress, endings, spawns),
    )
    if observe is not None:
        observe(state, decided)
    numbers = number_records(state, decided)
    packed = StepCounts.pack(decided.counts, sum_floats(state, decided), numbers.surviving)
    counts = StepCounts.unpack(packed.cpu().numpy())  # the one transfer
    transferred = time.perf_counter()
    state.spill_records(counts.counts)
    after = emit(state, decided, numbers, lattice, counts)
    emitted = time.perf_counter()
    report = StepReport(
        counts=counts.counts,
        sums=counts.sums,
        active=counts.active,
        failures=_find_failures(state, decided) if counts.has_failures else (),
        network_ms=1e3 * (proposed - began),
        rules_ms=1e3 * (transferred - proposed),
        emit_ms=1e3 * (emitted - transferred),
    )
    return after, report


def propose(state: FlowState, lattice: EnergyLattice) -> Proposals:
    """Apply rule 1: return what the networks give, with gradients where they are enabled."""
    flows, networks = state.flows, state.networks
    features = [flows.position, flows.energy.unsqueeze(1)]
    if state.fields is not None:
        width, height = lattice.width, lattice.height
        features.append(sense(state.fields, flows.sample, flows.position, width, height))
    features_NF = torch.cat(features, dim=1)
    if torch.is_grad_enabled():
        return autograd.propose(networks, features_NF, state.hidden, state.plan)
    return networks.propose(features_NF, state.hidden, state.plan)


def _find_failures(state: FlowState, decided: Decisions) -> tuple[tuple[int, int, int], ...]:
    """Return sample row, flow id and step of each sample's first flow that failed."""
    rows = torch.nonzero(decided.endings.outcome == FAILED).squeeze(1)
    sample = state.flows.sample.index_select(0, rows)
    step = state.progress.step.index_select(0, sample)
    flow = state.flows.flow_id.index_select(0, rows)
    first: dict[int, tuple[int, int, int]] = {}
    for row, *where in zip(sample.tolist(), flow.tolist(), step.tolist(), strict=True):
        first.setdefault(row, (row, *where))
    return tuple(first.values())
