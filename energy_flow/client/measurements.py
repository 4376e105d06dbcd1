"""What a server measures of a run: counts, memory, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counts and means of one run.

    Attributes:
        created: flows that ever existed: ``initial`` + ``spawned``.
        initial: flows that the mapper started.
        spawned: children.
        completed: flows that were tallied.
        stalled: flows that ended without being tallied.
        terminated: ended flows by reason.
        planes: tallied flows by plane.
        reflected: reflections at the side walls.
        spawns_suppressed: children that did not fit.
        steps: steps of the longest sample.
        flow_steps: moves of one flow by one step.
        mean_path_steps: mean age of the flows that ended; ``None`` where none has.
        mean_path_length: mean path length of the flows that ended; ``None`` where none has.
        z_displacement_variance: population variance of d.z; ``None`` where no flow moved.
        completion_ratio: ``completed`` / ``created``.
        mean_step_ms: milliseconds per step.
        max_step_ms: milliseconds of the longest step.
        overflow: what the run had no room for: ``spawn_capacity``, ``trace_capacity``.
        exits: tallied flows by plane and then by reason.
    """

    created: int
    initial: int
    spawned: int
    completed: int
    stalled: int
    terminated: Mapping[str, int]
    planes: Mapping[str, int]
    reflected: int
    spawns_suppressed: int
    steps: int
    flow_steps: int
    mean_path_steps: float | None
    mean_path_length: float | None
    z_displacement_variance: float | None
    completion_ratio: float | None
    mean_step_ms: float | None
    max_step_ms: float | None
    overflow: tuple[str, ...]
    exits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a simulation was spent.

    Attributes:
        queue_ms: milliseconds before it began.
        compute_ms: milliseconds of its computation.
        total_ms: milliseconds from the request to the answer.
        flow_steps_per_second: the rate; ``None`` where it is not known.
    """

    queue_ms: float
    compute_ms: float
    total_ms: float
    flow_steps_per_second: float | None


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of the device, in bytes; ``None`` where it is not known, as on a CPU."""

    allocated_bytes: int | None
    reserved_bytes: int | None
    peak_bytes: int | None
    limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the server's process, in bytes; ``None`` where it is not known."""

    rss_bytes: int | None
    peak_rss_bytes: int | None


@dataclass(frozen=True, slots=True)
class MemoryStep:
    """Memory at one step."""

    step: int
    device_allocated_bytes: int | None
    host_rss_bytes: int | None
    active_flows: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a run, predicted and measured.

    Attributes:
        device: of the device.
        host: of the server's process.
        state_bytes: most that the state of the flows used.
        trace_bytes: most that the rings of trace records used.
        predicted_bytes: predicted before the run, from shapes alone.
        steps: measured at the ends of steps.
    """

    device: DeviceMemory
    host: HostMemory
    state_bytes: int
    trace_bytes: int
    predicted_bytes: int
    steps: tuple[MemoryStep, ...]
