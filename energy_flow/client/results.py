"""What a server answers, as frozen dataclasses."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from energy_flow.client import tensors
from energy_flow.client.errors import ProblemError, UnexpectedAnswer
from energy_flow.client.events import ENDED_STATES
from energy_flow.client.exchange import Reply, problem_from_json, read_json
from energy_flow.client.trace import Trace, columns_of

T = TypeVar("T")

Reader = Callable[[Any], Any]

OUTPUT_DTYPES: Mapping[str, np.dtype[Any]] = {
    "surface": np.dtype(np.float32),
    "planes": np.dtype(np.float32),
    "hits": np.dtype(np.int32),
    "embedding": np.dtype(np.float32),
}
"""Outputs that a caller can ask for, by name."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model that a run used.

    Attributes:
        digest: SHA-256 of its weights.
    """

    name: str
    trained: bool
    coord_version: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetRows:
    """The part of a dataset that a run or an experiment is about.

    Attributes:
        digest: of the whole dataset.
        rows: from this row to before that one.
    """

    name: str
    digest: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of the compute device; ``None`` where it cannot be known, as on a CPU."""

    allocated_bytes: int | None
    reserved_bytes: int | None
    peak_bytes: int | None
    limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the server's process."""

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
    """What a run needed, told before (``predicted_bytes``) and measured."""

    device: DeviceMemory
    host: HostMemory
    state_bytes: int
    trace_bytes: int
    predicted_bytes: int
    steps: tuple[MemoryStep, ...]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counts and means of one run.

    Attributes:
        created: flows, ``initial`` + ``spawned``, which is also ``completed`` + ``stalled``.
        terminated: flows by the reason of their end.
        planes: exits by plane; ``exits`` has them by plane and then by reason.
        overflow: what ran out: ``spawn_capacity``, ``trace_capacity``.
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
    """Where the time went."""

    queue_ms: float
    compute_ms: float
    total_ms: float
    flow_steps_per_second: float | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """The answer to one simulation.

    Attributes:
        run_id: under which the server keeps it.
        outputs: arrays by name: ``surface`` [B, H, W], ``planes`` [B, 2, H, W], ``hits``
            [B, 2, H, W], ``embedding`` [B, E]; those that were asked for.
        trace: the records that came along, and exact counts of all.
        samples: the counts of each sample, in the order of the rows.
        warnings: settings that cannot have the effect one would expect.
        data: the whole answer as plain JSON data, but for the outputs and the records.
    """

    run_id: str | None
    model: ModelVersion
    seed: int
    outputs: Mapping[str, NDArray[Any]]
    trace: Trace
    memory: Memory
    metrics: Metrics
    timing: Timing
    samples: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)

    @property
    def surface(self) -> NDArray[np.float32]:
        """The surfaces, [B, H, W].

        Raises:
            KeyError: they were not asked for.
        """
        return self.outputs["surface"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a simulation would cost.

    Attributes:
        flows: flows at the start.
        predicted_bytes: memory of the device.
        flow_steps_bound: flow-steps, at most.
        queue_wait_ms: before it would start, as far as the server can tell.
    """

    flows: int
    predicted_bytes: int
    flow_steps_bound: int
    queue_wait_ms: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: the last step of the samples in work.
        fraction: between 0 and 1.
    """

    samples: int
    samples_done: int
    step: int | None
    fraction: float


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the server knows it.

    Attributes:
        state: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        created_at: when it was asked for; ``started_at`` and ``ended_at`` are ``None`` before.
        dataset: where its embeddings come from; none where they came with the request.
        metrics: counts and means, once there are some.
        data: everything that the server said about it.
    """

    run_id: str
    state: str
    model: ModelVersion
    seed: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    progress: Progress
    metrics: Metrics | None
    warnings: tuple[str, ...]
    data: Mapping[str, Any] = field(repr=False)
    dataset: DatasetRows | None = None

    @property
    def ended(self) -> bool:
        """Whether the run is in a state that it never leaves."""
        return self.state in ENDED_STATES

    @property
    def problem(self) -> ProblemError | None:
        """Why the run failed, if it did."""
        told = self.data.get("error")
        return problem_from_json(told) if isinstance(told, Mapping) else None


@dataclass(frozen=True, slots=True)
class Model:
    """A model on the server.

    Attributes:
        loaded: whether it is in memory; its next run loads it.
        digest: SHA-256 of its weights.
        data: everything that the server said about it, its config among it.
    """

    name: str
    trained: bool
    loaded: bool
    digest: str
    created_at: str
    config: Mapping[str, Any] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)


def read_simulation(reply: Reply) -> Simulation:
    """The typed form of what ``POST /v1/simulate`` answers, as tensors or as JSON.

    Raises:
        UnexpectedAnswer: something is missing or of another kind.
    """
    as_tensors = reply.headers.get("content-type", "").startswith(tensors.MEDIA_TYPE)
    data = tensors.read_answer(reply.body) if as_tensors else read_json(reply)
    data = mapping(data, "the answer")
    trace = mapping(data.get("trace") or {}, "trace")
    fields = {
        **data,
        "outputs": {
            name: _output(name, values)
            for name, values in mapping(data.get("outputs") or {}, "outputs").items()
        },
        "trace": Trace(
            columns_of(trace.get("records") or {}),
            totals=trace.get("totals") or {},
            recorded=trace.get("recorded") or {},
            dropped=trace.get("dropped") or {},
            inline_truncated=bool(trace.get("inline_truncated")),
            url=trace.get("url"),
        ),
        "run_id": data.get("run_id"),
        "data": {
            **{name: value for name, value in data.items() if name != "outputs"},
            "trace": {name: value for name, value in trace.items() if name != "records"},
        },
    }
    return read_as(Simulation, fields)


def estimate_from_json(data: Any) -> Estimate:
    """The typed form of what a dry run answers."""
    return read_as(Estimate, data)


def memory_from_json(data: Any) -> Memory:
    """The typed form of a run's memory telemetry."""
    return read_as(Memory, data)


def object_from_json(data: Any) -> Mapping[str, Any]:
    """A JSON object as it is."""
    return mapping(data, "the answer")


def run_from_json(data: Any) -> Run:
    """The typed form of a run."""
    return read_as(Run, {**mapping(data, "a run"), "data": data})


def model_from_json(data: Any) -> Model:
    """The typed form of a model."""
    return read_as(Model, {**mapping(data, "a model"), "data": data})


def read_as(kind: type[T], data: Any) -> T:
    """Builds a dataclass from JSON data; members that it does not know are left out.

    Raises:
        UnexpectedAnswer: a member is missing, or a group is of another kind.
    """
    data = mapping(data, kind.__name__)
    values = {}
    for name, read in _members(cast(Hashable, kind)):
        if name in data:
            values[name] = data[name] if read is None else read(data[name])
    try:
        return kind(**values)
    except TypeError as error:
        raise UnexpectedAnswer(f"the answer lacks something: {error}") from None


@cache
def _members(kind: Hashable) -> tuple[tuple[str, Reader | None], ...]:
    """The members of a dataclass, and how each is read; looked up once, an answer has hundreds."""
    return tuple((name, _reader(hint)) for name, hint in get_type_hints(kind).items())


def _reader(hint: Any) -> Reader | None:
    """What makes a value of this kind out of JSON data; none where it stays as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        arm = _reader(next(arm for arm in get_args(hint) if arm is not type(None)))
        return None if arm is None else lambda value: None if value is None else arm(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return lambda value: value if isinstance(value, hint) else read_as(hint, value)
    if get_origin(hint) is tuple:
        return partial(_read_list, _reader(get_args(hint)[0]))
    return None


def _read_list(read: Reader | None, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise UnexpectedAnswer(f"a list was expected, not {type(value).__name__}")
    return tuple(value if read is None else map(read, value))


def _output(name: str, values: Any) -> NDArray[Any]:
    # Unknown outputs, of a newer server, keep the type that numpy gives them.
    try:
        return np.asarray(values, dtype=OUTPUT_DTYPES.get(name))
    except (TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"the output {name} cannot be read: {error}") from None


def mapping(data: Any, what: str) -> Mapping[str, Any]:
    """The data, if it is a JSON object.

    Raises:
        UnexpectedAnswer: it is not.
    """
    if not isinstance(data, Mapping):
        raise UnexpectedAnswer(f"{what} is not a JSON object but {type(data).__name__}")
    return data
