"""Counters of samples and runs, and the columns that a step counts.

Shape legend: B samples of one cohort.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import OUTCOMES, TALLIED, Overflow, Plane, Reason
from energy_flow.trace.records import PLANES, REASONS

OUTCOME_COLUMNS: Final = len(Plane) * OUTCOMES
"""Columns of outcomes, which come first in what a step counts of each sample.

Each outcome (the code of a reason, ``ACTIVE`` or ``FAILED``) has a column for each plane. The plane
of a flow that reaches none is the nearest.
"""
TALLIED_COLUMNS: Final = len(Plane) * len(TALLIED)
"""Those of the outcomes with which a flow is tallied."""
ENDED_COLUMNS: Final = len(Plane) * len(Reason)
"""Those of the outcomes with which a flow has ended, without failures."""


class Count(IntEnum):
    """Columns that follow those of the outcomes."""

    REFLECTED = OUTCOME_COLUMNS
    SPAWNED = OUTCOME_COLUMNS + 1
    SUPPRESSED = OUTCOME_COLUMNS + 2
    ENDED_AGE = OUTCOME_COLUMNS + 3
    MOVED = OUTCOME_COLUMNS + 4


COUNT_COLUMNS: Final = OUTCOME_COLUMNS + len(Count)
"""All columns of what a step counts; [B, Count] stands for their axes."""


class Sum(IntEnum):
    """Columns of what a step sums over the flows it moved, float64, in the order of flow ids."""

    LENGTH = 0
    DZ = 1
    DZ_SQUARED = 2
    ENDED_PATH = 3


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What was counted of one sample or of a whole run, over all steps.

    Attributes:
        initial: flows that the mapper started.
        counts: int64 [Count].
        sums: float64 [Sum].
        steps: steps, of a run those of its longest sample.
        trace_overflow: whether a ring lost records.
    """

    initial: int
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    steps: int
    trace_overflow: bool

    @classmethod
    def total(cls, parts: Sequence[Self]) -> Self:
        """Return the counts of disjoint samples together.

        Floats are summed exactly, so that the result does not depend on how a run was split.
        """
        if len(parts) == 1:
            return parts[0]
        sums = [math.fsum(column) for column in zip(*(part.sums for part in parts), strict=True)]
        return cls(
            sum(part.initial for part in parts),
            np.sum([part.counts for part in parts], axis=0, dtype=np.int64),
            np.array(sums, dtype=np.float64),
            max(part.steps for part in parts),
            any(part.trace_overflow for part in parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the counters as plain JSON data; :class:`Counters` describes them."""
        # Plain numbers are read ten times sooner than those of an array.
        counts: list[int] = self.counts.tolist()
        exits = _exits(counts)
        planes = {plane: sum(reasons.values()) for plane, reasons in exits.items()}
        completed, spawned, moved = sum(planes.values()), counts[Count.SPAWNED], counts[Count.MOVED]
        stalled = sum(counts[TALLIED_COLUMNS:ENDED_COLUMNS])
        ended, created = completed + stalled, self.initial + spawned
        return {
            "created": created,
            "initial": self.initial,
            "spawned": spawned,
            "completed": completed,
            "stalled": stalled,
            "terminated": {
                reason: sum(counts[len(PLANES) * code : len(PLANES) * (code + 1)])
                for code, reason in enumerate(REASONS)
            },
            "planes": planes,
            "exits": exits,
            "reflected": counts[Count.REFLECTED],
            "spawns_suppressed": counts[Count.SUPPRESSED],
            "steps": self.steps,
            "flow_steps": moved,
            "mean_path_steps": counts[Count.ENDED_AGE] / ended if ended else None,
            "mean_path_length": float(self.sums[Sum.ENDED_PATH]) / ended if ended else None,
            "z_displacement_variance": variance(self.sums, moved),
            "completion_ratio": completed / created if created else 0.0,
            "overflow": list(_overflow(counts[Count.SUPPRESSED] > 0, self.trace_overflow)),
        }


@dataclass(frozen=True, slots=True)
class Counters:
    """What happened to the flows of one sample or of a whole run.

    Attributes:
        created: flows that ever existed.
        initial: flows that the mapper started.
        spawned: children.
        completed: flows that were tallied.
        stalled: flows that ended without being tallied.
        terminated: ended flows by reason.
        planes: tallied flows by plane.
        exits: tallied flows by plane and then by reason.
        reflected: reflections.
        spawns_suppressed: children that did not fit.
        steps: steps, of a run those of its longest sample.
        flow_steps: moves of one flow by one step.
        mean_path_steps: mean age of the flows that ended; none where none has.
        mean_path_length: mean path length of the flows that ended; none where none has.
        z_displacement_variance: population variance of d.z; none where no flow moved.
        completion_ratio: completed / created.
        overflow: names of ``choices.Overflow``.
        events: what the others are computed from.
    """

    created: int
    initial: int
    spawned: int
    completed: int
    stalled: int
    terminated: Mapping[str, int]
    planes: Mapping[str, int]
    exits: Mapping[str, Mapping[str, int]]
    reflected: int
    spawns_suppressed: int
    steps: int
    flow_steps: int
    mean_path_steps: float | None
    mean_path_length: float | None
    z_displacement_variance: float | None
    completion_ratio: float
    overflow: tuple[str, ...]
    events: EventCounts = field(repr=False)

    @classmethod
    def of(cls, events: EventCounts) -> Self:
        """Return the counters of what was counted."""
        values = events.to_dict()
        return cls(**{**values, "overflow": tuple(values["overflow"])}, events=events)

    @classmethod
    def total(cls, parts: Sequence[Self]) -> Self:
        """Return the counters of disjoint samples together."""
        if len(parts) == 1:
            return parts[0]
        return cls.of(EventCounts.total([part.events for part in parts]))

    @property
    def ended(self) -> int:
        """Return how many flows ended, tallied or stalled."""
        return self.completed + self.stalled

    def to_dict(self) -> dict[str, Any]:
        """Return the counters as plain JSON data, without ``events``."""
        return self.events.to_dict()


@dataclass(frozen=True, slots=True)
class SampleMetrics:
    """The counters of one sample.

    Attributes:
        sample: row in the request.
        sample_key: key of its noise.
        events: what was counted.
    """

    sample: int
    sample_key: int
    events: EventCounts

    @property
    def counters(self) -> Counters:
        """Return the counters, made when they are read: a run can have many short samples."""
        return Counters.of(self.events)

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON data."""
        return {
            "sample": self.sample,
            "sample_key": self.sample_key,
            **self.events.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The counters of a run with its step times.

    Attributes:
        counters: of all samples.
        mean_step_ms: milliseconds; none where there was no step.
        max_step_ms: likewise.
    """

    counters: Counters
    mean_step_ms: float | None
    max_step_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON data."""
        return {
            **self.counters.to_dict(),
            "mean_step_ms": self.mean_step_ms,
            "max_step_ms": self.max_step_ms,
        }


def variance(sums: NDArray[np.float64], moved: int) -> float | None:
    """Return the population variance of d.z.

    Args:
        sums: float64 [Sum].
        moved: how many displacements were summed.
    """
    if not moved:
        return None
    mean = float(sums[Sum.DZ]) / moved
    spread = float(sums[Sum.DZ_SQUARED]) / moved - mean * mean
    return max(spread, 0.0) if math.isfinite(spread) else None


def _exits(counts: Sequence[int]) -> dict[str, dict[str, int]]:
    tallied, reasons = counts[:TALLIED_COLUMNS], REASONS[: len(TALLIED)]
    return {
        plane: dict(zip(reasons, tallied[side :: len(PLANES)], strict=True))
        for side, plane in enumerate(PLANES)
    }


def _overflow(spawns: bool, trace: bool) -> tuple[str, ...]:
    found = ((Overflow.SPAWN_CAPACITY, spawns), (Overflow.TRACE_CAPACITY, trace))
    return tuple(what.value for what, ran_out in found if ran_out)
