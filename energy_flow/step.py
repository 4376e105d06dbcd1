"""One step of a pool, as docs/simulation.md §3 numbers it.

Decisions first, all on the device; then the one transfer that tells the host how many flows ended,
survived and were born; then what follows from that, in arrays of exactly that size.

Shape legend: N flows before the step, B samples, C children, K records or scores, L GRU layers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from energy_flow.config import SpawnMode
from energy_flow.flow_state import (
    Flows,
    Hidden,
    SampleProgress,
    counted_before,
    per_sample,
    segment_starts,
)
from energy_flow.lattice import EnergyLattice, nearest_plane
from energy_flow.metrics import Count, StepReport, Sum
from energy_flow.networks import Proposals
from energy_flow.noise import normals
from energy_flow.pool import FlowState
from energy_flow.rules import convergence, spawning
from energy_flow.rules.motion import Motion, move
from energy_flow.rules.termination import ACTIVE, FAILED, OUTCOMES, Reason, end, is_tallied
from energy_flow.rules.walls import Walls, meet_walls
from energy_flow.tally import Scores, importance
from energy_flow.trace.records import REFLECT, SPAWN, TERMINATE
from energy_flow.trace.ring import NewRecords, RingBounds

OUTCOME_COUNTS = 2 * OUTCOMES


@dataclass(frozen=True, slots=True)
class _Decisions:
    """Everything decided about the flows of a step, on the device."""

    proposals: Proposals
    motion: Motion
    walls: Walls
    starts: Tensor
    age: Tensor
    path_length: Tensor
    plane: Tensor
    outcome: Tensor
    granted: Tensor
    granted_before: Tensor
    counts: Tensor
    progress: SampleProgress


@dataclass(frozen=True, slots=True)
class _Tracing:
    """Sequence numbers of a step's records, int64 [B] each.

    Attributes:
        first: of each kind. enabled: bool [B, kinds]. bounds: which survive. total: the next one.
        kept: surviving records of each kind in all samples, int64 [kinds].
    """

    first: tuple[Tensor, Tensor, Tensor]
    enabled: Tensor
    bounds: RingBounds
    total: Tensor
    kept: Tensor


def advance(state: FlowState, lattice: EnergyLattice) -> tuple[FlowState, StepReport]:
    """Moves every active flow of the pool once."""
    began = time.perf_counter()
    proposals = state.networks.propose(
        state.flows.position, state.flows.energy, state.hidden, state.plan
    )
    proposed = time.perf_counter()
    decided = _decide(state, proposals)
    tracing = _trace_numbers(state, decided)
    sums = _sums(state, decided)
    samples = decided.counts.shape[0]
    # The one transfer. Floats travel as the integers that have their bits.
    words = torch.cat(
        (decided.counts.reshape(-1), sums.view(torch.int64).reshape(-1), tracing.kept)
    )
    host = words.cpu().numpy()
    counts = host[: samples * len(Count)].reshape(samples, len(Count))
    kept = host[-3:].tolist()
    told = time.perf_counter()
    survivors = int(counts[:, Count.ACTIVE_LOW : Count.ACTIVE_HIGH + 1].sum())
    births = int(counts[:, Count.SPAWNED].sum())
    scores = int(counts[:, : Count.STALLED_LOW].sum())
    after = _emit(state, decided, tracing, lattice, survivors, births, scores, kept)
    active = counts[:, [Count.ACTIVE_LOW, Count.ACTIVE_HIGH, Count.SPAWNED]].sum(1)
    failed = counts[:, Count.FAILED_LOW : Count.FAILED_HIGH + 1].any()
    done = time.perf_counter()
    report = StepReport(
        counts=counts,
        sums=host[samples * len(Count) : -3].view(np.float64).reshape(samples, len(Sum)),
        active=active,
        failures=_failures(state, decided) if failed else (),
        network_ms=1e3 * (proposed - began),
        rules_ms=1e3 * (told - proposed),
        emit_ms=1e3 * (done - told),
    )
    return after, report


def _decide(state: FlowState, proposals: Proposals) -> _Decisions:
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
    return _Decisions(
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
    columns = torch.stack(
        (state.progress.step, options.sample_key, options.seed_low, options.seed_high)
    )
    step, key, *seed = columns.index_select(1, flows.sample).unbind(0)
    noise = normals(flows.flow_id, step, key, torch.stack(seed), dtype)
    scale = options.noise_std.to(dtype)
    scale_B3 = torch.stack((scale, scale, torch.where(options.noise_on_z, scale, 0.0)), dim=1)
    return noise * scale_B3.index_select(0, flows.sample)


def _converge(state: FlowState, ended: Tensor) -> tuple[SampleProgress, Tensor, Tensor | None]:
    """Rule 9: progress, outcome counts [B, 14], and which samples converged, if any may."""
    options, progress = state.options, state.progress
    completed = progress.completed + ended[:, : Count.STALLED_LOW].sum(dim=1)
    stalled = progress.stalled + ended[:, Count.STALLED_LOW] + ended[:, Count.STALLED_HIGH]
    progress = replace(progress, completed=completed, stalled=stalled)
    if not any(cohort.config.convergence.enabled for cohort in state.cohorts):
        return progress, ended, None
    checked = (
        options.converges
        & (progress.active > 0)
        & (progress.step + 1 >= options.convergence_from)
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


def _sums(state: FlowState, decided: _Decisions) -> Tensor:
    """Float sums over each sample's flows, float64 [B, Sum], in the order of flow ids."""
    dz = decided.motion.displacement.detach()[:, 2].to(torch.float64)
    path = torch.where(decided.outcome == ACTIVE, 0.0, decided.path_length)
    columns = torch.stack(
        (decided.motion.length.detach().to(torch.float64), dz, dz * dz, path.to(torch.float64)),
        dim=1,
    )
    return torch.segment_reduce(
        columns, "sum", lengths=state.progress.active, axis=0, unsafe=True
    )


