"""Schemas of the memory and the time that runs needed."""

from __future__ import annotations

from pydantic import Field

from service.schemas.bodies import AnswerBody
from service.schemas.metrics import StepMetrics


class DeviceMemory(AnswerBody):
    """Memory of the device; null where it cannot be known, as on a CPU."""

    allocated_bytes: int | None
    reserved_bytes: int | None
    peak_bytes: int | None
    limit_bytes: int | None


class HostMemory(AnswerBody):
    """Memory of the server's process."""

    rss_bytes: int
    peak_rss_bytes: int


class MemoryStep(AnswerBody):
    """Memory at the end of a step."""

    step: int
    device_allocated_bytes: int | None
    host_rss_bytes: int
    active_flows: int


class MemoryAnswer(AnswerBody):
    """Memory that a run needed, predicted and measured."""

    device: DeviceMemory
    host: HostMemory
    state_bytes: int = Field(description="largest state of the flows")
    trace_bytes: int = Field(description="largest rings of the trace")
    predicted_bytes: int = Field(description="computed from shapes before the run")
    steps: list[MemoryStep]


class PhaseMilliseconds(AnswerBody):
    """Milliseconds of each phase of a step; null if there was no step."""

    network_ms: float | None
    rules_ms: float | None = Field(description="with the wait for the device")
    emit_ms: float | None = Field(description="tally, trace and next state")
    step_ms: float | None = Field(description="the whole step")


class StepColumns(AnswerBody):
    """Flows and milliseconds of each step, as columns of equal length."""

    active_flows: list[int] = Field(description="flows of the run")
    pool_flows: list[int] = Field(description="flows of the pool that the run shares")
    network_ms: list[float]
    rules_ms: list[float]
    emit_ms: list[float]
    step_ms: list[float]


class ProfileAnswer(AnswerBody):
    """Time of each phase of each step of a run, and the metrics of each step."""

    steps: int
    mean: PhaseMilliseconds
    max: PhaseMilliseconds
    per_step: StepColumns
    step_metrics: list[StepMetrics]


class Timing(AnswerBody):
    """Times of a run."""

    queue_ms: float
    compute_ms: float
    total_ms: float
    flow_steps_per_second: float | None
