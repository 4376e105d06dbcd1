"""What travels in JSON: checked here, and shown in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.open_inference.log_settings import MOST_VERBOSE
from service.open_inference.tensors import (
    EMBEDDINGS,
    INPUT_DATATYPES,
    OUTPUTS,
    TRACE_OUTPUTS,
)
from service.schemas import MAX_SEED

# Beyond it a length is no length.
MAX_LENGTH = 2**53

_NUMBER: dict[str, Any] = {"type": "number"}
_NUMBERS: dict[str, Any] = {"type": "array", "items": _NUMBER}

Length = Annotated[int, Field(ge=0, le=MAX_LENGTH)]


class _Sent(BaseModel):
    """Members that are not known are the business of whoever sent them."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class InputParameters(_Sent):
    """Of an input."""

    binary_data_size: Length | None = Field(
        None, description="its bytes after the JSON, in place of data"
    )
    shared_memory_region: str | None = Field(None, description="not offered: 501")


class InferInput(_Sent):
    """An input tensor: its numbers are here, or follow the JSON as bytes."""

    name: str = Field(json_schema_extra={"enum": [EMBEDDINGS]})
    shape: list[Length] = Field(
        description="[rows, dimension]", json_schema_extra={"minItems": 2, "maxItems": 2}
    )
    datatype: str = Field(json_schema_extra={"enum": list(INPUT_DATATYPES)})
    parameters: InputParameters | None = None
    data: Any = Field(
        None,
        description="flat in row-major order, or nested as the shape is",
        json_schema_extra={"type": "array", "items": {"anyOf": [_NUMBER, _NUMBERS]}},
    )


class OutputParameters(_Sent):
    """Of an output."""

    binary_data: bool | None = Field(None, description="bytes after the JSON, in place of data")
    classification: int | None = Field(None, description="not offered: 501")
    shared_memory_region: str | None = Field(None, description="not offered: 501")


class InferOutput(_Sent):
    """An output that is asked for."""

    name: str = Field(json_schema_extra={"enum": [*OUTPUTS, *TRACE_OUTPUTS]})
    parameters: OutputParameters | None = None


class InferParameters(BaseModel):
    """Of a request. A parameter that is not known is refused: it might be one misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="default: the config's seed")
    trace_capacity: int | None = Field(
        None, ge=0, le=MAX_LENGTH, description="records kept for each sample; 0: none"
    )
    options: str | None = Field(
        None, description="run-time fields of the config: a JSON object as a text"
    )
    timeout: int | None = Field(
        None, ge=0, le=10**12, description="µs, queueing included; 0: as long as it takes"
    )
    store: bool | None = Field(
        None, description="keep the run (the default); otherwise the answer is all there is"
    )
    binary_data_output: bool | None = Field(
        None, description="outputs as bytes, where they do not say it themselves"
    )
    sequence_id: int | str | None = Field(None, description="without effect")
    sequence_start: bool | None = Field(None, description="without effect")
    sequence_end: bool | None = Field(None, description="without effect")
    priority: int | None = Field(None, description="without effect: first come, first served")
    headers: Any = Field(None, description="without effect")


class _InferTensors(_Sent):
    id: str | None = None
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[InferOutput] | None = Field(
        None, description="default: all but the trace, whose columns come when they are named"
    )


class InferFields(_InferTensors):
    """A request whose parameters are still to be checked, so that all faults are told at once."""

    parameters: dict[str, Any] | None = None


class InferRequest(_InferTensors):
    """Embeddings to simulate."""

    parameters: InferParameters | None = None


class _Told(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    error: str


class TensorView(_Told):
    """A tensor of a model; -1 where its length varies."""

    name: str
    datatype: str
    shape: list[int]


class Health(_Told):
    """Yes; a no is a refusal."""

    live: bool | None = None
    ready: bool | None = None


class ServerMetadata(_Told):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(_Told):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorView]
    outputs: list[TensorView]


class AnswerTensor(_Told):
    """An output, with its numbers unless they follow as bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | None = None
    parameters: dict[str, Any] | None = None


class InferAnswer(_Told):
    """What an inference gives."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any]
    outputs: list[AnswerTensor]


class IndexEntry(_Told):
    """A model of the repository."""

    name: str
    version: str
    state: str
    reason: str


class StatisticsAnswer(_Told):
    """Counts and times of models."""

    model_stats: list[dict[str, Any]]


class IndexQuestion(_Sent):
    """Which models are asked for."""

    ready: bool | None = Field(None, description="only those that are ready")


class RepositoryAction(_Sent):
    """How to load or unload."""

    parameters: dict[str, Any] | None = None


class TraceSetting(_Told):
    """What is traced of requests; read only."""

    model_config = ConfigDict(extra="forbid")

    trace_level: list[Literal["OFF"]] | Literal["OFF"] | None = Field(
        None, json_schema_extra={"maxItems": 1, "minItems": 1}
    )
    trace_rate: Literal["1000"] | None = None
    trace_count: Literal["-1"] | None = None
    log_frequency: Literal["0"] | None = None
    trace_file: Literal[""] | None = None
    trace_mode: Literal["triton"] | None = None


class LogSettings(_Told):
    """What is logged."""

    model_config = ConfigDict(extra="forbid")

    log_file: Literal[""] | None = None
    log_info: bool | None = None
    log_warning: bool | None = None
    log_error: bool | None = None
    log_verbose_level: int | None = Field(None, ge=0, le=MOST_VERBOSE)
    log_format: Literal["default"] | None = None
