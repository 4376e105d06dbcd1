"""Columns over the active flows and the samples of a pool.

Flows are sorted by (sample, flow id), so that everything counted within a sample is a difference of
two prefix sums (Blelloch, "Prefix sums and their applications", 1990).

Shape legend: N active flows, B samples, K kinds of records, V longest convergence window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from energy_flow.choices import Boundary, TraceKeep, TraceKind
from energy_flow.config.flow_config import FlowConfig
from energy_flow.runtime.packed_copy import copy_together


class _Columns:
    """Column-wise operations on a dataclass whose tensor fields share their first axis."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the columns with the same change to each."""
        changed = {name: change(column) for name, column in self._columns()}
        return replace(self, **changed)  # type: ignore[type-var]

    def take(self, index: Tensor) -> Self:
        """Return the rows at ``index``, int64."""
        return self.map(lambda column: column.index_select(0, index))

    def copy_to(self, device: torch.device) -> Self:
        """Return columns of the host on a device, by one copy."""
        names = [name for name, _ in self._columns()]
        moved = copy_together(self.tensors(), device)
        return replace(self, **dict(zip(names, moved, strict=True)))  # type: ignore[type-var]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return all rows of all parts, in order."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(**{named[0][0]: torch.cat([column for _, column in named]) for named in columns})

    def tensors(self) -> list[Tensor]:
        """Return the columns, in order."""
        return [column for _, column in self._columns()]

    def _columns(self) -> list[tuple[str, Tensor]]:
        return [(f.name, getattr(self, f.name)) for f in fields(self)]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Flows(_Columns):
    """Columns over active flows.

    Attributes:
        sample: row of the sample tables, int64 [N].
        flow_id: id within the sample, int64 [N].
        parent: id of the parent, -1 for an initial flow, int64 [N].
        position: in [-1, 1]³, float32 [N, 3].
        energy: float32 [N]; in (-1, 1) after the first step where ``energy_update`` is replace.
        age: steps taken, int64 [N].
        path_length: sum of displacement lengths, float32 [N].
    """

    sample: Tensor
    flow_id: Tensor
    parent: Tensor
    position: Tensor
    energy: Tensor
    age: Tensor
    path_length: Tensor


@dataclass(frozen=True, slots=True)
class SamplePlacement:
    """Samples with one config and seed, and where their results go.

    Attributes:
        config: of the run.
        seed: of the noise.
        sample_keys: of the noise, one for each sample.
        tally_start: the first one's tally slot; the others follow.
        ring_start: row of the first one's ring; the others follow.
    """

    config: FlowConfig
    seed: int
    sample_keys: Sequence[int]
    tally_start: int
    ring_start: int


@dataclass(frozen=True, slots=True)
class SampleOptions(_Columns):
    """What each sample was asked to do, constant as long as it is in the pool.

    Counts, limits, words and codes of modes are int64 [B], thresholds and other real numbers
    float64 [B], choices bool [B].

    Attributes:
        seed_low: low 32 bits of the seed.
        seed_high: high bits of the seed.
        sample_key: word of the noise's counter.
        displacement_scale: as in the config, as are those without a remark.
        max_displacement: on each axis.
        field_strength: κ.
        noise_std: standard deviation.
        noise_on_z: bool.
        clamp_walls: whether walls clamp instead of fold.
        min_displacement: 0 is off.
        age_limit: projection_age.
        step_limit: max_steps.
        spawn_mode: code of ``SpawnMode``.
        spawn_threshold: τ.
        spawn_percentile: in (0, 100).
        max_children: of one parent in one step.
        active_limit: max_active_flows.
        converges: whether convergence is checked.
        convergence_threshold: in (0, 1].
        convergence_from: min_steps.
        window: checks.
        patience: stale checks in a row.
        min_improvement: relative.
        aggregation: code of ``AggregationMode``.
        tally_slot: where the sample is tallied.
        ring_start: row of its ring.
        ring_capacity: records; 0 where nothing is traced.
        ring_latest: whether new records overwrite the oldest.
        ring_lossless: whether full rings are written out.
        trace_kinds: which kinds are recorded, bool [B, K].
    """

    seed_low: Tensor
    seed_high: Tensor
    sample_key: Tensor
    displacement_scale: Tensor
    max_displacement: Tensor
    field_strength: Tensor
    noise_std: Tensor
    noise_on_z: Tensor
    clamp_walls: Tensor
    min_displacement: Tensor
    age_limit: Tensor
    step_limit: Tensor
    spawn_mode: Tensor
    spawn_threshold: Tensor
    spawn_percentile: Tensor
    max_children: Tensor
    active_limit: Tensor
    converges: Tensor
    convergence_threshold: Tensor
    convergence_from: Tensor
    window: Tensor
    patience: Tensor
    min_improvement: Tensor
    aggregation: Tensor
    tally_slot: Tensor
    ring_start: Tensor
    ring_capacity: Tensor
    ring_latest: Tensor
    ring_lossless: Tensor
    trace_kinds: Tensor

    @classmethod
    def place(cls, placements: Sequence[SamplePlacement], device: torch.device) -> SampleOptions:
        """Return columns for the samples of one or more runs, in order."""
        counts = [len(one.sample_keys) for one in placements]
        within = np.concatenate([np.arange(count) for count in counts])

        def column(value: Callable[[FlowConfig], Any]) -> Tensor:
            return each([value(one.config) for one in placements])

        def each(values: Sequence[Any]) -> Tensor:
            # A column on the host at once: a tensor for each run and column takes far longer.
            return torch.from_numpy(np.repeat(np.array(values), counts, axis=0))

        index = torch.from_numpy(within)
        keys = [np.array(one.sample_keys, dtype=np.int64) for one in placements]
        ring_capacity = column(lambda config: config.ring_records)
        columns = cls(
            seed_low=each([one.seed & 0xFFFFFFFF for one in placements]),
            seed_high=each([one.seed >> 32 for one in placements]),
            sample_key=torch.from_numpy(np.concatenate(keys)),
            displacement_scale=column(lambda config: float(config.displacement_scale)),
            max_displacement=column(lambda config: float(config.max_displacement)),
            field_strength=column(lambda config: float(config.field_strength)),
            noise_std=column(lambda config: float(config.noise_std)),
            noise_on_z=column(lambda config: config.noise_on_z),
            clamp_walls=column(lambda config: config.boundary is Boundary.CLAMP),
            min_displacement=column(lambda config: float(config.min_displacement)),
            age_limit=column(lambda config: config.age_limit),
            step_limit=column(lambda config: config.step_limit),
            spawn_mode=column(lambda config: config.spawn.mode.code),
            spawn_threshold=column(lambda config: float(config.spawn.threshold)),
            spawn_percentile=column(lambda config: float(config.spawn.percentile)),
            max_children=column(lambda config: config.spawn.max_children),
            active_limit=column(lambda config: config.active_limit),
            converges=column(lambda config: config.convergence.enabled),
            convergence_threshold=column(lambda config: float(config.convergence.threshold)),
            convergence_from=column(lambda config: config.convergence.min_steps),
            window=column(lambda config: config.convergence.window),
            patience=column(lambda config: config.convergence.patience),
            min_improvement=column(lambda config: float(config.convergence.min_improvement)),
            aggregation=column(lambda config: config.aggregation_mode.code),
            tally_slot=each([one.tally_start for one in placements]) + index,
            ring_start=each([one.ring_start for one in placements]) + index * ring_capacity,
            ring_capacity=ring_capacity,
            ring_latest=column(lambda config: config.trace.keep is TraceKeep.LATEST),
            ring_lossless=column(lambda config: config.trace.keep is TraceKeep.LOSSLESS),
            trace_kinds=column(lambda config: [kind in config.trace.kinds for kind in TraceKind]),
        )
        return columns.copy_to(device)


