"""Memory on the device and the host: what is used now, what a run used at most.

On a CPU torch does not know what it has allocated; those figures are none, never invented.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Self

import psutil
import torch


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory at the end of a step, in bytes."""

    step: int
    device_allocated_bytes: int | None
    host_rss_bytes: int
    active_flows: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "step": self.step,
            "device_allocated_bytes": self.device_allocated_bytes,
            "host_rss_bytes": self.host_rss_bytes,
            "active_flows": self.active_flows,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the memory, in bytes; the peak is the largest since the look before."""

    device_allocated_bytes: int | None
    device_reserved_bytes: int | None
    device_peak_bytes: int | None
    host_rss_bytes: int


class MemoryProbe:
    """Reads the memory of one device and of this process.

    Reading resets the device's peak, so that runs which share a device, one after the other or in
    one pool, do not spoil each other's: a run's peak is the largest of its steps.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()

    @classmethod
    @cache
    def of(cls, device: torch.device) -> MemoryProbe:
        """The probe of a device; there is one, because reading has an effect."""
        return cls(device)

    def read(self) -> Reading:
        """Looks once."""
        rss = int(self._process.memory_info().rss)
        if self._device.type != "cuda":
            return Reading(None, None, None, rss)
        reading = Reading(
            torch.cuda.memory_allocated(self._device),
            torch.cuda.memory_reserved(self._device),
            torch.cuda.max_memory_allocated(self._device),
            rss,
        )
        torch.cuda.reset_peak_memory_stats(self._device)
        return reading


def memory_limit(device: str, share: float) -> int:
    """Bytes that may be used: a share of the device's memory, or of the host's for a CPU."""
    if torch.device(device).type == "cuda":
        return int(share * torch.cuda.get_device_properties(device).total_memory)
    return int(share * psutil.virtual_memory().total)


@dataclass(slots=True)
class MemoryReport:
    """What a run used, in bytes; ``None`` where torch cannot know.

    Attributes:
        state_bytes, trace_bytes: most that the pool's flow state and rings held while it ran.
        predicted_bytes: told before the run, from shapes alone.
        peak_rss_bytes: largest resident size of the process seen at the end of its steps.
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
        """Enters what was seen at the end of a step."""
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
        """What has been entered so far, which later steps leave alone."""
        return replace(self, steps=list(self.steps))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
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
