"""The engine: one thread that owns the device and advances the flows of many runs together."""

from energy_flow.engine.engine import Engine, EngineStatus, Estimate
from energy_flow.engine.request import EmbeddingSource, RunListener, RunRequest

__all__ = [
    "EmbeddingSource",
    "Engine",
    "EngineStatus",
    "Estimate",
    "RunListener",
    "RunRequest",
]
