"""Many runs on one device, on one thread; and executors, which carry out work here or elsewhere."""

from energy_flow.engine.engine import Engine
from energy_flow.engine.estimate import Estimate
from energy_flow.engine.executor import AblationListener, Executor, WorkListener
from energy_flow.engine.jobs import ReplayOutcome
from energy_flow.engine.loaded_models import LoadedModel
from energy_flow.engine.local_executor import LocalExecutor
from energy_flow.engine.request import (
    AblationRequest,
    EmbeddingSource,
    ReplayRequest,
    RunListener,
    RunRequest,
    TrainingListener,
    TrainingRequest,
    TrainingWork,
)
from energy_flow.engine.status import EngineStatus, WorkerMemory, WorkerStatus
from energy_flow.engine.work import AblationWork, RowReference, Work

__all__ = [
    "AblationListener",
    "AblationRequest",
    "AblationWork",
    "EmbeddingSource",
    "Engine",
    "EngineStatus",
    "Estimate",
    "Executor",
    "LoadedModel",
    "LocalExecutor",
    "ReplayOutcome",
    "ReplayRequest",
    "RowReference",
    "RunListener",
    "RunRequest",
    "TrainingListener",
    "TrainingRequest",
    "TrainingWork",
    "Work",
    "WorkListener",
    "WorkerMemory",
    "WorkerStatus",
]
