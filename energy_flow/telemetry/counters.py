"""Counters and metrics: of a step, a sample and a run; and the ledger that must always balance.

Shape legend: B samples of one cohort, C counters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.errors import LedgerError
from energy_flow.trace.records import PLANES, REASONS

TALLIED = REASONS[:-1]


class Count(IntEnum):
    """Columns of what a step counts of each sample.

    The first fourteen are outcome * 2 + plane, in the order of ``rules.termination``; the plane
    of a flow that reaches none is the nearest.
    """

    PLANE_Z0 = 0
    PLANE_ZDEPTH = 1
    PROJECTED_Z0 = 2
    PROJECTED_ZDEPTH = 3
    CONVERGED_Z0 = 4
    CONVERGED_ZDEPTH = 5
    MAX_STEPS_Z0 = 6
    MAX_STEPS_ZDEPTH = 7
    STALLED_LOW = 8
    STALLED_HIGH = 9
    ACTIVE_LOW = 10
    ACTIVE_HIGH = 11
    FAILED_LOW = 12
    FAILED_HIGH = 13
    REFLECTED = 14
    SPAWNED = 15
    SUPPRESSED = 16
    ENDED_AGE = 17
    MOVED = 18


class Sum(IntEnum):
    """Columns of what a step sums over the flows it moved, float64, in the order of flow ids."""

    LENGTH = 0
    DZ = 1
    DZ_SQUARED = 2
    ENDED_PATH = 3


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the host learns of a step, in the one transfer.

    Attributes:
        counts: int64 [B, Count]. sums: float64 [B, Sum]. active: flows after the step, [B].
        failures: sample row, flow id and step of the first flow of each sample for which the
            networks gave a number that is not finite.
        network_ms, rules_ms, emit_ms: proposing; deciding, with the wait for the device; the rest.
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
        """The whole step."""
        return self.network_ms + self.rules_ms + self.emit_ms


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step of a run; ``active`` is counted after it."""

    step: int
    active: int
    spawned: int
    reflected: int
    terminated: Mapping[str, int]
    mean_length: float | None
    z_displacement_variance: float | None
    step_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "step": self.step,
            "active": self.active,
            "spawned": self.spawned,
            "reflected": self.reflected,
            "terminated": dict(self.terminated),
            "mean_length": self.mean_length,
            "z_displacement_variance": self.z_displacement_variance,
            "step_ms": self.step_ms,
        }


def summarize_step(metrics: StepMetrics) -> str:
    """One line for people."""
    ended = ", ".join(f"{count} {reason}" for reason, count in metrics.terminated.items() if count)
    length = "-" if metrics.mean_length is None else f"{metrics.mean_length:.3f}"
    return (
        f"step {metrics.step}: {metrics.active} active, {metrics.spawned} spawned, "
        f"{metrics.reflected} reflected, ended {ended or 'none'}, mean length {length}, "
        f"{metrics.step_ms:.1f} ms"
    )


