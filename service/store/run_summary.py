"""The sums, means and maxima of a run, computed from its chunks.

A chunk is plain JSON data, so that the same code summarises a run that ends and one that a crash
interrupted, of which only the lines in its folder are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.counters import Count, Counters, EventCounts, RunMetrics

# Steps that are listed one by one. Means, maxima and counts include all steps.
MAX_LISTED_STEPS = 10_000

_COUNTERS = ("totals", "recorded", "dropped")


def describe_chunk(first_sample: int, result: SimulationResult) -> dict[str, Any]:
    """Return a chunk as JSON data, without its outputs and trace records.

    Args:
        first_sample: Row of the chunk's first sample in the run.
        result: Results of the chunk.
    """
    each = [sample.events for sample in result.samples]
    return {
        "first_sample": first_sample,
        "samples": [sample.to_dict() for sample in result.samples],
        "initial": [events.initial for events in each],
        "counts": np.array([events.counts for events in each], dtype=np.int64),
        "sums": np.array([events.sums for events in each], dtype=np.float64),
        "trace_overflow": [events.trace_overflow for events in each],
        "memory": result.memory.to_dict(),
        "profile": result.profile.to_dict(),
        "step_metrics": [step.to_dict() for step in result.steps],
        "trace": {name: dict(getattr(result.trace, name)) for name in _COUNTERS},
        "warnings": list(result.warnings),
    }


class RunSummary:
    """The sums, means and maxima over the chunks of a run.

    Attributes:
        samples_done: Samples of all chunks.
        warnings: Each warning once.
        trace: Numbers of trace records by counter and kind; ``None`` before the first chunk.
        memory: Telemetry of memory; ``None`` before the first chunk.
        profile: Telemetry of time; ``None`` before the first chunk.
        records: Number of trace records by first sample, of each chunk that has any.
    """

    def __init__(self) -> None:
        self.samples_done = 0
        self.records: dict[int, int] = {}
        self.warnings: list[str] = []
        self.trace: dict[str, Any] | None = None
        self.memory: dict[str, Any] | None = None
        self.profile: dict[str, Any] | None = None
        self._parts: list[EventCounts] = []
        self._sums: list[NDArray[np.float64]] = []
        self._metrics: dict[str, Any] | None = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the next chunk.

        Args:
            record: The chunk as :func:`describe_chunk` returns it.
        """
        samples = record["samples"]
        self._metrics = None
        self.samples_done += len(samples)
        recorded = sum(record["trace"]["recorded"].values())
        if recorded:
            self.records[record["first_sample"]] = recorded
        self.warnings += [text for text in record["warnings"] if text not in self.warnings]
        sums = np.asarray(record["sums"], dtype=np.float64)
        self._sums.append(sums)
        counts = np.asarray(record["counts"], dtype=np.int64).sum(0)
        steps = max(sample["steps"] for sample in samples)
        overflow = any(record["trace_overflow"])
        self._parts.append(EventCounts(sum(record["initial"]), counts, sums[0], steps, overflow))
        added = {**record["profile"], "step_metrics": record["step_metrics"]}
        if self.memory is None or self.profile is None or self.trace is None:
            self.memory, self.profile, self.trace = record["memory"], added, record["trace"]
        else:
            self.memory = _merge_memory(self.memory, record["memory"])
            self.profile = _merge_profile(self.profile, added)
            self.trace = {
                name: {kind: count + record["trace"][name][kind] for kind, count in kinds.items()}
                for name, kinds in self.trace.items()
            }

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of the run; ``None`` before the first chunk.

        Except for step times, they do not depend on how the run was cut into chunks.
        """
        if not self._parts or self.profile is None:
            return None
        if self._metrics is None:
            total = EventCounts.total(self._parts)
            total = replace(
                total, sums=np.array([fsum(column) for column in np.concatenate(self._sums).T])
            )
            mean, largest = self.profile["mean"], self.profile["max"]
            metrics = RunMetrics(Counters.of(total), mean["step_ms"], largest["step_ms"])
            self._metrics = metrics.to_dict()
        return self._metrics

    @property
    def flow_steps(self) -> int:
        """Number of steps of single flows."""
        return sum(int(part.counts[Count.MOVED]) for part in self._parts)

    @property
    def documents(self) -> dict[str, Any]:
        """Telemetry by the name of the file that keeps it."""
        named = {"memory": self.memory, "profile": self.profile}
        return {name: document for name, document in named.items() if document is not None}


def _merge_memory(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    device = dict(right["device"])
    device["peak_bytes"] = _largest(left["device"]["peak_bytes"], device["peak_bytes"])
    host = dict(right["host"])
    host["peak_rss_bytes"] = _largest(left["host"]["peak_rss_bytes"], host["peak_rss_bytes"])
    first = left["steps"][-1]["step"] + 1 if left["steps"] else 0
    room = MAX_LISTED_STEPS - len(left["steps"])
    added = [{**step, "step": first + number} for number, step in enumerate(right["steps"][:room])]
    return {
        **right,
        "device": device,
        "host": host,
        "state_bytes": max(left["state_bytes"], right["state_bytes"]),
        "trace_bytes": max(left["trace_bytes"], right["trace_bytes"]),
        "predicted_bytes": max(left["predicted_bytes"], right["predicted_bytes"]),
        "steps": left["steps"] + added,
    }


def _merge_profile(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    steps = (left["steps"], right["steps"])
    room = max(MAX_LISTED_STEPS - left["steps"], 0)
    return {
        "steps": sum(steps),
        "mean": {
            name: _mean(value, right["mean"][name], *steps) for name, value in left["mean"].items()
        },
        "max": {name: _largest(value, right["max"][name]) for name, value in left["max"].items()},
        "per_step": {
            name: values + right["per_step"][name][:room]
            for name, values in left["per_step"].items()
        },
        "step_metrics": left["step_metrics"] + right["step_metrics"][:room],
    }


def _mean(
    left: float | None, right: float | None, left_weight: int, right_weight: int
) -> float | None:
    if left is None or not left_weight:
        return right
    if right is None or not right_weight:
        return left
    return (left * left_weight + right * right_weight) / (left_weight + right_weight)


def _largest(left: float | None, right: float | None) -> float | None:
    return max((value for value in (left, right) if value is not None), default=None)
