"""Schemas of models."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from energy_flow.choices import Preset, names_of
from energy_flow.config.flow_config import FlowConfig
from service.schemas.bodies import MAX_SEED, AnswerBody, ModelName, RequestBody, Timestamp


class ModelFields(RequestBody):
    """A request for a new, untrained model."""

    name: ModelName = Field(description="name of the new model; no other has it")
    preset: str = Field(
        Preset.DEBUG.value,
        description="config to start from",
        json_schema_extra={"enum": list(names_of(Preset))},
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="fields that differ from the preset, nested or dotted"
    )
    model_seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="seed of the initial weights; default: the config's"
    )


class ModelReference(AnswerBody):
    """The model of a run or an experiment."""

    name: str
    trained: bool
    coord_version: int
    digest: str = Field(description="SHA-256 of its weights")


class ModelView(ModelReference):
    """A model as a resource."""

    loaded: bool
    output_width: int = Field(description="numbers of an output embedding")
    config: FlowConfig
    created_at: Timestamp
    warnings: list[str]
    description: str | None = Field(description="what it does, in one line")
    read_only: bool = Field(description="whether requests can neither delete nor replace it")
    sample_url: str | None = Field(description="path of rows to try it with")
    url: str


class SampleRowsAnswer(AnswerBody):
    """Rows to try a model with."""

    model: str
    inputs: list[list[float]] = Field(description="embeddings, [rows, embedding_dim]")
    targets: list[list[float]] | None = Field(
        description="what the model should answer, [rows, output_width]"
    )


class ModelPage(AnswerBody):
    """A page of models, newest first."""

    items: list[ModelView]
    next_cursor: str | None
