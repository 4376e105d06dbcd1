"""Schemas of requests to simulate and of their answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from energy_flow.choices import Output
from service.schemas.bodies import MAX_SEED, AnswerBody, ModelName, OutputName
from service.schemas.labels import LabelFields
from service.schemas.metrics import RunMetrics, SampleMetrics
from service.schemas.model import ModelReference
from service.schemas.telemetry import MemoryAnswer, Timing
from service.schemas.trace import TraceAnswer, TraceFields


class SimulateFields(LabelFields):
    """A request to simulate, without its embeddings and sample keys."""

    model: ModelName = Field("default", description="name of the model")
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="seed of the exploration noise; default: the config's seed",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="run-time fields of the config, nested or dotted"
    )
    outputs: list[OutputName] = Field(
        default=[Output.SURFACE], description="arrays of the results to return or store"
    )
    trace: TraceFields = Field(
        default_factory=TraceFields, description="which records of events are kept and returned"
    )
    store: bool = Field(True, description="store the run; false: only answer")
    timeout_ms: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="deadline in milliseconds, with the time in the queue",
    )


class SimulateRequest(SimulateFields):
    """Embeddings to simulate; only ``embeddings`` is required."""

    embeddings: list[list[float]] = Field(description="rows of the model's embedding_dim numbers")
    sample_keys: list[int] | None = Field(
        None, description="a key for the noise of each row; default: the row's index"
    )


class RunFields(SimulateFields):
    """A request to queue a run, without its embeddings and sample keys."""

    dataset: ModelName | None = Field(None, description="take the embeddings from this dataset")
    rows: list[int] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="first row of the dataset and the row behind the last one; default: all rows",
    )


class RunRequest(RunFields):
    """A run to queue; either ``embeddings`` or ``dataset`` is required."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["embeddings"]}, {"required": ["dataset"]}]}
    )

    embeddings: list[list[float]] | None = Field(
        None, description="rows of the model's embedding_dim numbers"
    )
    sample_keys: list[int] | None = Field(
        None, description="a key for the noise of each row; default: the row's index"
    )


Outputs = Annotated[
    dict[Output, list[Any]],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                output.value: {"type": "array", "items": {}, "description": output.description}
                for output in Output
            },
        }
    ),
]
"""The requested outputs: nested lists of numbers or booleans, of shape [samples, ...]."""


class SimulateAnswer(AnswerBody):
    """All results of a simulation."""

    run_id: str
    model: ModelReference
    seed: int
    outputs: Outputs
    trace: TraceAnswer
    memory: MemoryAnswer
    metrics: RunMetrics
    timing: Timing
    samples: list[SampleMetrics]
    warnings: list[str]


class EstimateAnswer(AnswerBody):
    """The cost of a simulation that was not run."""

    model: ModelReference
    samples: int
    flows: int
    predicted_bytes: int
    flow_steps_bound: int = Field(description="most moves of one flow by one step")
    queue_wait_ms: float | None
    warnings: list[str]