def _trace_numbers(state: FlowState, decided: _Decisions) -> _Tracing:
    """Which sequence numbers the step's records take and which of them survive."""
    options, counts = state.options, decided.counts
    terminated = counts[:, : Count.ACTIVE_LOW].sum(dim=1)
    events = torch.stack((counts[:, Count.SPAWNED], counts[:, Count.REFLECTED], terminated), dim=1)
    enabled = options.trace_kinds & (options.ring_capacity > 0).unsqueeze(1)
    events = events * enabled.to(torch.int64)
    first_reflect = state.progress.records
    first_terminate = first_reflect + events[:, REFLECT]
    first_spawn = first_terminate + events[:, TERMINATE]
    total = first_spawn + events[:, SPAWN]
    bounds = RingBounds.of(total, options.ring_capacity, options.ring_latest)
    first = (first_spawn, first_reflect, first_terminate)
    kept = torch.stack(
        [bounds.overlap(first[kind], events[:, kind]).sum() for kind in (SPAWN, REFLECT, TERMINATE)]
    )
    return _Tracing(first, enabled, bounds, total, kept)


def _failures(state: FlowState, decided: _Decisions) -> tuple[tuple[int, int, int], ...]:
    rows = torch.nonzero(decided.outcome == FAILED).squeeze(1)
    sample = state.flows.sample.index_select(0, rows)
    step = state.progress.step.index_select(0, sample)
    flow = state.flows.flow_id.index_select(0, rows)
    first: dict[int, tuple[int, int, int]] = {}
    for row, *where in zip(sample.tolist(), flow.tolist(), step.tolist(), strict=True):
        first.setdefault(row, (row, *where))
    return tuple(first.values())


def _emit(
    state: FlowState,
    decided: _Decisions,
    tracing: _Tracing,
    lattice: EnergyLattice,
    survivors: int,
    births: int,
    scores: int,
    kept: list[int],
) -> FlowState:
    """What follows from the decisions: tally, trace, survivors and children."""
    flows, position = state.flows, decided.walls.position
    tallied = is_tallied(decided.outcome)
    # Flows that end are moved to their plane; those that reached it are there already.
    plane_z = (2 * decided.plane - 1).to(position.dtype)
    tally = state.tally
    if scores:
        index = torch.nonzero_static(tallied, size=scores).squeeze(1)
        ending = position.index_select(0, index)
        energy = decided.proposals.energy.index_select(0, index)
        sample = flows.sample.index_select(0, index)
        tally = tally.folded(
            Scores(
                slot=state.options.tally_slot.index_select(0, sample),
                plane=decided.plane.index_select(0, index),
                cell=lattice.cell_of(ending[:, 0].detach(), ending[:, 1].detach()),
                energy=energy,
                weight=importance(
                    energy, 1.0 - ending[:, 2].abs(), decided.age.index_select(0, index)
                ),
                legacy=state.options.legacy_tally.index_select(0, sample),
            )
        )
    parent = torch.repeat_interleave(
        torch.arange(flows.flow_id.shape[0], device=position.device),
        decided.granted,
        output_size=births,
    )
    child = torch.arange(births, device=position.device)
    child_sample = flows.sample.index_select(0, parent)
    born = segment_starts(decided.counts[:, Count.SPAWNED])
    child_id = (
        state.progress.created.index_select(0, child_sample)
        + child
        - born.index_select(0, child_sample)
    )
    if any(kept):
        _trace(state, decided, tracing, tallied, plane_z, kept, parent, child, child_id)
    index = torch.nonzero_static(decided.outcome == ACTIVE, size=survivors).squeeze(1)
    alive = Flows(
        sample=flows.sample.index_select(0, index),
        flow_id=flows.flow_id.index_select(0, index),
        parent=flows.parent.index_select(0, index),
        position=position.index_select(0, index),
        energy=decided.proposals.energy.index_select(0, index),
        age=decided.age.index_select(0, index),
        path_length=decided.path_length.index_select(0, index),
    )
    source = index
    if births:
        children = Flows(
            sample=child_sample,
            flow_id=child_id,
            parent=flows.flow_id.index_select(0, parent),
            position=flows.position.index_select(0, parent),
            energy=decided.proposals.energy.index_select(0, parent),
            age=torch.zeros_like(child_id),
            path_length=flows.path_length.new_zeros(births),
        )
        # Sorted by (sample, flow id) without sorting: a survivor comes after the children of
        # earlier samples, a child after the survivors of its own sample and of earlier ones.
        living = segment_starts(decided.progress.active - decided.counts[:, Count.SPAWNED])
        order = torch.empty(survivors + births, dtype=torch.int64, device=position.device)
        alive_at = torch.arange(survivors, device=position.device)
        order[alive_at + born.index_select(0, alive.sample)] = alive_at
        order[child + living.index_select(0, child_sample + 1)] = survivors + child
        alive = Flows.concatenated((alive, children)).take(order)
        source = torch.cat((index, parent)).index_select(0, order)
    return replace(
        state,
        flows=alive,
        hidden=Hidden(decided.proposals.rows, source),
        progress=replace(decided.progress, records=tracing.total),
        tally=tally,
    )


