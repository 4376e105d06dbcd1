"""What a run's telemetry says of each step, as counters beside its trace."""

from __future__ import annotations

from typing import Any

import orjson

from energy_flow.trace.formats import StepCounter
from service.store.run_folder import RunFolder


def step_counters(folder: RunFolder) -> tuple[StepCounter, ...]:
    """Active flows after each step, and memory; nothing of a run that has no telemetry.

    The parts of a large run take their steps one after the other. Here their step t falls
    together: flows add up, and of memory the largest is told.
    """
    try:
        memory = orjson.loads(folder.document("memory"))["steps"]
        steps = orjson.loads(folder.document("profile"))["step_metrics"]
    except FileNotFoundError:
        return ()
    active: dict[int, int] = {}
    host: dict[int, int] = {}
    device: dict[int, int] = {}
    for step, sample in zip(steps, memory, strict=False):
        number = step["step"]
        active[number] = active.get(number, 0) + step["active"]
        _raise(host, number, sample["host_rss_bytes"])
        _raise(device, number, sample["device_allocated_bytes"])
    told = (
        StepCounter("active flows", "count", active),
        StepCounter("host memory", "bytes", host),
        StepCounter("device memory", "bytes", device),
    )
    return tuple(counter for counter in told if counter.values)


def _raise(values: dict[int, int], step: int, value: Any) -> None:
    if value is not None:
        values[step] = max(values.get(step, 0), value)
