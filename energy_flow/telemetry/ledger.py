"""The ledger of a cohort: its counts over all steps, which must balance, and what each step did.

Shape legend: B samples of one cohort; [B, Count] and [B, Sum] have the columns of ``counters``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import FAILED
from energy_flow.errors import LedgerError
from energy_flow.telemetry.counters import (
    COUNT_COLUMNS,
    ENDED_COLUMNS,
    TALLIED_COLUMNS,
    Count,
    EventCounts,
    Sum,
    variance,
)
from energy_flow.telemetry.shallow_dict import shallow_dict
from energy_flow.trace.records import PLANES, REASONS


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the host reads of a step, in the one transfer.

    Attributes:
        counts: int64 [B, Count].
        sums: float64 [B, Sum].
        active: flows after the step, int64 [B].
        failures: sample row, flow id and step of the first flow of each sample for which the
            networks gave a number that is not finite.
        network_ms: milliseconds of the networks.
        rules_ms: of the rules, with the wait for the device.
        emit_ms: of the tally, the trace and the next state.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    active: NDArray[np.int64]
    failures: tuple[tuple[int, int, int], ...]
    network_ms: float
    rules_ms: float
    emit_ms: float

    @property
    def step_ms(self) -> float:
        """Return the milliseconds of the whole step."""
        return self.network_ms + self.rules_ms + self.emit_ms


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step of a run.

    Attributes:
        step: number, from 0.
        active: flows after the step.
        spawned: children.
        reflected: reflections.
        terminated: ended flows by reason.
        mean_length: mean length of the displacements; none where no flow moved.
        z_displacement_variance: population variance of d.z; none where no flow moved.
        step_ms: milliseconds.
    """

    step: int
    active: int
    spawned: int
    reflected: int
    terminated: Mapping[str, int]
    mean_length: float | None
    z_displacement_variance: float | None
    step_ms: float

    @classmethod
    def of(
        cls,
        step: int,
        counts: NDArray[np.int64],
        sums: NDArray[np.float64],
        active: int,
        step_ms: float,
    ) -> StepMetrics:
        """Return the metrics of a step.

        Args:
            step: number, from 0.
            counts: int64 [Count].
            sums: float64 [Sum].
            active: flows after the step.
            step_ms: milliseconds.
        """
        moved = int(counts[Count.MOVED])
        ended = counts[:ENDED_COLUMNS].reshape(-1, len(PLANES)).sum(1).tolist()
        return cls(
            step=step,
            active=active,
            spawned=int(counts[Count.SPAWNED]),
            reflected=int(counts[Count.REFLECTED]),
            terminated=dict(zip(REASONS, ended, strict=True)),
            mean_length=float(sums[Sum.LENGTH]) / moved if moved else None,
            z_displacement_variance=variance(sums, moved),
            step_ms=step_ms,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON data."""
        return shallow_dict(self)


def summarize_step(metrics: StepMetrics) -> str:
    """Return a line about a step, for people."""
    ended = ", ".join(f"{count} {reason}" for reason, count in metrics.terminated.items() if count)
    length = "-" if metrics.mean_length is None else f"{metrics.mean_length:.3f}"
    return (
        f"step {metrics.step}: {metrics.active} active, {metrics.spawned} spawned, "
        f"{metrics.reflected} reflected, ended {ended or 'none'}, mean length {length}, "
        f"{metrics.step_ms:.1f} ms"
    )


class Ledger:
    """Counts of a cohort of samples over its steps.

    Args:
        samples: B.
        initial: flows that each sample starts with.

    Attributes:
        initial: flows that each sample started with.
        counts: over all steps, int64 [B, Count].
        sums: over all steps, float64 [B, Sum].
        steps: of each sample, int64 [B].
        active: flows of each sample after the last step, int64 [B].
        active_flows: flows of all samples after the last step.
        history: every step.
    """

    def __init__(self, samples: int, initial: int) -> None:
        self.initial = initial
        self.counts = np.zeros((samples, COUNT_COLUMNS), dtype=np.int64)
        self.sums = np.zeros((samples, len(Sum)), dtype=np.float64)
        self.steps = np.zeros(samples, dtype=np.int64)
        self.active = np.full(samples, initial, dtype=np.int64)
        self.active_flows = samples * initial
        self.history: list[StepMetrics] = []

    def add(
        self,
        counts: NDArray[np.int64],
        sums: NDArray[np.float64],
        active: NDArray[np.int64],
        step_ms: float,
    ) -> StepMetrics:
        """Enter one step.

        Args:
            counts: int64 [B, Count].
            sums: float64 [B, Sum].
            active: flows after the step, int64 [B].
            step_ms: milliseconds.

        Raises:
            LedgerError: created ≠ active + completed + stalled for a sample.
        """
        self.counts += counts
        self.sums += sums
        self.steps += counts[:, Count.MOVED] > 0
        self.active, self.active_flows = active, int(active.sum())
        self._check()
        step = StepMetrics.of(
            len(self.history), counts.sum(0), sums.sum(0), self.active_flows, step_ms
        )
        self.history.append(step)
        return step

    def _check(self) -> None:
        created = self.initial + self.counts[:, Count.SPAWNED]
        ended = self.counts[:, :ENDED_COLUMNS].sum(1)
        failed = len(PLANES) * FAILED
        ended += self.counts[:, failed : failed + len(PLANES)].sum(1)
        wrong = created != self.active + ended
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise LedgerError(
                f"sample {row}: {created[row]} flows were created, but {self.active[row]} are "
                f"active and {ended[row]} have ended"
            )

    def check_hits(self, hits: NDArray[np.int64]) -> None:
        """Check that Σ hits = completed for every sample.

        Args:
            hits: scores of each sample, int64 [B].

        Raises:
            LedgerError: a sample does not balance.
        """
        completed = self.counts[:, :TALLIED_COLUMNS].sum(1)
        if not np.array_equal(hits, completed):
            row = int(np.flatnonzero(hits != completed)[0])
            raise LedgerError(
                f"sample {row}: {completed[row]} flows completed, but there are {hits[row]} hits"
            )

    def trace_totals(self) -> NDArray[np.int64]:
        """Return the events of each sample by kind, recorded or not, int64 [B, 3]."""
        return events_by_kind(self.counts)

    def sample(self, row: int, trace_overflow: bool) -> EventCounts:
        """Return what was counted of one sample.

        Args:
            row: of the cohort.
            trace_overflow: whether its ring lost records.
        """
        return EventCounts(
            self.initial,
            self.counts[row].copy(),
            self.sums[row].copy(),
            int(self.steps[row]),
            trace_overflow,
        )


def events_by_kind(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the events of which a trace has records, by kind, int64 [B, 3].

    Args:
        counts: int64 [B, Count].
    """
    ended = counts[:, :ENDED_COLUMNS].sum(1)
    return np.stack((counts[:, Count.SPAWNED], counts[:, Count.REFLECTED], ended), axis=1)
