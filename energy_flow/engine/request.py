"""Requests to the engine, and the listeners that it notifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.ablation import AblationRun
from energy_flow.config.flow_config import FlowConfig
from energy_flow.errors import EnergyFlowError
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.ledger import StepMetrics
from energy_flow.training.config import TrainConfig
from energy_flow.training.data import Pairs
from energy_flow.training.store import ResumableStore, TrainingFolder


class EmbeddingSource(Protocol):
    """Embeddings that are read in parts, for batches that do not fit in memory."""

    @property
    def rows(self) -> int:
        """Number of embeddings."""
        ...

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return checked embeddings; called on a reading thread of the engine.

        Args:
            start: first row.
            stop: row after the last.

        Returns:
            float32 [stop - start, E].
        """
        ...


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run.

    Attributes:
        run_id: id that the caller chooses; unique among the runs that have not ended.
        model: digest of the weights of a loaded model.
        config: the model's config with the options of the run.
        embeddings: float32 [B, E], checked, or their source.
        seed: seed of the noise.
        sample_keys: keys of the noise, one a sample.
        outputs: names of ``choices.Output``.
        deadline: time on the clock of ``time.monotonic()``, or none.
        streams: whether the listener releases the results of each chunk, so that the results of
            the whole run need never be in memory at once.
        first_sample: first sample to simulate, for a run that is resumed.
        first_row: sample of the first embedding and the first sample key; the last sample is that
            of the last one. By default they are those of the whole run.
        chunk_samples: most samples of a chunk; by default, as many as suit the device.
        client: who sends the run; runs of several clients take turns.
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
    client: str = ""
    first_row: int = 0


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One sample of an earlier run, to be simulated again.

    Attributes:
        model: digest of the weights of a loaded model.
        config: config of the run.
        embedding: float32 [E].
        seed: seed of the run's noise.
        sample_key: key of the sample's noise.
        sample: row of the sample in its run, for the trace.
    """

    model: str
    config: FlowConfig
    embedding: NDArray[np.float32]
    seed: int
    sample_key: int
    sample: int


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """One training. It can be pickled.

    Attributes:
        run_id: id that the caller chooses; unique among the trainings that have not ended.
        config: config that names the files of the data.
    """

    run_id: str
    config: TrainConfig


@dataclass(frozen=True, slots=True)
class AblationRequest:
    """A model to measure with parts of it switched off.

    Attributes:
        model: digest of the weights of a loaded model.
        config: of the runs.
        pairs: rows to predict.
        resamples: samples of rows from which intervals are computed.
        on_turn: called on the engine's thread after each turn; it must be short.
    """

    model: str
    config: FlowConfig
    pairs: Pairs
    resamples: int
    on_turn: Callable[[AblationRun], None]


class TrainingListener(Protocol):
    """Receives the events of one training, on the engine's thread; its methods must be short.

    Attributes:
        store: keeps what the training hands over: snapshots, the best model and events. A training
            that it has is resumed.
    """

    store: ResumableStore

    def assigned(self, worker: str, kind: str) -> None:
        """Receive which worker gets the training; called before it starts.

        Args:
            worker: name of the worker.
            kind: its kind, as ``WorkerStatus.kind``.
        """

    def progressed(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Receive what a turn has done.

        Args:
            progress: value of ``Trainer.progress``.
            event: value of ``Trainer.advance``.
        """

    def ended(self, error: Exception | None) -> None:
        """Receive the end of the training; called once, after all other methods.

        Args:
            error: none after the last step; ``RunPaused`` after a request to stop;
                ``EngineUnavailable`` when the engine stopped; otherwise why the training failed.
        """


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A training whose store is a folder; the former form of :class:`TrainingWork`.

    Attributes:
        run_id: id that the caller chooses; unique among the trainings that have not ended.
        config: config that names the files of the data.
        folder: where snapshots and curves are kept; a training that is there is resumed.
    """

    run_id: str
    config: TrainConfig
    folder: Path


class FolderListener:
    """A listener of a :class:`TrainingRequest`, with its folder as the store.

    Args:
        listener: receives progress and end.
        folder: as ``TrainingRequest.folder``.
    """

    def __init__(self, listener: TrainingListener, folder: Path) -> None:
        self.store: ResumableStore = TrainingFolder(folder)
        self.progressed = listener.progressed
        self.ended = listener.ended

    def assigned(self, worker: str, kind: str) -> None:
        """Do nothing: the listener does not know of workers."""


class RunListener:
    """Receives the events of one run, on the engine's thread; its methods must be short."""

    def assigned(self, worker: str, kind: str) -> None:
        """Receive which worker gets the run; called before it starts.

        Args:
            worker: name of the worker.
            kind: its kind, as ``WorkerStatus.kind``.
        """

    def started(self, entering_seconds: float) -> None:
        """Receive that the first samples of the run have entered the pool.

        Args:
            entering_seconds: how long the entering took.
        """

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """Receive a step of some samples of the run.

        Args:
            metrics: metrics of the step.
            done_samples: number of samples of the run that have ended.
        """

    def accepts(self) -> bool:
        """Return whether another chunk may start; false while earlier ones wait to be written."""
        return True

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Receive results of consecutive samples; chunks arrive in order and cover the run.

        When a run is cancelled or fails, the samples that had started are delivered incomplete.

        Args:
            first_sample: first sample of the results.
            result: results of the samples.
        """

    def ended(self, error: EnergyFlowError | None) -> None:
        """Receive the end of the run; called once, after all other methods.

        Args:
            error: none after the last sample. After ``EngineUnavailable`` the run may be submitted
                again; after ``RunPaused``, from the first sample that was not delivered.
        """
