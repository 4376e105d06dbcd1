"""Memory on the device and the host: what is used now, and what a run used at most.

On a CPU torch does not record what it has allocated; those figures are none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Self

import psutil
import torch

from energy_flow.telemetry.shallow_dict import shallow_dict


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory at the end of a step.

    Attributes:
        step: number, from 0.
        device_allocated_bytes: in tensors on the device; none on a CPU.
        host_rss_bytes: resident size of the process.
        active_flows: of the run.
    """

    step: int
    device_allocated_bytes: int | None
    host_rss_bytes: int
    active_flows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON data."""
        return shallow_dict(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured at one moment.

    Attributes:
        device_allocated_bytes: in tensors on the device; none on a CPU, like the next two.
        device_reserved_bytes: held by torch's allocator.
        device_peak_bytes: most bytes in tensors since the reading before.
        host_rss_bytes: resident size of the process.
    """

    device_allocated_bytes: int | None
    device_reserved_bytes: int | None
    device_peak_bytes: int | None
    host_rss_bytes: int


class MemoryProbe:
    """Measures the memory of one device and of this process.

    Reading resets the device's peak. The peak of a run is the largest of its steps, so that runs
    that share a device do not change each other's figures.

    Args:
        device: whose memory is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()

    @classmethod
    @cache
    def of(cls, device: torch.device) -> MemoryProbe:
        """Return the probe of a device; there is only one, because reading has an effect."""
        return cls(device)

    def read(self) -> Reading:
        """Return the memory now, and reset the device's peak."""
        rss = int(self._process.memory_info().rss)
        if self._device.type != "cuda":
            return Reading(None, None, None, rss)
        # Each of torch's functions for one figure reads all of them.
        figures = torch.cuda.memory.memory_stats_as_nested_dict(self._device)
        allocated, reserved = (
            figures.get(name, {}).get("all", {}) for name in ("allocated_bytes", "reserved_bytes")
        )
        reading = Reading(
            allocated.get("current", 0),
            reserved.get("current", 0),
            allocated.get("peak", 0),
            rss,
        )
        torch.cuda.reset_peak_memory_stats(self._device)
        return reading


@dataclass(slots=True)
class MemoryReport:
    """Memory that a run used, in bytes; figures of the device are none on a CPU.

    Attributes:
        predicted_bytes: computed before the run, from shapes alone.
        limit_bytes: what could be used; none without a limit.
        state_bytes: most bytes of the pool's flow state while the run was in it.
        trace_bytes: most bytes of the pool's rings while the run was in it.
        allocated_bytes: in tensors on the device, after the last step.
        reserved_bytes: held by torch's allocator, after the last step.
        peak_bytes: most bytes in tensors on the device during any step.
        rss_bytes: resident size of the process after the last step.
        peak_rss_bytes: largest resident size of the process after any step.
        steps: every step.
    """

    predicted_bytes: int
    limit_bytes: int | None = None
    state_bytes: int = 0
    trace_bytes: int = 0
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    peak_bytes: int | None = None
    rss_bytes: int = 0
    peak_rss_bytes: int = 0
    steps: list[MemorySample] = field(default_factory=list)

    def add(self, reading: Reading, state_bytes: int, trace_bytes: int, active_flows: int) -> None:
        """Enter what was measured at the end of a step.

        Args:
            reading: of the device and the process.
            state_bytes: of the pool's flow state.
            trace_bytes: of the pool's rings.
            active_flows: of the run.
        """
        self.state_bytes = max(self.state_bytes, state_bytes)
        self.trace_bytes = max(self.trace_bytes, trace_bytes)
        self.allocated_bytes = reading.device_allocated_bytes
        self.reserved_bytes = reading.device_reserved_bytes
        if reading.device_peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, reading.device_peak_bytes)
        self.rss_bytes = reading.host_rss_bytes
        self.peak_rss_bytes = max(self.peak_rss_bytes, reading.host_rss_bytes)
        self.steps.append(
            MemorySample(
                len(self.steps),
                reading.device_allocated_bytes,
                reading.host_rss_bytes,
                active_flows,
            )
        )

    def copy(self) -> Self:
        """Return a copy that later steps do not change."""
        return replace(self, steps=list(self.steps))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON data."""
        return {
            "device": {
                "allocated_bytes": self.allocated_bytes,
                "reserved_bytes": self.reserved_bytes,
                "peak_bytes": self.peak_bytes,
                "limit_bytes": self.limit_bytes,
            },
            "host": {"rss_bytes": self.rss_bytes, "peak_rss_bytes": self.peak_rss_bytes},
            "state_bytes": self.state_bytes,
            "trace_bytes": self.trace_bytes,
            "predicted_bytes": self.predicted_bytes,
            "steps": [sample.to_dict() for sample in self.steps],
        }
