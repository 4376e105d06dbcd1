"""``Executor``: whoever carries out work, in this process or elsewhere."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from energy_flow.ablation import AblationMeasurements
from energy_flow.choices import Ablation
from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.estimate import Estimate
from energy_flow.engine.jobs import ReplayOutcome
from energy_flow.engine.loaded_models import LoadedModel
from energy_flow.engine.model_memory import ModelMemory
from energy_flow.engine.request import (
    ReplayRequest,
    RunListener,
    TrainingListener,
    TrainingWork,
)
from energy_flow.engine.status import WorkerStatus
from energy_flow.engine.work import AblationWork, Work


class WorkListener(RunListener):
    """Receives the events of a run as :class:`RunListener`, and reads its embeddings."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return checked embeddings; called on a thread that may wait for the disk.

        Only work whose embeddings are a ``RowReference`` is asked.

        Args:
            start: first sample of the run.
            stop: sample after the last.

        Returns:
            float32 [stop - start, E].
        """
        raise NotImplementedError


class AblationListener(Protocol):
    """Receives the progress of an ablation, on any thread; its methods must be short."""

    def progressed(self, done: int, current: Ablation | None) -> None:
        """Receive what is done.

        Args:
            done: rows that have been simulated, of all variants together.
            current: the part that is switched off now, if any.
        """


class Executor(Protocol):
    """Carries out work on one or more workers; any thread may call the methods.

    All operations have names, and what they take and return can be pickled, but for files, which
    belong to the caller's machine, and for listeners, which stay in the caller's process.
    """

    @property
    def host_memory(self) -> ModelMemory:
        """Memory of this process, in which it also holds requests and results."""
        ...

    def start(self) -> None:
        """Start the workers.

        Raises:
            EngineUnavailable: they were started before.
        """

    def drain(self, seconds: float) -> None:
        """Accept no new work, let runs that have started end, then stop.

        Work that has not started, and runs that have not ended in time, end with
        ``EngineUnavailable``.

        Args:
            seconds: longest wait for the runs that have started.
        """

    def stop(self) -> None:
        """Stop after the current steps; work that has not ended ends with ``EngineUnavailable``."""

    def status(self) -> list[WorkerStatus]:
        """Return what the workers are doing now, without waiting for a step; at least one."""
        ...

    def submit(self, work: Work, listener: WorkListener) -> None:
        """Queue a run and return at once.

        Args:
            work: run to simulate.
            listener: notified of the run.

        Raises:
            EngineUnavailable: no runs are accepted.
            ConfigError: one sample of the run cannot fit in memory.
            CapacityError: its results cannot all be in memory, and it does not stream them.
            ModelNotLoaded: its model is not loaded; load it and submit again.
            QueueFull: too much work is waiting; ``MemoryInUse`` if it and its models have the
                memory.
        """

    def cancel(self, run_id: str, *, discard: bool = False) -> bool:
        """Request a run to end after the current step.

        Args:
            run_id: id of the run.
            discard: whether nobody waits for the results that it has by then.

        Returns:
            Whether there is a run with this id that has not ended.
        """
        ...

    def pause(self, run_id: str) -> bool:
        """Request a run or a training to end with ``RunPaused``, so that it can be resumed.

        A run ends after its chunks in the pools, a training after a snapshot.

        Args:
            run_id: id of the run or the training.

        Returns:
            Whether there is one with this id that has not ended.
        """
        ...

    def require_room(self, client: str) -> None:
        """Refuse a run for which there is no room in the queue, however small it is.

        Args:
            client: who would send it.

        Raises:
            QueueFull: too much work is waiting.
        """

    def check(
        self,
        config: FlowConfig,
        samples: int,
        *,
        streams: bool = False,
        model: str = "",
        base: FlowConfig | None = None,
    ) -> None:
        """Refuse a run that can never fit in memory beside the models that always stay.

        Args:
            config: config of the run.
            samples: number of its samples.
            streams: whether its results need not all be in memory at once.
            model: digest of the weights, if the model is loaded.
            base: config of the model; that of the run if none.

        Raises:
            ConfigError: one sample of the run cannot fit.
            CapacityError: its model cannot be loaded, or its results cannot all be in memory, and
                it does not stream them.
        """

    def estimate(self, config: FlowConfig, samples: int, model: str = "") -> Estimate:
        """Return what a run would cost.

        Args:
            config: config of the run.
            samples: number of its samples.
            model: digest of the weights, if the model is loaded.
        """
        ...

    def replay(self, request: ReplayRequest) -> Future[ReplayOutcome]:
        """Simulate one sample of an earlier run again, between other work.

        Args:
            request: sample to simulate.

        Raises:
            CapacityError: one sample can never fit.
            EngineUnavailable: no work is accepted.
            MemoryInUse: runs and their models have the memory.
            ModelNotLoaded: the model is not loaded.
        """
        ...

    def ablate(
        self, work: AblationWork, listener: AblationListener
    ) -> Future[AblationMeasurements]:
        """Measure a model with parts of it switched off, between other work.

        Args:
            work: what to measure.
            listener: notified of the progress.

        Returns:
            What was measured; until then the future can be cancelled.

        Raises:
            DataError: the rows do not suit the model.
            CapacityError: one sample can never fit.
            EngineUnavailable: no work is accepted.
            MemoryInUse: runs and their models have the memory.
            ModelNotLoaded: the model is not loaded.
        """
        ...

    def train(self, work: TrainingWork, listener: TrainingListener) -> None:
        """Start a training and return at once; it takes turns with other work.

        Args:
            work: training to start, or to resume from what the listener keeps of it.
            listener: notified of the training; gets its snapshots, its best model and its events.

        Raises:
            EngineUnavailable: no work is accepted.
        """

    def check_model(self, config: FlowConfig) -> None:
        """Refuse a model that can never be loaded beside the models that always stay.

        Args:
            config: config of the model.

        Raises:
            ConfigError: one sample of the model cannot fit in memory.
            CapacityError: the model can never be loaded, for want of memory.
        """

    def load_model(
        self, source: FlowConfig | Path, *, prepare: bool = True, is_permanent: bool = True
    ) -> LoadedModel:
        """Load a model, which work then names by its digest; blocks until that is done.

        If memory is short, models that are not permanent and that no run uses are unloaded first.

        Args:
            source: a checkpoint, or the config of an untrained model.
            prepare: whether to prepare the model for its first run now, which can take seconds.
            is_permanent: whether it is never unloaded but by name.

        Raises:
            CheckpointError: the file is not a usable checkpoint.
            CapacityError: the model can never be loaded, for want of memory.
            MemoryInUse: runs and their models have the memory.
            EngineUnavailable: no work is accepted.
            OSError: the file cannot be read.
        """
        ...

    def has_model(self, digest: str, config: FlowConfig) -> bool:
        """Return whether a model is loaded.

        Args:
            digest: digest of the weights.
            config: config of the model.
        """
        ...

    def unload_model(self, digest: str, config: FlowConfig) -> None:
        """Forget a model; runs that use it continue.

        Args:
            digest: digest of the weights.
            config: config of the model.
        """

    def create_checkpoint(self, config: FlowConfig, path: Path) -> LoadedModel:
        """Draw the weights of an untrained model and write them to a file, without loading them.

        Args:
            config: config of the model.
            path: file to write.

        Raises:
            ConfigError: one sample of the model cannot fit in memory.
            CapacityError: the model can never be loaded, for want of memory.
            MemoryInUse: runs and their models have the memory.
            OSError: the file cannot be written.
        """
        ...

    def save_model(self, digest: str, config: FlowConfig, path: Path) -> None:
        """Write a loaded model as a checkpoint.

        Args:
            digest: digest of the weights.
            config: config of the model.
            path: file to write.

        Raises:
            ModelNotLoaded: the model is not loaded.
            OSError: the file cannot be written.
        """
