"""What travels: requests that are checked here, and answers as OpenAPI shows them.

Embeddings and sample keys, which may be millions of numbers, are declared here for the
documentation only; numpy checks them (:mod:`service.requests.embeddings`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

ModelName = Annotated[str, Field(pattern=MODEL_NAME_PATTERN)]
OutputName = Literal["surface", "planes", "hits", "embedding"]
KindName = Literal["spawn", "reflect", "terminate"]
RunState = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
RunKind = Literal["simulate", "run", "trial", "training"]

MAX_SEED = 2**63 - 1
MAX_INLINE = 1_000_000


class RequestBody(BaseModel):
    """What callers send: known members of the right types only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RingFields(RequestBody):
    """What is recorded."""

    capacity: Any = Field(
        None,
        description="records kept for each sample; 0 turns tracing off",
        json_schema_extra={"type": "integer", "minimum": 0},
    )
    keep: Any = Field(
        None,
        description="which records survive when there is no more room",
        json_schema_extra={"enum": ["latest", "earliest", "lossless"]},
    )
    kinds: Any = Field(
        None,
        description="kinds that are recorded; all are counted",
        json_schema_extra={
            "type": "array",
            "items": {"enum": ["spawn", "reflect", "terminate"]},
        },
    )

    def options(self) -> dict[str, Any]:
        """The part that belongs to the config; its values are checked there."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"inline"}}


class TraceFields(RingFields):
    """What is recorded, and how much of it comes with the answer."""

    inline: int = Field(
        10_000, ge=0, le=MAX_INLINE, description="records in the answer itself, at most"
    )


class SimulateFields(RequestBody):
    """A request to simulate, without its embeddings and sample keys."""

    model: ModelName = "default"
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="default: the config's seed")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="run-time fields of the config, nested or dotted",
    )
    outputs: list[OutputName] = Field(default=["surface"])
    trace: TraceFields = Field(default_factory=TraceFields)
    store: bool = Field(True, description="keep the run; otherwise the answer is all there is")
    timeout_ms: int | None = Field(
        None, ge=1, le=10**9, description="give up after this long, queueing included"
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
        description="of the dataset: from this row to before that one; default: all",
    )


class RunRequest(RunFields):
    """A run to queue: either ``embeddings`` or ``dataset`` is required."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["embeddings"]}, {"required": ["dataset"]}]}
    )

    embeddings: list[list[float]] | None = Field(
        None, description="rows of the model's embedding_dim numbers"
    )
    sample_keys: list[int] | None = Field(
        None, description="a key for the noise of each row; default: the row's index"
    )


class ModelFields(RequestBody):
    """A request for a new, untrained model."""

    name: ModelName
    preset: str = Field("debug", json_schema_extra={"enum": ["debug", "experiment", "optimized"]})
    config: dict[str, Any] = Field(
        default_factory=dict, description="fields that differ from the preset, nested or dotted"
    )
    model_seed: int | None = Field(None, ge=0, le=MAX_SEED)


class ReplayFields(RequestBody):
    """A request to simulate one sample of a run again."""

    sample: int = Field(ge=0, description="row in the run's request")
    flow: int | None = Field(
        None, ge=0, description="tell of this flow, its ancestors and descendants alone"
    )


class AnswerBody(BaseModel):
    """What callers are told; there may be more members than are declared."""

    model_config = ConfigDict(extra="allow")


class FaultView(AnswerBody):
    """One thing that is wrong."""

    loc: list[str | int]
    msg: str
    got: Any = None


class ProblemView(AnswerBody):
    """Why something was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FaultView]


class RunModel(AnswerBody):
    """The model of a run."""

    name: str
    trained: bool
    coord_version: int
    digest: str = Field(description="SHA-256 of its weights")


class TraceAnswer(AnswerBody):
    """Exact counts of the trace's records, and the first of the records themselves."""

    totals: dict[KindName, int]
    recorded: dict[KindName, int]
    dropped: dict[KindName, int]
    records: dict[str, list[Any]]
    inline_truncated: bool
    url: str | None


class Timing(AnswerBody):
    """Where the time went."""

    queue_ms: float
    compute_ms: float
    total_ms: float
    flow_steps_per_second: float | None


class SimulateAnswer(AnswerBody):
    """Everything that a simulation gives."""

    run_id: str
    model: RunModel
    seed: int
    outputs: dict[OutputName, list[Any]]
    trace: TraceAnswer
    memory: dict[str, Any]
    metrics: dict[str, Any]
    timing: Timing
    samples: list[dict[str, Any]]
    warnings: list[str]


class EstimateAnswer(AnswerBody):
    """What a simulation would cost; nothing was run."""

    model: RunModel
    samples: int
    flows: int
    predicted_bytes: int
    flow_steps_bound: int
    queue_wait_ms: float | None
    warnings: list[str]


class Progress(AnswerBody):
    """How far a run is."""

    samples: int
    samples_done: int
    step: int | None = Field(description="the last step of the samples in work")
    fraction: float


class RunDataset(AnswerBody):
    """The part of a dataset that a run took its embeddings from."""

    name: str
    digest: str
    rows: list[int] = Field(description="from this row to before that one")


class TrialReference(AnswerBody):
    """The experiment that a run belongs to."""

    experiment_id: str
    trial: int


class RunView(AnswerBody):
    """A run as a resource."""

    run_id: str
    kind: RunKind
    state: RunState
    model: RunModel
    dataset: RunDataset | None
    seed: int
    outputs: list[OutputName]
    options: dict[str, Any]
    config: dict[str, Any]
    created_at: str
    started_at: str | None
    ended_at: str | None
    progress: Progress
    metrics: dict[str, Any] | None
    trace: dict[str, Any] | None
    timing: Timing | None
    warnings: list[str]
    error: ProblemView | None
    bytes: int
    experiment: TrialReference | None
    url: str


class RunPage(AnswerBody):
    """Some runs, newest first."""

    items: list[RunView]
    next_cursor: str | None


class ModelView(AnswerBody):
    """A model."""

    name: str
    trained: bool
    loaded: bool
    config: dict[str, Any]
    coord_version: int
    digest: str
    created_at: str
    url: str


class ModelPage(AnswerBody):
    """Some models, newest first."""

    items: list[ModelView]
    next_cursor: str | None


class DatasetView(AnswerBody):
    """A dataset."""

    name: str
    digest: str = Field(description="SHA-256 of its .safetensors file")
    rows: int
    dim: int
    targets_dim: int | None
    bytes: int
    created_at: str
    url: str


class DatasetPage(AnswerBody):
    """Some datasets, newest first."""

    items: list[DatasetView]
    next_cursor: str | None


class SystemView(AnswerBody):
    """What the server is made of, and how it is."""

    state: str
    versions: dict[str, str]
    device: str
    engine: dict[str, Any]
    memory: dict[str, Any]
    store: dict[str, Any]
    limits: dict[str, Any]