@dataclass(frozen=True, slots=True)
class SampleProgress(_Columns):
    """How far each sample has come.

    Attributes:
        active: active flows, int64 [B].
        step: steps done, int64 [B].
        created: flows ever created, also the next flow id, int64 [B].
        completed: flows that were tallied, int64 [B].
        stalled: flows that ended without being tallied, int64 [B].
        records: the next ``seq``, int64 [B].
        checks: convergence checks done, int64 [B].
        window_sum: sum of the completed counts of the last ``window`` checks, int64 [B].
        stale: stale checks in a row, int64 [B].
        history: the completed counts of those checks, int64 [B, V].
    """

    active: Tensor
    step: Tensor
    created: Tensor
    completed: Tensor
    stalled: Tensor
    records: Tensor
    checks: Tensor
    window_sum: Tensor
    stale: Tensor
    history: Tensor

    @classmethod
    def start(cls, count: int, flows: int, window: int, device: torch.device) -> SampleProgress:
        """Return the progress before the first step.

        Args:
            count: B.
            flows: active flows of each sample.
            window: V.
            device: where the columns are kept.
        """
        zero = torch.zeros(count, dtype=torch.int64, device=device)
        full = torch.full_like(zero, flows)
        history = torch.zeros((count, window), dtype=torch.int64, device=device)
        return cls(full, zero, full, zero, zero, zero, zero, zero, zero, history)

    def with_window(self, window: int) -> SampleProgress:
        """Return the progress with room for windows of at least ``window`` checks."""
        missing = window - self.history.shape[1]
        if missing <= 0:
            return self
        return replace(self, history=torch.nn.functional.pad(self.history, (0, missing)))


def segment_starts(count_B: Tensor) -> Tensor:
    """Return the first row of each sample and the end of the last, int64 [B + 1]."""
    return torch.nn.functional.pad(count_B.cumsum(0), (1, 0))


def counted_before(count_N: Tensor) -> Tensor:
    """Return the sum of the rows before each row (exclusive), and of all rows, int64 [N + 1].

    Args:
        count_N: a count or a condition of each row, [N].
    """
    return torch.nn.functional.pad(count_N.cumsum(0), (1, 0))


def per_sample(counted: Tensor, starts: Tensor) -> Tensor:
    """Return sums per sample, int64 [B].

    Args:
        counted: from ``counted_before``, [N + 1].
        starts: from ``segment_starts``, [B + 1].
    """
    at = counted.index_select(0, starts)
    return at[1:] - at[:-1]


def before_in_sample(counted: Tensor, starts: Tensor, sample_N: Tensor) -> Tensor:
    """Return the sum of the rows before each row in its own sample (exclusive), int64 [N].

    Args:
        counted: from ``counted_before``, [N + 1].
        starts: from ``segment_starts``, [B + 1].
        sample_N: sample of each row, ascending, int64 [N].
    """
    first_B = counted.index_select(0, starts[:-1])
    return counted[:-1] - first_B.index_select(0, sample_N)
