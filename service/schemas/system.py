"""Schemas of the state of the server."""

from __future__ import annotations

from pydantic import Field

from energy_flow.choices import EngineState, ServerState
from service.schemas.bodies import AnswerBody


class EngineView(AnswerBody):
    """State and load of the engine."""

    state: EngineState
    heartbeat_age_seconds: float
    queued_runs: int
    queued_flow_steps: int
    active_runs: int
    active_samples: int
    active_flows: int
    pool_flows: int = Field(description="active flows up to which pools admit samples")
    admitted_bytes: int
    admitted_flow_steps: int
    flow_steps: int = Field(description="since the start of the server")
    flow_steps_per_second: float | None
    out_of_memory_splits: int


class ServerHost(AnswerBody):
    """Memory of the server's process and of its machine."""

    rss_bytes: int
    available_bytes: int
    total_bytes: int


class ServerMemory(AnswerBody):
    """Memory that runs may use, and that of the host."""

    limit_bytes: int | None
    host: ServerHost


class StoreView(AnswerBody):
    """Size of the store."""

    runs: int
    ended_runs_bytes: int
    keep_runs_bytes: int
    datasets: int
    datasets_bytes: int
    max_datasets_bytes: int | None = Field(
        description="beyond it, new datasets are refused; null if there is no limit"
    )
    models_bytes: int
    max_models_bytes: int | None = Field(
        description="beyond it, new models are refused; null if there is no limit"
    )
    disk_free_bytes: int
    disk_total_bytes: int


class ServerLimits(AnswerBody):
    """The largest requests that the server accepts."""

    max_body_bytes: int
    max_upload_bytes: int
    max_samples: int
    max_queued_flow_steps: int


class SystemView(AnswerBody):
    """Versions, limits and load of the server."""

    state: ServerState
    ready: bool
    versions: dict[str, str]
    device: str
    engine: EngineView
    memory: ServerMemory
    store: StoreView
    limits: ServerLimits


class HealthAnswer(AnswerBody):
    """The answer to a probe."""

    status: str
