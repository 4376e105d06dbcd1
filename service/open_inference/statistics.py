"""Counts and times of the inferences of each model since the start of the server."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from energy_flow.simulation.footprint import footprint
from service.models.model import Model
from service.open_inference.served_models import VERSION, served_name

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class Duration:
    """The number and the total time of some events.

    Attributes:
        count: Number of events.
        ns: Their total time in nanoseconds.
    """

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Add an event.

        Args:
            seconds: Time that it took.
        """
        self.count += 1
        self.ns += round(seconds * 1e9)

    def to_dict(self) -> dict[str, int]:
        """Return the duration as JSON data."""
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class ModelStatistics:
    """The statistics of one model. An execution is a request; an inference is one of its samples.

    Attributes:
        success: Answered requests.
        fail: Refused and failed requests.
        stages: Times of the answered requests by stage.
        inferences: Samples of the answered requests.
        last_inference_ms: Time of the last answer, milliseconds since the epoch.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    stages: dict[str, Duration] = field(
        default_factory=lambda: {name: Duration() for name in STAGES}
    )
    inferences: int = 0
    last_inference_ms: int = 0

    def add_success(self, samples: int, seconds: float, **stages: float) -> None:
        """Add a request that was answered.

        Args:
            samples: Its samples.
            seconds: Time from its arrival to its answer.
            stages: Seconds of each of :data:`STAGES`.
        """
        self.inferences += samples
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.success.add(seconds)
        for name, stage_seconds in stages.items():
            self.stages[name].add(stage_seconds)

    def add_failure(self, seconds: float) -> None:
        """Add a request that was refused or failed.

        Args:
            seconds: Time from its arrival to its answer.
        """
        self.fail.add(seconds)


class InferenceStatistics:
    """The statistics of all models; only the event loop uses it."""

    def __init__(self) -> None:
        self._models: dict[str, ModelStatistics] = {}

    def of_model(self, model: Model) -> ModelStatistics:
        """Return the statistics of a model, which the caller may add to."""
        return self._models.setdefault(model.name, ModelStatistics())

    def describe(self, model: Model, device: str) -> dict[str, Any]:
        """Return the statistics of a model as the protocol has them.

        Args:
            model: The model.
            device: Type of the device, such as ``cpu``.
        """
        statistics = self._models.get(model.name, ModelStatistics())
        none = Duration().to_dict()
        weights = footprint(model.config, 0).weights if model.is_loaded else 0
        kind = "CPU" if device == "cpu" else "GPU"
        return {
            "name": served_name(model),
            "version": VERSION,
            "last_inference": statistics.last_inference_ms,
            "inference_count": statistics.inferences,
            "execution_count": statistics.success.count,
            "inference_stats": {
                "success": statistics.success.to_dict(),
                "fail": statistics.fail.to_dict(),
                **{name: stage.to_dict() for name, stage in statistics.stages.items()},
                "cache_hit": none,
                "cache_miss": none,
            },
            "response_stats": {},
            "batch_stats": [],
            "memory_usage": [{"type": kind, "id": 0, "byte_size": weights}],
        }
