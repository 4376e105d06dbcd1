"""Schemas of the state of the server."""

from __future__ import annotations

from pydantic import Field

from energy_flow.choices import EngineState, ServerState
from service.schemas.bodies import AnswerBody


class EngineView(AnswerBody):
    """State and load of the engine."""

    state: EngineState
    failure: str | None = Field(
        description="why the engine can do no work until the server starts again"
    )
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


class WorkerMemoryView(AnswerBody):
    """Memory of a worker, as predicted."""

    limit_bytes: int | None = Field(description="of models, runs and other work")
    models_bytes: int = Field(description="of loaded models, and reserved for work on others")
    admitted_bytes: int = Field(description="of what is in the pools")


class WorkerView(AnswerBody):
    """A worker: an engine on one device."""

    name: str
    host: str
    pid: int
    device: str
    kind: str = Field(description="results of workers of equal kinds have equal bits")
    state: EngineState
    threads: int = Field(description="that compute at once")
    models: list[str] = Field(description="digests of the models that it has loaded")
    queued: int = Field(description="runs")
    active_flows: int
    memory: WorkerMemoryView
    last_heartbeat_ms: float = Field(description="time since its last heartbeat")


class ServerHost(AnswerBody):
    """Memory of the server's process and of its machine."""

    rss_bytes: int
    available_bytes: int
    total_bytes: int


class ServerGroup(AnswerBody):
    """Memory of the control group, such as a container, whose limit leaves the least room."""

    limit_bytes: int
    used_bytes: int = Field(description="by all its processes, without files in the page cache")
    source: str = Field(description="file that sets the limit")


class ServerMemory(AnswerBody):
    """Memory that models and runs may use, and that of the host and of the control group."""

    limit_bytes: int | None = Field(description="of models, runs, trainings and requests")
    models_bytes: int = Field(description="of loaded models, and reserved for work on others")
    host: ServerHost
    group: ServerGroup | None


class ServerCpu(AnswerBody):
    """Cores that the server may use."""

    threads: int = Field(description="that compute at once")
    cores: float = Field(description="lowest of the machine's, the affinity and the quota")
    source: str = Field(description="machine, affinity, or the file that sets a quota")


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
    max_active_requests: int


class SystemView(AnswerBody):
    """Versions, limits and load of the server."""

    state: ServerState
    ready: bool
    versions: dict[str, str]
    device: str
    engine: EngineView
    workers: list[WorkerView]
    memory: ServerMemory
    cpu: ServerCpu
    store: StoreView
    limits: ServerLimits


class HealthAnswer(AnswerBody):
    """The answer to a probe."""

    status: str
