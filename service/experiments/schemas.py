"""What travels about experiments: requests that are checked here, answers as OpenAPI shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from service.schemas import (
    MAX_SEED,
    AnswerBody,
    ModelName,
    OutputName,
    ProblemView,
    RequestBody,
    RingFields,
    Timing,
)

ExperimentState = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
ExperimentKind = Literal["simulate", "train"]

MOST_PARALLEL = 64

_RANGE: dict[str, JsonValue] = {
    "type": "object",
    "required": ["low", "high"],
    "additionalProperties": False,
    "properties": {
        "low": {"type": "number"},
        "high": {"type": "number"},
        "log": {"type": "boolean", "description": "evenly in the logarithm"},
    },
}


class Sweep(RequestBody):
    """Which fields vary, and how: every combination of listed values, or points drawn at random."""

    grid: dict[str, Any] | None = Field(
        None,
        description="values by dotted field; every combination, the last field varies fastest",
        json_schema_extra={
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}},
                {"type": "null"},
            ]
        },
    )
    random: dict[str, Any] | None = Field(
        None,
        description="by dotted field a range, or a list of values, to draw from",
        json_schema_extra={
            "anyOf": [
                {
                    "type": "object",
                    "additionalProperties": {"anyOf": [_RANGE, {"type": "array", "minItems": 1}]},
                },
                {"type": "null"},
            ]
        },
    )
    count: int | None = Field(None, ge=1, description="points of a random sweep")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="from which a random sweep is drawn")


class ExperimentFields(RequestBody):
    """A request for an experiment."""

    name: ModelName
    kind: ExperimentKind = "simulate"
    model: ModelName = "default"
    dataset: ModelName
    rows: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None, description="from this row up to that one, of the dataset; default: all"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="run-time fields of the config, nested or dotted, of all trials",
    )
    outputs: list[OutputName] = Field(default=["surface"])
    sweep: Sweep | None = None
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = Field(
        default=[0], min_length=1, description="a trial for each, at each point of the sweep"
    )
    trace: RingFields = Field(default_factory=RingFields)
    max_parallel: int = Field(1, ge=1, le=MOST_PARALLEL, description="trials at once")
    fail_fast: bool = Field(False, description="cancel the others once a trial has failed")
    chunk_samples: int | None = Field(
        None, ge=1, description="most samples of a chunk; default: as many as suit the device"
    )
    train: dict[str, Any] | None = Field(
        None,
        description="of kind train: the training's config, nested or dotted, without what the "
        "experiment says itself (model, data.train, data.val, data.rows, seed)",
    )


class ModelReference(AnswerBody):
    """The weights of an experiment."""

    name: str
    digest: str
    trained: bool
    coord_version: int


class DatasetReference(AnswerBody):
    """The rows of an experiment."""

    name: str
    digest: str
    rows: list[int]


class TrialCounts(AnswerBody):
    """How many trials are in each state."""

    total: int
    queued: int
    running: int
    paused: int
    succeeded: int
    failed: int
    cancelled: int


class ExperimentProgress(AnswerBody):
    """How far an experiment is."""

    samples: int
    samples_done: int
    fraction: float
    flow_steps: int
    seconds_left: float | None = Field(
        description="by the measured rate; null while nothing was measured, or nothing is running"
    )


class ExperimentView(AnswerBody):
    """An experiment as a resource."""

    experiment_id: str
    name: str
    kind: ExperimentKind
    state: ExperimentState
    created_at: str
    started_at: str | None
    ended_at: str | None
    model: ModelReference
    dataset: DatasetReference
    options: dict[str, Any]
    outputs: list[OutputName]
    sweep: dict[str, Any] | None
    seeds: list[int]
    trace_options: dict[str, Any]
    max_parallel: int
    fail_fast: bool
    chunk_samples: int | None
    train: dict[str, Any] | None
    fields: list[str]
    trials: TrialCounts
    progress: ExperimentProgress
    last_event_id: int = Field(
        description="of its newest event; events after it are those of what happens from now on"
    )
    error: ProblemView | None
    warnings: list[str]
    url: str


class ExperimentPage(AnswerBody):
    """Some experiments, newest first."""

    items: list[ExperimentView]
    next_cursor: str | None


class TrialView(AnswerBody):
    """A trial as a resource; its results are a run."""

    trial: int
    state: ExperimentState
    seed: int
    parameters: dict[str, Any]
    run_id: str
    samples: int
    samples_done: int
    metrics: dict[str, Any] | None
    timing: Timing | None
    trace: dict[str, Any] | None
    error: ProblemView | None
    warnings: list[str]
    started_at: str | None
    ended_at: str | None
    url: str
    run_url: str
    makes_model: str | None = Field(description="of a training: the model's name, once it is made")


class Curves(AnswerBody):
    """What a training told so far: columns of equal length by name, ``step`` among them."""

    curves: dict[str, list[float | None]]


class TrialPage(AnswerBody):
    """Some trials by their number, ascending."""

    items: list[TrialView]
    next_cursor: str | None


class ResultTable(AnswerBody):
    """A row a trial or a row a point."""

    experiment_id: str
    name: str
    state: ExperimentState
    columns: list[str]
    rows: list[dict[str, Any]]
    next_cursor: str | None