@dataclass(frozen=True, slots=True)
class Counters:
    """What happened to the flows of one sample or of a whole run.

    Attributes:
        initial: flows that the mapper started.
        counts: int64 [Count]. sums: float64 [Sum]. Both over all steps.
        steps: of the longest sample.
        trace_overflow: whether a ring lost records.
    """

    initial: int
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    steps: int
    trace_overflow: bool

    @classmethod
    def total(cls, samples: Sequence[Counters]) -> Counters:
        """The counters of disjoint samples together.

        Floats are summed exactly, so that it does not matter how a run was cut into parts.
        """
        if len(samples) == 1:
            return samples[0]
        sums = [math.fsum(column) for column in zip(*(one.sums for one in samples), strict=True)]
        return cls(
            sum(one.initial for one in samples),
            np.sum([one.counts for one in samples], axis=0, dtype=np.int64),
            np.array(sums, dtype=np.float64),
            max(one.steps for one in samples),
            any(one.trace_overflow for one in samples),
        )

    @property
    def spawned(self) -> int:
        """Children born."""
        return int(self.counts[Count.SPAWNED])

    @property
    def stalled(self) -> int:
        """Flows that ended without being tallied."""
        return int(self.counts[Count.STALLED_LOW] + self.counts[Count.STALLED_HIGH])

    @property
    def exits(self) -> dict[str, dict[str, int]]:
        """Tallied flows by plane and then by reason."""
        return _exits(self.counts.tolist())

    @property
    def ended(self) -> int:
        """Flows that ended, tallied or stalled."""
        return self.completed + self.stalled

    @property
    def flow_steps(self) -> int:
        """Moves of one flow by one step."""
        return int(self.counts[Count.MOVED])

    @property
    def mean_path_steps(self) -> float | None:
        """Mean age of the flows that ended, stalled ones included."""
        ended = self.ended
        return int(self.counts[Count.ENDED_AGE]) / ended if ended else None

    @property
    def mean_path_length(self) -> float | None:
        """Mean path length of the flows that ended, stalled ones included."""
        ended = self.ended
        return float(self.sums[Sum.ENDED_PATH]) / ended if ended else None

    @property
    def overflow(self) -> tuple[str, ...]:
        """What ran out."""
        return _overflow(int(self.counts[Count.SUPPRESSED]), self.trace_overflow)

    @property
    def created(self) -> int:
        """Flows there ever were."""
        return self.initial + self.spawned

    @property
    def completed(self) -> int:
        """Flows that were tallied."""
        return sum(self.counts[: Count.STALLED_LOW].tolist())

    @property
    def planes(self) -> dict[str, int]:
        """Tallied flows by plane."""
        tallied = self.counts[: Count.STALLED_LOW].tolist()
        return {plane: sum(tallied[side :: len(PLANES)]) for side, plane in enumerate(PLANES)}

    @property
    def terminated(self) -> dict[str, int]:
        """Ended flows by reason."""
        return _terminated(self.counts.tolist())

    @property
    def completion_ratio(self) -> float:
        """completed / created."""
        return self.completed / self.created if self.created else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        # Every sample of every run is told, so nothing here is worked out twice, and all of it in
        # plain numbers, which are at hand ten times sooner than those of an array.
        counts: list[int] = self.counts.tolist()
        exits = _exits(counts)
        planes = {plane: sum(reasons.values()) for plane, reasons in exits.items()}
        stalled = counts[Count.STALLED_LOW] + counts[Count.STALLED_HIGH]
        completed, spawned, moved = sum(planes.values()), counts[Count.SPAWNED], counts[Count.MOVED]
        ended, created = completed + stalled, self.initial + spawned
        path = float(self.sums[Sum.ENDED_PATH])
        return {
            "created": created,
            "initial": self.initial,
            "spawned": spawned,
            "completed": completed,
            "stalled": stalled,
            "terminated": _terminated(counts),
            "planes": planes,
            "exits": exits,
            "reflected": counts[Count.REFLECTED],
            "spawns_suppressed": counts[Count.SUPPRESSED],
            "steps": self.steps,
            "flow_steps": moved,
            "mean_path_steps": counts[Count.ENDED_AGE] / ended if ended else None,
            "mean_path_length": path / ended if ended else None,
            "z_displacement_variance": _variance(self.sums, moved),
            "completion_ratio": completed / created if created else 0.0,
            "overflow": list(_overflow(counts[Count.SUPPRESSED], self.trace_overflow)),
        }


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """The counters of one sample, with its row in the request and its key."""

    sample: int
    sample_key: int
    counters: Counters

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "sample": self.sample,
            "sample_key": self.sample_key,
            **self.counters.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The counters of a run with its step times, in milliseconds."""

    counters: Counters
    mean_step_ms: float | None
    max_step_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            **self.counters.to_dict(),
            "mean_step_ms": self.mean_step_ms,
            "max_step_ms": self.max_step_ms,
        }


class Ledger:
    """Counts of a cohort of samples over its steps; refuses to go on when they do not balance.

    Attributes:
        initial: flows that each sample started with. steps: of each sample, [B].
        counts, sums: over all steps, [B, Count] and [B, Sum].
        active: flows of each sample after the last step, [B]. active_flows: all of them.
        history: every step.
    """

    def __init__(self, samples: int, initial: int) -> None:
        self.initial = initial
        self.counts = np.zeros((samples, len(Count)), dtype=np.int64)
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
        """Enters one step.

        Args:
            counts: [B, Count]. sums: [B, Sum]. active: flows in the pool after the step, [B].

        Raises:
            LedgerError: when created ≠ active + completed + stalled for a sample.
        """
        self.counts += counts
        self.sums += sums
        self.steps += counts[:, Count.MOVED] > 0
        self.active, self.active_flows = active, int(active.sum())
        self._check()
        step = _step_metrics(
            len(self.history), counts.sum(0), sums.sum(0), self.active_flows, step_ms
        )
        self.history.append(step)
        return step

    def _check(self) -> None:
        created = self.initial + self.counts[:, Count.SPAWNED]
        ended = self.counts[:, : Count.ACTIVE_LOW].sum(1)
        ended += self.counts[:, Count.FAILED_LOW : Count.FAILED_HIGH + 1].sum(1)
        wrong = created != self.active + ended
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise LedgerError(
                f"sample {row}: {created[row]} flows were created, but {self.active[row]} are "
                f"active and {ended[row]} have ended"
            )

    def check_hits(self, hits: NDArray[np.int64]) -> None:
        """Σ hits = completed, for every sample.

        Raises:
            LedgerError: otherwise.
        """
        completed = self.counts[:, : Count.STALLED_LOW].sum(1)
        if not np.array_equal(hits, completed):
            row = int(np.flatnonzero(hits != completed)[0])
            raise LedgerError(f"sample {row}: {completed[row]} flows completed, {hits[row]} hits")

    def trace_totals(self) -> NDArray[np.int64]:
        """Events of each sample by kind, int64 [B, 3], whether recorded or not."""
        return events_by_kind(self.counts)

    def sample(self, row: int, trace_overflow: bool) -> Counters:
        """The counters of one sample."""
        return Counters(
            self.initial,
            self.counts[row].copy(),
            self.sums[row].copy(),
            int(self.steps[row]),
            trace_overflow,
        )


def events_by_kind(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Events that a trace has records of, by ``records.KINDS``: int64 [B, 3].

    Args:
        counts: int64 [B, Count].
    """
    ended = counts[:, : Count.ACTIVE_LOW].sum(1)
    return np.stack((counts[:, Count.SPAWNED], counts[:, Count.REFLECTED], ended), axis=1)


