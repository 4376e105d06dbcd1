"""Schemas of runs, their outputs and their events."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from energy_flow.choices import Output, RunKind, RunState
from energy_flow.config.flow_config import FlowConfig
from service.schemas.bodies import AnswerBody, Timestamp
from service.schemas.dataset import DatasetReference
from service.schemas.metrics import RunMetrics
from service.schemas.model import ModelReference
from service.schemas.problem import ProblemView
from service.schemas.telemetry import Timing
from service.schemas.trace import RunTrace


class Progress(AnswerBody):
    """Progress of a run."""

    samples: int
    samples_done: int
    step: int | None = Field(description="last step of the active samples")
    fraction: float


class TrialReference(AnswerBody):
    """The trial that a run belongs to."""

    experiment_id: str
    trial: int


class TrainingMetrics(AnswerBody):
    """Progress and metrics of a training."""

    step: int
    steps: int
    epoch: int
    skipped: int = Field(description="steps that were skipped, because numbers were not finite")
    loss: float | None
    held_out: dict[str, Any] | None = Field(
        description="metrics of the best model on the held-out rows, with its step"
    )


class RunView(AnswerBody):
    """A run as a resource."""

    run_id: str
    name: str | None
    tags: list[str]
    note: str | None
    kind: RunKind
    state: RunState
    model: ModelReference
    dataset: DatasetReference | None
    seed: int
    outputs: list[Output]
    options: dict[str, Any]
    config: FlowConfig
    created_at: Timestamp
    started_at: Timestamp | None
    ended_at: Timestamp | None
    progress: Progress
    metrics: RunMetrics | TrainingMetrics | None
    trace: RunTrace | None
    timing: Timing | None
    warnings: list[str]
    error: ProblemView | None
    bytes: int
    experiment: TrialReference | None
    version: str | None = Field(
        description="version of Energy Flow that started it; null: not known"
    )
    arithmetic: int = Field(
        description="number of the arithmetic; with another number, bits can differ"
    )
    worker: str | None = Field(description="that has started it last; null before, or not known")
    worker_kinds: list[str] = Field(
        description="kinds of the workers that have computed it; bits of several are mixed"
    )
    attempts: int | None = Field(description="times that a worker has started it; null: not known")
    url: str


class RunPage(AnswerBody):
    """A page of runs, newest first unless they are sorted otherwise."""

    items: list[RunView]
    next_cursor: str | None
    previous_cursor: str | None


class InputsAnswer(AnswerBody):
    """The inputs of a run."""

    run_id: str
    name: Literal["inputs"]
    dtype: Literal["float32"]
    shape: list[int]
    first_sample: int
    data: list[list[float]] = Field(description="embeddings, [samples, embedding_dim]")


class OutputAnswer(AnswerBody):
    """An output of a run."""

    run_id: str
    name: Output
    dtype: str
    shape: list[int]
    first_sample: int
    data: list[Any] = Field(description="nested lists of numbers or booleans of that shape")


class RunStateEvent(AnswerBody):
    """Data of a ``state`` event of a run."""

    run_id: str
    state: RunState
    error: ProblemView | None = Field(None, description="only of a run that has failed")


class GapEvent(AnswerBody):
    """Data of a ``gap`` event: ids of events that are no longer held."""

    from_id: int = Field(alias="from")
    to: int
    missed: int | None = Field(description="how many events; null if some were before a restart")
