"""Schemas of ablations."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from energy_flow.ablation.result import DEFAULT_RESAMPLES, MAX_RESAMPLES, MIN_RESAMPLES
from energy_flow.choices import Ablation, Plane, RunState, ValidationMetric
from service.schemas.bodies import AnswerBody, ModelName, RequestBody, Timestamp
from service.schemas.dataset import DatasetReference
from service.schemas.json_schema import describe_record
from service.schemas.model import ModelReference
from service.schemas.problem import ProblemView


class AblationFields(RequestBody):
    """A request to measure a model with parts of its flows switched off."""

    dataset: ModelName = Field(description="name of a dataset with targets")
    rows: list[int] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="first row and the row behind the last one; default: all rows",
    )
    resamples: int = Field(
        DEFAULT_RESAMPLES,
        ge=MIN_RESAMPLES,
        le=MAX_RESAMPLES,
        description="samples of rows from which intervals are computed",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="run-time fields of the config, nested or dotted"
    )


class IntervalView(AnswerBody):
    """A figure with its interval of 95 % over rows."""

    value: float
    low: float
    high: float


Figures = Annotated[
    dict[ValidationMetric, IntervalView],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                name.value: {"$ref": "#/components/schemas/IntervalView"}
                for name in ValidationMetric
            },
        }
    ),
]
PlaneShares = Annotated[
    dict[Plane, float], WithJsonSchema(describe_record(Plane, {"type": "number"}))
]


class AblationFlowsView(AnswerBody):
    """What flows did in the runs of one variant."""

    mean_path_steps: float | None = Field(description="steps of a flow")
    mean_path_length: float | None = Field(description="length of a path, in half sides of the box")
    spawned: float = Field(description="children for each initial flow")
    planes: PlaneShares = Field(description="share of the flows at each exit plane")


class AblationEntryView(AnswerBody):
    """A model as it is, or with one part switched off."""

    ablation: Ablation | None = Field(description="the part; null for the model as it is")
    label: str
    not_applicable: str | None = Field(description="why there is nothing to switch off")
    figures: Figures = Field(description="empty if there is nothing to switch off")
    changes: Figures = Field(description="figure minus that of the model as it is")
    flows: AblationFlowsView | None


class AblationResultView(AnswerBody):
    """Figures of a model with parts of its flows switched off."""

    rows: int
    resamples: int
    entries: list[AblationEntryView] = Field(description="the model as it is comes first")


class AblationView(AnswerBody):
    """An ablation as a resource."""

    ablation_id: str
    model: ModelReference
    dataset: DatasetReference
    resamples: int
    options: dict[str, Any]
    state: RunState
    done: int = Field(
        description="rows that have been simulated, of all variants together; total while the "
        "intervals are computed"
    )
    total: int = Field(description="rows to simulate, of all variants together")
    current: Ablation | None = Field(
        description="the part that is switched off now; null while the model is measured as it is, "
        "and while the intervals are computed"
    )
    created_at: Timestamp
    started_at: Timestamp | None
    ended_at: Timestamp | None
    result: AblationResultView | None = Field(description="null until it has succeeded")
    warnings: list[str] = Field(description="about the config")
    error: ProblemView | None
    url: str


class AblationPage(AnswerBody):
    """A page of ablations, newest first."""

    items: list[AblationView]
    next_cursor: str | None
