"""Rules 2 to 10 of docs/simulation.md §3, over the columns of a pool, on the device.

Each function here is one phase of a step and names its rules; ``step.advance`` calls them in order.
The rules themselves are in ``rules``, as functions of plain tensors.

Shape legend: N flows before the step, B samples.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from energy_flow.choices import ACTIVE, OUTCOMES, TALLIED, EnergyUpdate, Reason, SpawnMode
from energy_flow.model.networks import Proposals
from energy_flow.simulation.backends import select_exploration
from energy_flow.simulation.columns import (
    SampleProgress,
    before_in_sample,
    counted_before,
    per_sample,
)
from energy_flow.simulation.lattice import nearest_plane
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules import convergence, motion, spawning, termination, walls
from energy_flow.simulation.rules.motion import Motion
from energy_flow.simulation.rules.walls import Walls
from energy_flow.simulation.step_types import Endings, Paths, Spawns
from energy_flow.trace.records import PLANES

CONVERGED = Reason.CONVERGED.code
STALLED = Reason.STALLED.code


def update_energies(state: FlowState, proposals: Proposals) -> Proposals:
    """Apply the end of rule 1: return the proposals with e' as their energy."""
    if state.ablation is not None and state.ablation.keeps_energies:
        return replace(proposals, energy=state.flows.energy)
    # A field of the model, so it is the same for all cohorts.
    if state.cohorts[0].config.energy_update is EnergyUpdate.REPLACE:
        return proposals
    return replace(proposals, energy=state.flows.energy + proposals.energy)


def limit_displacement(state: FlowState, proposals: Proposals) -> Tensor:
    """Apply rule 2: return the proposed displacements, with the field and clamped, [N, 3]."""
    options = state.options
    scale_N = _of_flows(state, options.displacement_scale)
    push_N = None
    if any(cohort.config.field_strength for cohort in state.cohorts):
        strength_N = _of_flows(state, options.field_strength)
        push_N = motion.push_along_z(proposals.energy, scale_N, strength_N)
    limit_N = _of_flows(state, options.max_displacement)
    return motion.limit_displacement(proposals.raw, scale_N, limit_N, push_N)


def explore(state: FlowState, displacement_N3: Tensor) -> Tensor:
    """Apply rule 3: return the displacements with exploration noise, [N, 3]."""
    if all(cohort.config.noise_std == 0 for cohort in state.cohorts):
        return displacement_N3
    scale_B = state.options.noise_std.to(displacement_N3.dtype)
    scale_z_B = torch.where(state.options.noise_on_z, scale_B, 0.0)
    return displacement_N3 + select_exploration(state)(state, scale_B, scale_z_B)


def move(state: FlowState, displacement_N3: Tensor) -> Motion:
    """Apply rules 3 and 4: return displacements, their lengths and the targets."""
    if state.ablation is not None:
        displacement_N3 = displacement_N3 * displacement_N3.new_tensor(state.ablation.axes)
    return motion.move(state.flows.position, displacement_N3)


def meet_walls(state: FlowState, moved: Motion) -> Walls:
    """Apply rules 5 to 7: find the exits, fold or clamp x and y, and clamp all axes."""
    return walls.meet_walls(moved.target, _of_flows(state, state.options.clamp_walls))


def extend_paths(state: FlowState, moved: Motion) -> Paths:
    """Apply rule 7: return ages and path lengths, this step included."""
    flows = state.flows
    return Paths(flows.age + 1, flows.path_length + moved.length.detach())


def terminate(
    state: FlowState, proposals: Proposals, moved: Motion, met: Walls, paths: Paths
) -> Endings:
    """Apply rule 8: return which flows end and at which plane, and count them."""
    options = state.options
    # NaN is not below the limit either. The old energy matters in the first step alone.
    finite_N = proposals.energy.abs() <= termination.MAX_ENERGY
    finite_N &= state.flows.energy.abs() <= termination.MAX_ENERGY
    finite_N &= torch.isfinite(proposals.raw).all(dim=1)
    outcome_N = termination.terminate(
        finite_N,
        met.exits,
        moved.length,
        _of_flows(state, options.min_displacement),
        paths.age,
        _of_flows(state, options.age_limit),
        _of_flows(state, state.progress.step + 1 >= options.step_limit),
    )
    plane_N = nearest_plane(met.position[:, 2])
    bin_N = (state.flows.sample * OUTCOMES + outcome_N) * len(PLANES) + plane_N
    shape = (state.samples, OUTCOMES, len(PLANES))
    counts = torch.zeros(shape, dtype=torch.int64, device=bin_N.device)
    counts.view(-1).scatter_add_(0, bin_N, torch.ones_like(bin_N))
    return Endings(outcome_N, plane_N, counts)


