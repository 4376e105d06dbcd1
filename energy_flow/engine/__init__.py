"""The engine: one thread that owns the device and advances the flows of many runs together."""

from energy_flow.engine.engine import Engine
from energy_flow.engine.estimate import Estimate
from energy_flow.engine.jobs import ReplayOutcome
from energy_flow.engine.loaded_models import LoadedModel
from energy_flow.engine.request import (
    AblationRequest,
    EmbeddingSource,
    ReplayRequest,
    RunListener,
    RunRequest,
    TrainingListener,
    TrainingRequest,
)
from energy_flow.engine.status import EngineStatus

__all__ = [
    "AblationRequest",
    "EmbeddingSource",
    "Engine",
    "EngineStatus",
    "Estimate",
    "LoadedModel",
    "ReplayOutcome",
    "ReplayRequest",
    "RunListener",
    "RunRequest",
    "TrainingListener",
    "TrainingRequest",
]
