"""Schemas of the protocol's JSON: requests are checked against them, OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from service.open_inference.log_settings import MAX_VERBOSE
from service.open_inference.tensors import (
    EMBEDDINGS,
    INPUT_DATATYPES,
    OUTPUTS,
    TRACE_OUTPUTS,
)
from service.schemas.bodies import MAX_SEED

MAX_LENGTH: Final = 2**53
"""Largest length; beyond it, JSON readers lose digits."""

_NUMBER: dict[str, Any] = {"type": "number"}
_NUMBERS: dict[str, Any] = {"type": "array", "items": _NUMBER}

Length = Annotated[int, Field(ge=0, le=MAX_LENGTH)]


class _Request(BaseModel):
    """A part of a request; unknown members are ignored, as the protocol demands."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class InputParameters(_Request):
    """Parameters of an input."""

    binary_data_size: Length | None = Field(
        None, description="its bytes after the JSON, in place of data"
    )
    shared_memory_region: str | None = Field(None, description="not offered: 501")


class InferInput(_Request):
    """An input tensor; its numbers are in ``data``, or follow the JSON as bytes."""

    name: str = Field(
        description="name of the input tensor", json_schema_extra={"enum": [EMBEDDINGS]}
    )
    shape: list[Length] = Field(
        description="[rows, dimension]", json_schema_extra={"minItems": 2, "maxItems": 2}
    )
    datatype: str = Field(
        description="type of its numbers", json_schema_extra={"enum": list(INPUT_DATATYPES)}
    )
    parameters: InputParameters | None = Field(None, description="how the numbers are sent")
    data: Any = Field(
        None,
        description="flat in row-major order, or nested as the shape is",
        json_schema_extra={"type": "array", "items": {"anyOf": [_NUMBER, _NUMBERS]}},
    )


class OutputParameters(_Request):
    """Parameters of a requested output."""

    binary_data: bool | None = Field(None, description="bytes after the JSON, in place of data")
    classification: int | None = Field(None, description="not offered: 501")
    shared_memory_region: str | None = Field(None, description="not offered: 501")


class InferOutput(_Request):
    """A requested output."""

    name: str = Field(
        description="name of the output tensor",
        json_schema_extra={"enum": [*OUTPUTS, *TRACE_OUTPUTS]},
    )
    parameters: OutputParameters | None = Field(None, description="how the numbers are returned")


class InferParameters(BaseModel):
    """Parameters of a request; unknown ones are refused, because they may be misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="default: the config's seed")
    trace_capacity: int | None = Field(
        None, ge=0, le=MAX_LENGTH, description="records kept for each sample; 0: none"
    )
    options: str | None = Field(
        None, description="run-time fields of the config: a JSON object in a string"
    )
    timeout: int | None = Field(
        None, ge=0, le=10**12, description="µs, with the time in the queue; 0: no limit"
    )
    store: bool | None = Field(None, description="keep the run (default); false: only answer")
    binary_data_output: bool | None = Field(
        None, description="send outputs as bytes unless their own parameters differ"
    )
    sequence_id: int | str | None = Field(None, description="has no effect")
    sequence_start: bool | None = Field(None, description="has no effect")
    sequence_end: bool | None = Field(None, description="has no effect")
    priority: int | None = Field(None, description="has no effect: first come, first served")
    headers: Any = Field(None, description="has no effect")


class InferRequest(_Request):
    """Embeddings to simulate."""

    id: str | None = Field(None, description="id that the answer repeats")
    parameters: InferParameters | None = Field(None, description="parameters of the run")
    inputs: list[InferInput] = Field(min_length=1, description="the one input, embeddings")
    outputs: list[InferOutput] | None = Field(
        None, description="default: all but the trace, whose columns must be named"
    )


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorAnswer(BaseModel):
    """Why a request is refused."""

    error: str


class TensorView(_Answer):
    """A tensor of a model; a length of -1 varies."""

    name: str
    datatype: str
    shape: list[int]


class Health(_Answer):
    """A positive answer; a negative one is a refusal."""

    live: bool | None = None
    ready: bool | None = None


class ServerMetadata(_Answer):
    """Metadata of the server."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(_Answer):
    """Metadata of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorView]
    outputs: list[TensorView]


class AnswerTensor(_Answer):
    """An output; its numbers or booleans are in ``data``, or follow the JSON as bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | list[bool] | None = None
    parameters: dict[str, Any] | None = None


class InferAnswer(_Answer):
    """The answer to an inference."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any]
    outputs: list[AnswerTensor]


class IndexEntry(_Answer):
    """A model in the index of the repository."""

    name: str
    version: str
    state: str
    reason: str


class IndexAnswer(RootModel[list[IndexEntry]]):
    """The models of the repository."""


class Duration(_Answer):
    """The number and the total time of some events."""

    count: int
    ns: int


class InferStatistics(_Answer):
    """Times of a model's requests, as a whole and by stage."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class MemoryUsage(_Answer):
    """Memory of a model's weights."""

    type: str
    id: int
    byte_size: int


class ModelStatistics(_Answer):
    """Counts and times of a model since the start of the server."""

    name: str
    version: str
    last_inference: int = Field(description="milliseconds since the epoch")
    inference_count: int = Field(description="samples")
    execution_count: int = Field(description="requests")
    inference_stats: InferStatistics
    response_stats: dict[str, Any]
    batch_stats: list[Any]
    memory_usage: list[MemoryUsage]


class StatisticsAnswer(_Answer):
    """Counts and times of models."""

    model_stats: list[ModelStatistics]


class ConfigTensor(_Answer):
    """A tensor in the config of a model."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(_Answer):
    """The config of a model, as Triton has it."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, Any]
    max_batch_size: int
    input: list[ConfigTensor]
    output: list[ConfigTensor]
    parameters: dict[str, dict[str, str]]


class EmptyAnswer(_Answer):
    """The answer to a successful action."""


class IndexQuery(_Request):
    """Which models to list."""

    ready: bool | None = Field(None, description="only those that are ready")


class RepositoryAction(_Request):
    """How to load or unload a model."""

    parameters: dict[str, Any] | None = Field(None, description="not offered: 501")


class TraceSetting(_Answer):
    """Settings of the tracing of requests; read only."""

    model_config = ConfigDict(extra="forbid")

    trace_level: list[Literal["OFF"]] | Literal["OFF"] | None = Field(
        None, json_schema_extra={"maxItems": 1, "minItems": 1}
    )
    trace_rate: Literal["1000"] | None = None
    trace_count: Literal["-1"] | None = None
    log_frequency: Literal["0"] | None = None
    trace_file: Literal[""] | None = None
    trace_mode: Literal["triton"] | None = None


class LogSettings(_Answer):
    """Settings of the log."""

    model_config = ConfigDict(extra="forbid")

    log_file: Literal[""] | None = None
    log_info: bool | None = None
    log_warning: bool | None = None
    # Errors are always logged.
    log_error: Literal[True] | None = None
    log_verbose_level: int | None = Field(None, ge=0, le=MAX_VERBOSE)
    log_format: Literal["default"] | None = None
