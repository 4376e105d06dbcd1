"""The form of the JSON data that a run stores, by which other data are recognised as damage.

Members that a later version adds are ignored. Version 0.1 wrote all of these.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from energy_flow.choices import TraceKind
from energy_flow.telemetry.counters import COUNT_COLUMNS, Sum

_Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Number = float | None
"""JSON has null in the place of what is not finite."""

_Form = TypeVar("_Form")


class _Sample(Struct):
    sample: _Natural
    sample_key: _Integer
    created: _Natural
    initial: _Natural
    spawned: _Natural
    completed: _Natural
    stalled: _Natural
    terminated: dict[str, _Natural]
    planes: dict[str, _Natural]
    exits: dict[str, dict[str, _Natural]]
    reflected: _Natural
    spawns_suppressed: _Natural
    steps: _Natural
    flow_steps: _Natural
    mean_path_steps: _Number
    mean_path_length: _Number
    z_displacement_variance: _Number
    completion_ratio: float
    overflow: list[str]


class _Step(Struct):
    step: _Natural
    active: _Natural
    spawned: _Natural
    reflected: _Natural
    terminated: dict[str, _Natural]
    mean_length: _Number
    z_displacement_variance: _Number
    step_ms: float


class _DeviceMemory(Struct):
    allocated_bytes: _Natural | None
    reserved_bytes: _Natural | None
    peak_bytes: _Natural | None
    limit_bytes: _Natural | None


class _HostMemory(Struct):
    rss_bytes: _Natural
    peak_rss_bytes: _Natural


class _MemoryStep(Struct):
    step: _Natural
    device_allocated_bytes: _Natural | None
    host_rss_bytes: _Natural
    active_flows: _Natural


class _Memory(Struct):
    device: _DeviceMemory
    host: _HostMemory
    state_bytes: _Natural
    trace_bytes: _Natural
    predicted_bytes: _Natural
    steps: list[_MemoryStep]


class _Phases(Struct):
    network_ms: _Number
    rules_ms: _Number
    emit_ms: _Number
    step_ms: _Number


class _Columns(Struct):
    active_flows: list[_Natural]
    pool_flows: list[_Natural]
    network_ms: list[float]
    rules_ms: list[float]
    emit_ms: list[float]
    step_ms: list[float]


class _ChunkProfile(Struct):
    steps: _Natural
    mean: _Phases
    max: _Phases
    per_step: _Columns


class _Profile(_ChunkProfile):
    step_metrics: list[_Step]


class _Trace(Struct):
    totals: dict[TraceKind, _Natural]
    recorded: dict[TraceKind, _Natural]
    dropped: dict[TraceKind, _Natural]


class _Chunk(Struct):
    first_sample: _Natural
    samples: Annotated[list[_Sample], Meta(min_length=1)]
    initial: list[_Natural]
    counts: list[
        Annotated[list[_Natural], Meta(min_length=COUNT_COLUMNS, max_length=COUNT_COLUMNS)]
    ]
    sums: list[Annotated[list[_Number], Meta(min_length=len(Sum), max_length=len(Sum))]]
    trace_overflow: list[bool]
    memory: _Memory
    profile: _ChunkProfile
    step_metrics: list[_Step]
    trace: _Trace
    warnings: list[str]
    compute_ms: float = 0.0
    """Of a trial."""


_DOCUMENTS: Final[dict[str, type[Struct]]] = {"memory": _Memory, "profile": _Profile}


def check_document(name: str, document: Any) -> None:
    """Refuse a document of a run that has not the form of its name.

    Args:
        name: ``memory`` or ``profile``.
        document: The JSON data.

    Raises:
        ValueError: It has another form.
    """
    _convert(document, _DOCUMENTS[name])


def check_chunk(record: Any, first_sample: int) -> None:
    """Refuse what is no record of a chunk of samples.

    Args:
        record: The JSON data.
        first_sample: Row that the chunk's first sample must have.

    Raises:
        ValueError: It has another form, or is another chunk.
    """
    chunk = _convert(record, _Chunk)
    rows = [sample.sample for sample in chunk.samples]
    if rows != list(range(first_sample, first_sample + len(rows))) or (
        chunk.first_sample != first_sample
    ):
        raise ValueError(f"it has other samples than those from {first_sample} on")
    for name in ("initial", "counts", "sums", "trace_overflow"):
        if len(getattr(chunk, name)) != len(rows):
            raise ValueError(f"{name} has another length than samples")
    for name in ("totals", "recorded", "dropped"):
        if getattr(chunk.trace, name).keys() != set(TraceKind):
            raise ValueError(f"trace.{name} has other members than {', '.join(TraceKind)}")


def _convert(data: Any, form: type[_Form]) -> _Form:
    try:
        return msgspec.convert(data, form)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
