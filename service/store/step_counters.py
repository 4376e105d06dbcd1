"""A run's telemetry of each step as counters beside its trace."""

from __future__ import annotations

from typing import Any

import orjson

from energy_flow.trace.formats import StepCounter
from service.store.stored_run import StoredRun


def step_counters(run: StoredRun) -> tuple[StepCounter, ...]:
    """Return the active flows and the memory after each step of a run.

    The chunks of a large run take their steps one after the other. Step t of a run is step t of
    all its chunks here: their flows are added, and the largest memory counts.

    Args:
        run: Files of a run that has ended.

    Returns:
        Counters by step; none for a run without telemetry.
    """
    if not run.has_document("memory"):
        return ()
    memory = orjson.loads(run.document("memory"))["steps"]
    steps = orjson.loads(run.document("profile"))["step_metrics"]
    active: dict[int, int] = {}
    host: dict[int, int] = {}
    device: dict[int, int] = {}
    for step, sample in zip(steps, memory, strict=False):
        number = step["step"]
        active[number] = active.get(number, 0) + step["active"]
        _set_largest(host, number, sample["host_rss_bytes"])
        _set_largest(device, number, sample["device_allocated_bytes"])
    counters = (
        StepCounter("active flows", "count", active),
        StepCounter("host memory", "bytes", host),
        StepCounter("device memory", "bytes", device),
    )
    return tuple(counter for counter in counters if counter.values)


def _set_largest(values: dict[int, int], step: int, value: Any) -> None:
    if value is not None:
        values[step] = max(values.get(step, 0), value)
