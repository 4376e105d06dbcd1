"""A listener that records the notifications of the engine, and submission of runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow import FlowProcessor, SimulationResult
from energy_flow.engine import EmbeddingSource, Engine, RunListener, RunRequest
from energy_flow.errors import EnergyFlowError
from energy_flow.telemetry.ledger import StepMetrics
from tests.support.waits import LIMIT_SECONDS

OUTPUTS = ("surface", "hits")


class RecordingListener(RunListener):
    """Records the notifications of one run."""

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
        """Wait for the end of the run and return its result, or raise its error."""
        assert self.over.wait(LIMIT_SECONDS), "the run did not end in time"
        if self.error is not None:
            raise self.error
        return SimulationResult.concatenate([result for _, result in self.chunks])


def submit(
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
    listener: RecordingListener | None = None,
) -> RecordingListener:
    """Submit a run of embeddings whose sample keys are their rows, and return its listener."""
    listener = listener or RecordingListener()
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
        listener,
    )
    return listener


def assert_equal(one: SimulationResult, other: SimulationResult) -> None:
    """Assert that outputs, traces and counters are equal bit by bit."""
    for name in OUTPUTS:
        assert np.array_equal(one.outputs[name], other.outputs[name]), name
    for name, column in one.trace.columns.items():
        assert np.array_equal(column, other.trace.columns[name]), name
    assert one.metrics.counters.to_dict() == other.metrics.counters.to_dict()
    assert [s.to_dict() for s in one.samples] == [s.to_dict() for s in other.samples]
