"""A listener that keeps what the engine told, and runs sent to an engine."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.engine import EmbeddingSource, Engine, RunListener, RunRequest
from energy_flow.errors import EnergyFlowError
from energy_flow.telemetry.counters import StepMetrics

SECONDS = 300
"""After which a run that has not ended is taken for lost; far beyond what it takes anywhere."""
OUTPUTS = ("surface", "hits")


class Heard(RunListener):
    """What the engine told of one run."""

    def __init__(self) -> None:
        self.chunks: list[tuple[int, SimulationResult]] = []
        self.error: EnergyFlowError | None = None
        self.steps = 0
        self.begun = threading.Event()
        self.over = threading.Event()

    def started(self, entering_seconds: float) -> None:
        self.begun.set()

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        self.steps += 1

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        self.chunks.append((first_sample, result))

    def ended(self, error: EnergyFlowError | None) -> None:
        assert not self.over.is_set(), "a run ended twice"
        self.error = error
        self.over.set()

    def result(self) -> SimulationResult:
        """The whole run's result, once it has ended; raises what it ended with."""
        assert self.over.wait(SECONDS), "a run was lost"
        if self.error is not None:
            raise self.error
        return SimulationResult.concatenate([result for _, result in self.chunks])


def send(
    engine: Engine,
    processor: FlowProcessor,
    embeddings: NDArray[np.float32] | EmbeddingSource,
    options: Mapping[str, Any] | None = None,
    *,
    name: str = "run",
    seed: int = 0,
    deadline: float | None = None,
    streams: bool = False,
    first_sample: int = 0,
    chunk_samples: int | None = None,
    heard: Heard | None = None,
) -> Heard:
    """Submits a run of these embeddings, with the row as sample key."""
    heard = heard or Heard()
    count = len(embeddings) if isinstance(embeddings, np.ndarray) else embeddings.rows
    engine.submit(
        RunRequest(
            name,
            engine.add_model(processor).digest,
            processor.config.with_options(options or {}),
            embeddings,
            seed,
            range(count),
            OUTPUTS,
            deadline,
            streams,
            first_sample,
            chunk_samples,
        ),
        heard,
    )
    return heard


def check_equal(one: SimulationResult, other: SimulationResult) -> None:
    """Bit for bit the same outputs, traces and counters."""
    for name in OUTPUTS:
        assert np.array_equal(one.outputs[name], other.outputs[name]), name
    for name, column in one.trace.columns.items():
        assert np.array_equal(column, other.trace.columns[name]), name
    assert one.metrics.counters.to_dict() == other.metrics.counters.to_dict()
    assert [s.to_dict() for s in one.samples] == [s.to_dict() for s in other.samples]
