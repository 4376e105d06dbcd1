"""``FlowState``: all active flows of all samples in a pool, as columns of tensors.

Shape legend: N active flows, B samples, L GRU layers, H hidden width, R rows of the stored hidden
state. Flows are sorted by (sample, flow id), so that everything counted within a sample is a prefix
sum over a contiguous range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from energy_flow.config.flow_config import (
    Aggregation,
    Boundary,
    FlowConfig,
    Keep,
    SpawnMode,
    TraceKind,
)

SPAWN_MODES = (SpawnMode.OFF, SpawnMode.THRESHOLD, SpawnMode.PERCENTILE)


class _Columns:
    """Column-wise operations on a dataclass whose tensor fields share their first axis."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same change to every column."""
        changed = {name: change(column) for name, column in self._columns()}
        return replace(self, **changed)  # type: ignore[type-var]

    def take(self, index: Tensor) -> Self:
        """The rows at ``index``."""
        return self.map(lambda column: column.index_select(0, index))

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        """All rows of all parts, in order."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(**{named[0][0]: torch.cat([column for _, column in named]) for named in columns})

    def tensors(self) -> list[Tensor]:
        """The columns, in order."""
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
        energy: in (-1, 1) after the first step, float32 [N].
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
class Placed:
    """Samples with one config and seed, and where their first tally slot and ring are."""

    config: FlowConfig
    seed: int
    sample_keys: Sequence[int]
    tally_start: int
    ring_start: int


@dataclass(frozen=True, slots=True)
class SampleOptions(_Columns):
    """What each sample was asked to do, constant over its life; columns [B].

    Counts, limits and words are int64, thresholds float64, choices bool.
    """

    seed_low: Tensor
    seed_high: Tensor
    sample_key: Tensor
    displacement_scale: Tensor
    max_displacement: Tensor
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
    legacy_tally: Tensor
    tally_slot: Tensor
    ring_start: Tensor
    ring_capacity: Tensor
    ring_latest: Tensor
    ring_lossless: Tensor
    trace_kinds: Tensor

    @classmethod
    def of(cls, placed: Sequence[Placed], device: torch.device) -> SampleOptions:
        """Columns for the samples of one or more runs, in order.

        Slots and rings of a run are given out consecutively.
        """
        counts = [len(one.sample_keys) for one in placed]
        within = np.concatenate([np.arange(count) for count in counts])

        def column(value: Callable[[FlowConfig], Any]) -> Tensor:
            return each([value(one.config) for one in placed])

        def each(values: Sequence[Any]) -> Tensor:
            # A column on the host at once: a tensor for each run and column takes far longer.
            return torch.from_numpy(np.repeat(np.array(values), counts, axis=0)).to(device)

        index = torch.from_numpy(within).to(device)
        keys = [np.array(one.sample_keys, dtype=np.int64) for one in placed]
        ring_capacity = column(lambda config: config.ring_records)
        return cls(
            seed_low=each([one.seed & 0xFFFFFFFF for one in placed]),
            seed_high=each([one.seed >> 32 for one in placed]),
            sample_key=torch.from_numpy(np.concatenate(keys)).to(device),
            displacement_scale=column(lambda config: float(config.displacement_scale)),
            max_displacement=column(lambda config: float(config.max_displacement)),
            noise_std=column(lambda config: float(config.noise_std)),
            noise_on_z=column(lambda config: config.noise_on_z),
            clamp_walls=column(lambda config: config.boundary is Boundary.CLAMP),
            min_displacement=column(lambda config: float(config.min_displacement)),
            age_limit=column(lambda config: config.age_limit),
            step_limit=column(lambda config: config.step_limit),
            spawn_mode=column(lambda config: SPAWN_MODES.index(config.spawn.mode)),
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
            legacy_tally=column(lambda config: config.aggregation_mode is Aggregation.LEGACY),
            tally_slot=each([one.tally_start for one in placed]) + index,
            ring_start=each([one.ring_start for one in placed]) + index * ring_capacity,
            ring_capacity=ring_capacity,
            ring_latest=column(lambda config: config.trace.keep is Keep.LATEST),
            ring_lossless=column(lambda config: config.trace.keep is Keep.LOSSLESS),
            trace_kinds=column(lambda config: [kind in config.trace.kinds for kind in TraceKind]),
        )


@dataclass(frozen=True, slots=True)
class SampleProgress(_Columns):
    """How far each sample has come; columns int64 [B].

    Attributes:
        active: its active flows. step: steps done. created: flows, also the next flow id.
        completed: flows that were tallied. stalled: flows that were not. records: the next ``seq``.
        checks: convergence checks done. window_sum: completed counts of the last ``window`` checks.
        stale: stale checks in a row. history: those counts, [B, widest window].
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
    def of(cls, count: int, initial: int, window: int, device: torch.device) -> SampleProgress:
        """Before the first step: every sample has ``initial`` active flows."""
        zero = torch.zeros(count, dtype=torch.int64, device=device)
        full = torch.full_like(zero, initial)
        history = torch.zeros((count, window), dtype=torch.int64, device=device)
        return cls(full, zero, full, zero, zero, zero, zero, zero, zero, history)

    def widened(self, window: int) -> SampleProgress:
        """With room for windows of at least ``window`` checks."""
        missing = window - self.history.shape[1]
        if missing <= 0:
            return self
        return replace(self, history=torch.nn.functional.pad(self.history, (0, missing)))


def segment_starts(count_B: Tensor) -> Tensor:
    """First row of each sample's range and the end of the last, int64 [B + 1]."""
    return torch.nn.functional.pad(count_B.cumsum(0), (1, 0))


def counted_before(mask_N: Tensor) -> Tensor:
    """How many are set before each row, and in all: int64 [N + 1]."""
    return torch.nn.functional.pad(mask_N.cumsum(0), (1, 0))


def per_sample(counted: Tensor, starts: Tensor) -> Tensor:
    """Counts per sample, int64 [B], from ``counted_before`` and ``segment_starts``."""
    at = counted.index_select(0, starts)
    return at[1:] - at[:-1]
