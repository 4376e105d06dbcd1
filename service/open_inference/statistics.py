"""Counts and times of the inferences of each model, since the server's start."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from energy_flow.simulation.footprint import footprint
from service.models.registry import Model
from service.open_inference.inference import VERSION, served_name

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class Duration:
    """How often something was done, and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Once more."""
        self.count += 1
        self.ns += round(seconds * 1e9)

    def to_dict(self) -> dict[str, int]:
        """Plain JSON data."""
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class ModelStatistics:
    """Of one model. An execution is a request, an inference one of its samples."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    stages: dict[str, Duration] = field(
        default_factory=lambda: {name: Duration() for name in STAGES}
    )
    inferences: int = 0
    last_inference_ms: int = 0

    def succeeded(self, samples: int, seconds: float, **stages: float) -> None:
        """An inference was answered.

        Args:
            stages: seconds of each of :data:`STAGES`.
        """
        self.inferences += samples
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.success.add(seconds)
        for name, spent in stages.items():
            self.stages[name].add(spent)

    def failed(self, seconds: float) -> None:
        """An inference was refused or failed."""
        self.fail.add(seconds)


class InferenceStatistics:
    """Of all models; belongs to the event loop."""

    def __init__(self) -> None:
        self._models: dict[str, ModelStatistics] = {}

    def of(self, model: Model) -> ModelStatistics:
        """Of one model, to be added to."""
        return self._models.setdefault(model.name, ModelStatistics())

    def describe(self, model: Model, device: str) -> dict[str, Any]:
        """Of one model, as the protocol has them."""
        held = self._models.get(model.name, ModelStatistics())
        nothing = Duration().to_dict()
        weights = footprint(model.config, 0).weights if model.is_loaded else 0
        kind = "CPU" if device == "cpu" else "GPU"
        return {
            "name": served_name(model),
            "version": VERSION,
            "last_inference": held.last_inference_ms,
            "inference_count": held.inferences,
            "execution_count": held.success.count,
            "inference_stats": {
                "success": held.success.to_dict(),
                "fail": held.fail.to_dict(),
                **{name: stage.to_dict() for name, stage in held.stages.items()},
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "response_stats": {},
            "batch_stats": [],
            "memory_usage": [{"type": kind, "id": 0, "byte_size": weights}],
        }
