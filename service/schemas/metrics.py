"""Schemas of counts and means of simulations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from energy_flow.choices import TALLIED, Overflow, Plane, Reason
from service.schemas.bodies import AnswerBody
from service.schemas.json_schema import describe_record

_COUNT = {"type": "integer"}

ReasonCounts = Annotated[dict[Reason, int], WithJsonSchema(describe_record(Reason, _COUNT))]
PlaneCounts = Annotated[dict[Plane, int], WithJsonSchema(describe_record(Plane, _COUNT))]
ExitCounts = Annotated[
    dict[Plane, dict[Reason, int]],
    WithJsonSchema(describe_record(Plane, describe_record(TALLIED, _COUNT))),
]


class Counters(AnswerBody):
    """Counts and means of what happened to flows."""

    created: int = Field(description="flows that ever existed")
    initial: int = Field(description="flows at the start")
    spawned: int = Field(description="children")
    completed: int = Field(description="flows that were tallied")
    stalled: int = Field(description="flows that ended without being tallied")
    terminated: ReasonCounts = Field(description="ended flows by reason")
    planes: PlaneCounts = Field(description="tallied flows by plane")
    exits: ExitCounts = Field(description="tallied flows by plane and reason")
    reflected: int = Field(description="reflections")
    spawns_suppressed: int = Field(description="children that did not fit")
    steps: int = Field(description="of a run: of its longest sample")
    flow_steps: int = Field(description="moves of one flow by one step")
    mean_path_steps: float | None = Field(description="of ended flows")
    mean_path_length: float | None = Field(description="of ended flows")
    z_displacement_variance: float | None
    completion_ratio: float = Field(description="completed / created")
    overflow: list[Overflow] = Field(description="what had no room")


class SampleMetrics(Counters):
    """Counts and means of one sample."""

    sample: int = Field(description="row in the request")
    sample_key: int = Field(description="key of its noise")


class SamplePage(AnswerBody):
    """A page of samples, by row."""

    items: list[SampleMetrics]
    next_cursor: str | None


class RunMetrics(Counters):
    """Counts and means of all samples of a run."""

    mean_step_ms: float | None
    max_step_ms: float | None


class StepMetrics(AnswerBody):
    """Counts and means of one step of a run."""

    step: int
    active: int = Field(description="flows after the step")
    spawned: int
    reflected: int
    terminated: ReasonCounts
    mean_length: float | None = Field(description="of the displacements")
    z_displacement_variance: float | None
    step_ms: float