def _trace(
    state: FlowState,
    decided: _Decisions,
    tracing: _Tracing,
    tallied: Tensor,
    plane_z: Tensor,
    kept: list[int],
    parent: Tensor,
    child: Tensor,
    child_id: Tensor,
) -> None:
    """Writes the step's surviving records into the rings, in one scatter."""
    flows, options, bounds = state.flows, state.options, tracing.bounds

    def numbered(kind: int, sample: Tensor, rank: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sequence number, place and survival of events, from their rank in sample and kind."""
        low, high, first, start, capacity = (
            torch.stack(
                (
                    bounds.low,
                    bounds.high,
                    tracing.first[kind],
                    options.ring_start,
                    options.ring_capacity,
                )
            )
            .index_select(1, sample)
            .unbind(0)
        )
        seq = first + rank
        survives = (
            (seq >= low) & (seq < high) & tracing.enabled[:, kind].index_select(0, sample)
        )
        return seq, start + seq % capacity.clamp(min=1), survives

    def ranked(mask: Tensor) -> Tensor:
        before = counted_before(mask)
        first = before.index_select(0, decided.starts[:-1])
        return before[:-1] - first.index_select(0, flows.sample)

    position = decided.walls.position.detach()
    energy = decided.proposals.energy.detach()
    length = decided.motion.length.detach()
    batches = []
    if kept[REFLECT]:
        reflects = decided.walls.wall_bits > 0
        seq, place, survives = numbered(REFLECT, flows.sample, ranked(reflects))
        at = torch.nonzero_static(reflects & survives, size=kept[REFLECT]).squeeze(1)
        batches.append(
            _records(state, REFLECT, at, seq, place, decided.walls.wall_bits, None, position, energy, length)
        )
    if kept[TERMINATE]:
        ends = decided.outcome <= Reason.STALLED
        seq, place, survives = numbered(TERMINATE, flows.sample, ranked(ends))
        at = torch.nonzero_static(ends & survives, size=kept[TERMINATE]).squeeze(1)
        final_z = torch.where(tallied, plane_z, position[:, 2])
        final = torch.cat((position[:, :2], final_z.unsqueeze(1)), dim=1)
        plane = torch.where(tallied, decided.plane, -1)
        batches.append(
            _records(state, TERMINATE, at, seq, place, decided.outcome, plane, final, energy, length)
        )
    if kept[SPAWN]:
        sample = flows.sample.index_select(0, parent)
        born = segment_starts(decided.counts[:, Count.SPAWNED])
        seq, place, survives = numbered(SPAWN, sample, child - born.index_select(0, sample))
        at = torch.nonzero_static(survives, size=kept[SPAWN]).squeeze(1)
        of = parent.index_select(0, at)
        batches.append(
            NewRecords(
                place=place.index_select(0, at),
                seq=seq.index_select(0, at),
                step=state.progress.step.index_select(0, sample.index_select(0, at)),
                kind=SPAWN,
                flow=child_id.index_select(0, at),
                parent=flows.flow_id.index_select(0, of),
                code=(child.index_select(0, at) - decided.granted_before.index_select(0, of)),
                plane=torch.full_like(at, -1),
                position=flows.position.detach().index_select(0, of),
                energy=energy.index_select(0, of),
                length=length.index_select(0, of),
            )
        )
    state.ring.write(batches)


def _records(
    state: FlowState,
    kind: int,
    at: Tensor,
    seq: Tensor,
    place: Tensor,
    code: Tensor,
    plane: Tensor | None,
    position: Tensor,
    energy: Tensor,
    length: Tensor,
) -> NewRecords:
    """Records of the flows at the rows ``at``, from columns over all flows."""
    flows = state.flows
    return NewRecords(
        place=place.index_select(0, at),
        seq=seq.index_select(0, at),
        step=state.progress.step.index_select(0, flows.sample.index_select(0, at)),
        kind=kind,
        flow=flows.flow_id.index_select(0, at),
        parent=flows.parent.index_select(0, at),
        code=code.index_select(0, at),
        plane=torch.full_like(at, -1) if plane is None else plane.index_select(0, at),
        position=position.index_select(0, at),
        energy=energy.index_select(0, at),
        length=length.index_select(0, at),
    )
