"""Schemas of experiments: requests, which they check, and answers, which OpenAPI describes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue

from energy_flow.choices import ExperimentKind, Output, RunState
from service.schemas.bodies import (
    MAX_SEED,
    AnswerBody,
    ModelName,
    OutputName,
    RequestBody,
    Timestamp,
)
from service.schemas.dataset import DatasetReference
from service.schemas.labels import NoteFields
from service.schemas.metrics import RunMetrics
from service.schemas.model import ModelReference
from service.schemas.problem import ProblemView
from service.schemas.run import TrainingMetrics
from service.schemas.telemetry import Timing
from service.schemas.trace import RingFields, RunTrace

MAX_PARALLEL = 64

_RANGE: dict[str, JsonValue] = {
    "type": "object",
    "required": ["low", "high"],
    "additionalProperties": False,
    "properties": {
        "low": {"type": "number"},
        "high": {"type": "number"},
        "log": {"type": "boolean", "description": "uniform in the logarithm"},
    },
}


class Sweep(RequestBody):
    """Fields that vary: every combination of listed values, or points drawn at random."""

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
        description="a range or a list of values by dotted field, from which points are drawn",
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
    count: int | None = Field(None, ge=1, description="number of points of a random sweep")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="seed of a random sweep")


class ExperimentFields(NoteFields):
    """A request for an experiment."""

    name: ModelName = Field(description="name of the experiment; no other has it")
    kind: ExperimentKind = Field(
        ExperimentKind.SIMULATE,
        strict=False,
        description="simulate the dataset's rows, or train models on its pairs",
    )
    model: ModelName = Field(
        "default", description="name of the model to simulate, or to start trainings from"
    )
    dataset: ModelName = Field(description="name of the dataset")
    rows: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="first row of the dataset and the row behind the last one; default: all rows",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="run-time fields of the config of all trials, nested or dotted",
    )
    outputs: list[OutputName] = Field(
        default=[Output.SURFACE], description="arrays of the results to store"
    )
    sweep: Sweep | None = Field(
        None, description="fields that vary over the trials; default: one point"
    )
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = Field(
        default=[0], min_length=1, description="a trial for each seed at each point of the sweep"
    )
    trace: RingFields = Field(
        default_factory=RingFields, description="which records of events are kept"
    )
    max_parallel: int = Field(1, ge=1, le=MAX_PARALLEL, description="most trials at once")
    fail_fast: bool = Field(False, description="cancel the other trials once one has failed")
    chunk_samples: int | None = Field(
        None, ge=1, description="most samples of a chunk; default: as many as suit the device"
    )
    train: dict[str, Any] | None = Field(
        None,
        description="for kind train: config of the training, nested or dotted, without model, "
        "data.train, data.val, data.rows and seed, which the experiment sets",
    )


class TrialCounts(AnswerBody):
    """Number of trials in each state."""

    total: int
    queued: int
    running: int
    paused: int
    succeeded: int
    failed: int
    cancelled: int


class ExperimentProgress(AnswerBody):
    """Progress of an experiment."""

    samples: int
    samples_done: int
    fraction: float
    flow_steps: int
    seconds_left: float | None = Field(
        description="at the measured rate; null before a measurement and while no trial runs"
    )


class ExperimentView(AnswerBody):
    """An experiment as a resource."""

    experiment_id: str
    name: str
    tags: list[str]
    note: str | None
    kind: ExperimentKind
    state: RunState
    created_at: Timestamp
    started_at: Timestamp | None
    ended_at: Timestamp | None
    model: ModelReference
    dataset: DatasetReference
    options: dict[str, Any]
    outputs: list[Output]
    sweep: Sweep | None
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
        description="id of its newest event; follow events after it to miss none"
    )
    error: ProblemView | None
    warnings: list[str]
    version: str | None = Field(
        description="version of Energy Flow that created it; null: not known"
    )
    arithmetic: int = Field(
        description="number of the arithmetic of its trials, the largest if the precision is "
        "swept; a server with another number does not continue it"
    )
    url: str


class ExperimentPage(AnswerBody):
    """A page of experiments, newest first unless they are sorted otherwise."""

    items: list[ExperimentView]
    next_cursor: str | None
    previous_cursor: str | None


class TrialView(AnswerBody):
    """A trial as a resource; its results are a run."""

    trial: int
    state: RunState
    seed: int
    parameters: dict[str, Any]
    run_id: str
    samples: int
    samples_done: int
    metrics: RunMetrics | TrainingMetrics | None
    timing: Timing | None
    trace: RunTrace | None
    error: ProblemView | None
    warnings: list[str]
    started_at: Timestamp | None
    ended_at: Timestamp | None
    url: str
    run_url: str
    makes_model: str | None = Field(description="for a training: name of the model that it makes")


class ExperimentStateEvent(AnswerBody):
    """Data of a ``state`` event of an experiment."""

    state: RunState
    trials: TrialCounts
    progress: ExperimentProgress
    error: ProblemView | None


class RunningTrial(AnswerBody):
    """Progress of a trial that is running."""

    trial: int
    samples_done: int
    samples: int


class ExperimentProgressEvent(AnswerBody):
    """Data of a ``progress`` event of an experiment."""

    trials: TrialCounts
    progress: ExperimentProgress
    running: list[RunningTrial]


class Curves(AnswerBody):
    """Curves of a training so far: columns of equal length by name, ``step`` among them."""

    curves: dict[str, list[float | None]]


class TrialPage(AnswerBody):
    """A page of trials, by number."""

    items: list[TrialView]
    next_cursor: str | None


class ResultTable(AnswerBody):
    """Results with a row a trial, or a row a point."""

    experiment_id: str
    name: str
    state: RunState
    columns: list[str]
    rows: list[dict[str, Any]]
    next_cursor: str | None