def converge(state: FlowState, endings: Endings) -> tuple[Endings, SampleProgress]:
    """Apply rule 9: end the flows of samples that have converged.

    Returns:
        The endings, and the progress with the flows that ended and the checks.
    """
    options, progress = state.options, state.progress
    completed_B = progress.completed + endings.counts[:, : len(TALLIED)].sum(dim=(1, 2))
    stalled_B = progress.stalled + endings.counts[:, STALLED].sum(dim=1)
    progress = replace(progress, completed=completed_B, stalled=stalled_B)
    if not any(cohort.config.convergence.enabled for cohort in state.cohorts):
        return endings, progress
    checked_B = (
        options.converges & (progress.active > 0) & (progress.step + 1 >= options.convergence_from)
    )
    before = convergence.Checks(
        progress.checks, progress.window_sum, progress.stale, progress.history
    )
    checks, converged_B = convergence.check_convergence(
        before,
        checked_B,
        completed_B,
        progress.created,
        options.convergence_threshold,
        options.window,
        options.patience,
        options.min_improvement,
    )
    outcome_N = torch.where(
        converged_B.index_select(0, state.flows.sample) & (endings.outcome == ACTIVE),
        CONVERGED,
        endings.outcome,
    )
    ended_BP = endings.counts[:, ACTIVE] * converged_B.unsqueeze(1).to(torch.int64)
    counts = endings.counts.clone()
    counts[:, CONVERGED] += ended_BP
    counts[:, ACTIVE] -= ended_BP
    progress = replace(
        progress,
        completed=completed_B + ended_BP.sum(dim=1),
        checks=checks.done,
        window_sum=checks.window_sum,
        stale=checks.stale,
        history=checks.history,
    )
    return replace(endings, outcome=outcome_N, counts=counts), progress


def spawn(state: FlowState, moved: Motion, endings: Endings, starts: Tensor) -> Spawns:
    """Apply rule 10: return how many children the flows get that are still active.

    Args:
        state: before the step.
        moved: this step's displacements.
        endings: after rule 9.
        starts: first row of each sample and the end of the last, int64 [B + 1].
    """
    flows, options, length_N = state.flows, state.options, moved.length.detach()
    modes = {cohort.config.spawn.mode for cohort in state.cohorts}
    active_B = endings.counts[:, ACTIVE].sum(dim=1)
    if modes <= {SpawnMode.OFF}:
        none_N, none_B = torch.zeros_like(flows.flow_id), torch.zeros_like(active_B)
        return Spawns(none_N, counted_before(none_N), none_B, none_B)
    active_N = endings.outcome == ACTIVE
    tau_B = options.spawn_threshold.to(length_N.dtype)
    if SpawnMode.PERCENTILE in modes:
        percentile_B = spawning.length_percentile(
            length_N, active_N, flows.sample, starts[:-1], active_B, options.spawn_percentile
        )
        by_percentile = options.spawn_mode == spawning.PERCENTILE
        tau_B = torch.where(by_percentile, torch.maximum(percentile_B, tau_B), tau_B)
    columns_2B = torch.stack((options.spawn_mode, options.max_children))
    mode_N, max_children_N = columns_2B.index_select(1, flows.sample).unbind(0)
    wanted_N = spawning.count_wanted_children(
        length_N, active_N, mode_N, tau_B.index_select(0, flows.sample), max_children_N
    )
    wanted = counted_before(wanted_N)
    # The flows that end in this step have made room for its children.
    room_B = options.active_limit - active_B
    granted_N = spawning.grant(
        wanted_N,
        before_in_sample(wanted, starts, flows.sample),
        room_B.index_select(0, flows.sample),
    )
    granted = counted_before(granted_N)
    spawned_B = per_sample(granted, starts)
    return Spawns(granted_N, granted, spawned_B, per_sample(wanted, starts) - spawned_B)


def advance_progress(
    state: FlowState, progress: SampleProgress, endings: Endings, spawns: Spawns
) -> SampleProgress:
    """Return the progress of the samples with steps, active flows and children counted.

    Args:
        state: before the step.
        progress: after rule 9.
        endings: after rule 9.
        spawns: after rule 10.
    """
    return replace(
        progress,
        active=endings.counts[:, ACTIVE].sum(dim=1) + spawns.spawned,
        step=progress.step + (state.progress.active > 0).to(torch.int64),
        created=progress.created + spawns.spawned,
    )


def _of_flows(state: FlowState, column_B: Tensor) -> Tensor:
    """Return each flow's value of a column over samples, [N]; floats in the flows' dtype."""
    if column_B.dtype == torch.float64:
        column_B = column_B.to(state.flows.position.dtype)
    return column_B.index_select(0, state.flows.sample)
