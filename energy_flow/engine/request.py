"""What a caller hands to the engine, and how it hears back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import EnergyFlowError
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.counters import StepMetrics
from energy_flow.training.config import TrainConfig


class EmbeddingSource(Protocol):
    """Embeddings that are read a part at a time, for batches beyond memory."""

    @property
    def rows(self) -> int:
        """How many embeddings there are."""
        ...

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop``, checked, float32; called on a thread of the engine's."""
        ...


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run.

    Attributes:
        run_id: of the caller's choosing; unique among the runs that have not ended.
        model: digest of the weights; the model is loaded.
        config: the model's config with the options of the run.
        embeddings: float32 [B, E], checked, or a source.
        seed, sample_keys: of the noise; one key a sample.
        outputs: names out of ``embeddings.OUTPUTS``.
        deadline: on the clock of ``time.monotonic()``, or none.
        streams: the listener takes chunks as they end, so that the results of the whole run need
            never be in memory at once.
        first_sample: the first one to simulate; those before it have been done. Embeddings and
            sample keys are those of the whole run all the same.
        chunk_samples: most samples of a chunk; by default, as many as suit the device.
    """

    run_id: str
    model: str
    config: FlowConfig
    embeddings: NDArray[np.float32] | EmbeddingSource
    seed: int
    sample_keys: Sequence[int]
    outputs: tuple[str, ...] = ("surface",)
    deadline: float | None = None
    streams: bool = False
    first_sample: int = 0
    chunk_samples: int | None = None


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One sample of an earlier run, to be simulated again.

    Attributes:
        model: digest of the weights; the model is loaded.
        config: of the run.
        embedding: float32 [E].
        seed: of the run's noise.
        sample_key: of the sample's noise.
        sample: row of the sample in its run, for the trace.
    """

    model: str
    config: FlowConfig
    embedding: NDArray[np.float32]
    seed: int
    sample_key: int
    sample: int


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One training.

    Attributes:
        run_id: of the caller's choosing; unique among the trainings that have not ended.
        config: with its files named.
        folder: where snapshots and curves are kept; a training that is there goes on.
    """

    run_id: str
    config: TrainConfig
    folder: Path


class TrainingListener(Protocol):
    """Is notified about one training, on the engine's thread; its methods must return at once."""

    def progressed(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Report a turn.

        Args:
            progress: how far the training is, as ``Trainer.progress``.
            event: what was done, as ``Trainer.advance`` returns it.
        """

    def ended(self, error: Exception | None) -> None:
        """Report the end; called once, after all else.

        Args:
            error: ``RunPaused`` after a request to stop, ``EngineUnavailable`` when the engine
                stopped first, or what went wrong.
        """


class RunListener:
    """Hears of one run; every method is called on the engine's thread and must return at once."""

    def started(self, entering_seconds: float) -> None:
        """The run's first samples have entered the pool, which took so long."""

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """Some of the run's samples took a step; ``done_samples`` have ended so far."""

    def accepts(self) -> bool:
        """Whether another chunk may be started; false while earlier ones wait to be written."""
        return True

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Results of consecutive samples; chunks come in order and cover the run.

        Of a run that is cancelled or fails, the samples that had started come as they were.
        """

    def ended(self, error: EnergyFlowError | None) -> None:
        """The run has ended; exactly once, after all else.

        ``EngineUnavailable`` says that the engine stopped first: the run may be sent again.
        After ``RunPaused`` it may be sent again from the first sample that has not come.
        """