def _step_metrics(
    step: int,
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    active: int,
    step_ms: float,
) -> StepMetrics:
    moved = int(counts[Count.MOVED])
    ended = counts[: Count.ACTIVE_LOW].reshape(-1, 2).sum(1).tolist()
    return StepMetrics(
        step=step,
        active=active,
        spawned=int(counts[Count.SPAWNED]),
        reflected=int(counts[Count.REFLECTED]),
        terminated=dict(zip(REASONS, ended, strict=True)),
        mean_length=float(sums[Sum.LENGTH]) / moved if moved else None,
        z_displacement_variance=_variance(sums, moved),
        step_ms=step_ms,
    )


def _exits(counts: Sequence[int]) -> dict[str, dict[str, int]]:
    tallied = counts[: Count.STALLED_LOW]
    return {
        plane: dict(zip(TALLIED, tallied[side :: len(PLANES)], strict=True))
        for side, plane in enumerate(PLANES)
    }


def _terminated(counts: Sequence[int]) -> dict[str, int]:
    return {reason: counts[2 * code] + counts[2 * code + 1] for code, reason in enumerate(REASONS)}


def _overflow(suppressed: int, trace_overflow: bool) -> tuple[str, ...]:
    full = (suppressed > 0, trace_overflow)
    names = ("spawn_capacity", "trace_capacity")
    return tuple(name for name, ran_out in zip(names, full, strict=True) if ran_out)


def _variance(sums: NDArray[np.float64], moved: int) -> float | None:
    """Population variance of d.z, from sums over ``moved`` displacements."""
    if not moved:
        return None
    mean = float(sums[Sum.DZ]) / moved
    variance = float(sums[Sum.DZ_SQUARED]) / moved - mean * mean
    return max(variance, 0.0) if math.isfinite(variance) else None
