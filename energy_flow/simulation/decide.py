"""What happens to every flow in a step: rules 2 to 10 of docs/simulation.md §3, on the device.

Shape legend: N flows before the step, B samples.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from energy_flow.config.flow_config import SpawnMode
from energy_flow.model.networks import Proposals
from energy_flow.simulation.backends.choice import explores_compiled
from energy_flow.simulation.columns import (
    SampleProgress,
    counted_before,
    per_sample,
    segment_starts,
)
from energy_flow.simulation.lattice import nearest_plane
from energy_flow.simulation.noise import normals
from energy_flow.simulation.pool import FlowState
from energy_flow.simulation.rules import convergence, spawning
from energy_flow.simulation.rules.motion import move
from energy_flow.simulation.rules.termination import ACTIVE, OUTCOMES, Reason, end
from energy_flow.simulation.rules.walls import meet_walls
from energy_flow.simulation.step_types import Decisions
from energy_flow.telemetry.counters import Count

OUTCOME_COUNTS = 2 * OUTCOMES


def decide(state: FlowState, proposals: Proposals) -> Decisions:
    """Rules 2 to 10."""
    flows, options, progress = state.flows, state.options, state.progress
    dtype = flows.position.dtype
    starts = segment_starts(progress.active)

    def of(column_B: Tensor) -> Tensor:
        if column_B.dtype == torch.float64:
            column_B = column_B.to(dtype)
        return column_B.index_select(0, flows.sample)

    motion = move(
        flows.position,
        proposals.raw,
        of(options.displacement_scale),
        of(options.max_displacement),
        _exploration(state),
    )
    walls = meet_walls(motion.target, of(options.clamp_walls))
    age = flows.age + 1
    finite = torch.isfinite(proposals.energy) & torch.isfinite(proposals.raw).all(dim=1)
    outcome = end(
        finite,
        walls.exits,
        motion.length,
        of(options.min_displacement),
        age,
        of(options.age_limit),
        of(progress.step + 1 >= options.step_limit),
    )
    plane = nearest_plane(walls.position[:, 2])
    bins = (flows.sample * OUTCOMES + outcome) * 2 + plane
    ended = torch.zeros(
        starts.shape[0] * OUTCOME_COUNTS - OUTCOME_COUNTS, dtype=torch.int64, device=bins.device
    )
    ended = ended.scatter_add_(0, bins, torch.ones_like(bins)).view(-1, OUTCOME_COUNTS)
    progress, ended, converged = _converge(state, ended)
    if converged is not None:
        outcome = torch.where(
            converged.index_select(0, flows.sample) & (outcome == ACTIVE),
            int(Reason.CONVERGED),
            outcome,
        )
    active = ended[:, 2 * ACTIVE] + ended[:, 2 * ACTIVE + 1]
    granted, granted_before, spawned, suppressed = _spawn(
        state, motion.length.detach(), outcome == ACTIVE, active, starts
    )
    reflected = per_sample(counted_before(walls.wall_bits > 0), starts)
    ended_age = counted_before(torch.where(outcome == ACTIVE, 0, age))
    counts = torch.cat(
        (
            ended,
            torch.stack(
                (
                    reflected,
                    spawned,
                    suppressed,
                    per_sample(ended_age, starts),
                    state.progress.active,
                ),
                dim=1,
            ),
        ),
        dim=1,
    )
    moved = (state.progress.active > 0).to(torch.int64)
    progress = replace(
        progress,
        active=active + spawned,
        step=progress.step + moved,
        created=progress.created + spawned,
    )
    return Decisions(
        proposals,
        motion,
        walls,
        starts,
        age,
        flows.path_length + motion.length.detach(),
        plane,
        outcome,
        granted,
        granted_before,
        counts,
        progress,
    )


def _exploration(state: FlowState) -> Tensor | None:
    """Rule 3: exploration noise [N, 3], scaled, or none where no sample asks for it."""
    if all(cohort.config.noise_std == 0 for cohort in state.cohorts):
        return None
    flows, options = state.flows, state.options
    dtype = flows.position.dtype
    scale = options.noise_std.to(dtype)
    scale_z = torch.where(options.noise_on_z, scale, 0.0)
    if explores_compiled(state):
        from energy_flow.simulation.backends.numba.exploration import explore

        return explore(state, scale, scale_z)
    step, key = (
        torch.stack((state.progress.step, options.sample_key))
        .index_select(1, flows.sample)
        .unbind(0)
    )
    seed = torch.stack((options.seed_low, options.seed_high))
    if len({cohort.seed for cohort in state.cohorts}) == 1:
        # One key for all flows: its schedule need not be computed for each of them.
        seed = seed[:, :1]
    else:
        seed = seed.index_select(1, flows.sample)
    noise = normals(flows.flow_id, step, key, seed, dtype)
    return noise * torch.stack((scale, scale, scale_z), dim=1).index_select(0, flows.sample)


def _converge(state: FlowState, ended: Tensor) -> tuple[SampleProgress, Tensor, Tensor | None]:
    """Rule 9: progress, outcome counts [B, 14], and which samples converged, if any may."""
    options, progress = state.options, state.progress
    completed = progress.completed + ended[:, : Count.STALLED_LOW].sum(dim=1)
    stalled = progress.stalled + ended[:, Count.STALLED_LOW] + ended[:, Count.STALLED_HIGH]
    progress = replace(progress, completed=completed, stalled=stalled)
    if not any(cohort.config.convergence.enabled for cohort in state.cohorts):
        return progress, ended, None
    checked = (
        options.converges & (progress.active > 0) & (progress.step + 1 >= options.convergence_from)
    )
    before = convergence.Checks(
        progress.checks, progress.window_sum, progress.stale, progress.history
    )
    checks, converged = convergence.check(
        before,
        checked,
        completed,
        progress.created,
        options.convergence_threshold,
        options.window,
        options.patience,
        options.min_improvement,
    )
    active = ended[:, Count.ACTIVE_LOW : Count.ACTIVE_HIGH + 1]
    moved = active * converged.unsqueeze(1).to(torch.int64)
    ended = torch.cat(
        (
            ended[:, : Count.CONVERGED_Z0],
            moved,
            ended[:, Count.MAX_STEPS_Z0 : Count.ACTIVE_LOW],
            active - moved,
            ended[:, Count.FAILED_LOW :],
        ),
        dim=1,
    )
    progress = replace(
        progress,
        completed=completed + moved.sum(dim=1),
        checks=checks.done,
        window_sum=checks.window_sum,
        stale=checks.stale,
        history=checks.history,
    )
    return progress, ended, converged


def _spawn(
    state: FlowState, length: Tensor, active_N: Tensor, active_B: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rule 10: children granted [N], granted before each [N + 1], spawned and suppressed [B]."""
    modes = {cohort.config.spawn.mode for cohort in state.cohorts}
    flows, options = state.flows, state.options
    if modes <= {SpawnMode.OFF}:
        none_N = torch.zeros_like(flows.flow_id)
        none_B = torch.zeros_like(active_B)
        return none_N, counted_before(none_N), none_B, none_B
    tau_B = options.spawn_threshold.to(length.dtype)
    if SpawnMode.PERCENTILE in modes:
        percentile_B = spawning.length_percentile(
            length, active_N, flows.sample, starts[:-1], active_B, options.spawn_percentile
        )
        by_percentile = options.spawn_mode == spawning.PERCENTILE
        tau_B = torch.where(by_percentile, torch.maximum(percentile_B, tau_B), tau_B)
    columns = torch.stack((options.spawn_mode, options.max_children))
    mode, max_children = columns.index_select(1, flows.sample).unbind(0)
    wanted = spawning.wanted_children(
        length, active_N, mode, tau_B.index_select(0, flows.sample), max_children
    )
    before = counted_before(wanted)
    wanted_B = per_sample(before, starts)
    room_B = options.active_limit - active_B
    columns = torch.stack((before.index_select(0, starts[:-1]), room_B))
    first, room = columns.index_select(1, flows.sample).unbind(0)
    granted = spawning.grant(wanted, before[:-1] - first, room)
    granted_before = counted_before(granted)
    spawned_B = per_sample(granted_before, starts)
    return granted, granted_before, spawned_B, wanted_B - spawned_B


def float_sums(state: FlowState, decided: Decisions) -> Tensor:
    """Float sums over each sample's flows, float64 [B, Sum], in the order of flow ids."""
    dz = decided.motion.displacement.detach()[:, 2].to(torch.float64)
    path = torch.where(decided.outcome == ACTIVE, 0.0, decided.path_length)
    columns = torch.stack(
        (decided.motion.length.detach().to(torch.float64), dz, dz * dz, path.to(torch.float64)),
        dim=1,
    )
    return torch.segment_reduce(columns, "sum", lengths=state.progress.active, axis=0, unsafe=True)
