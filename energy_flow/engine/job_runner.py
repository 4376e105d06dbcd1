"""``JobRunner``: the part of an engine that takes other work than runs."""

from __future__ import annotations

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from energy_flow.ablation import AblationMeasurements
from energy_flow.engine.job_queue import JobQueue
from energy_flow.engine.jobs import (
    AblationJob,
    CallJob,
    FutureJob,
    Job,
    ModelJob,
    ReplayJob,
    ReplayOutcome,
    TrainingJob,
)
from energy_flow.engine.loaded_models import LoadedModels, model_key
from energy_flow.engine.model_memory import ModelMemory
from energy_flow.engine.request import (
    AblationRequest,
    FolderListener,
    ReplayRequest,
    TrainingListener,
    TrainingRequest,
    TrainingWork,
)
from energy_flow.simulation.model_footprint import loaded_bytes

Answer = TypeVar("Answer")


class JobRunner(ABC):
    """Takes work that the engine's thread does in turns; any thread may call the methods.

    Attributes:
        device: where the work is done.
        name: name of the worker that the engine is.
        kind: kind of this worker.
        memory: the memory of models, runs and requests.
        max_pool_flows: active flows up to which the pools admit samples.
    """

    device: torch.device
    name: str
    kind: str
    memory: ModelMemory
    max_pool_flows: int
    _lock: threading.Condition
    _jobs: JobQueue
    _models: LoadedModels

    @abstractmethod
    def _check_accepting(self) -> None:
        """Refuse jobs unless the thread is running.

        Raises:
            EngineUnavailable: it is not.
        """

    def call(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Call a short function on the engine's thread, between steps.

        Args:
            function: called once.

        Returns:
            What the function returns or raises.

        Raises:
            EngineUnavailable: the engine is not running.
        """
        return self._run_job(CallJob(function))

    def replay(self, request: ReplayRequest) -> Future[ReplayOutcome]:
        """Simulate one sample of an earlier run again, in short turns between steps.

        Args:
            request: sample to simulate.

        Raises:
            CapacityError: one sample can never fit.
            EngineUnavailable: the engine is not running.
            MemoryInUse: runs and their models have the memory.
            ModelNotLoaded: the model is not loaded.
        """
        job = ReplayJob(request, self._models.get(request.model, request.config), self.kind)
        self._enqueue_with_model("the replay", job)
        return job.future

    def ablate(self, request: AblationRequest) -> Future[AblationMeasurements]:
        """Measure a model with parts of it switched off, in short turns between steps.

        Args:
            request: what to measure.

        Returns:
            What was measured; until then the future can be cancelled.

        Raises:
            DataError: the rows do not suit the model.
            CapacityError: one sample can never fit.
            EngineUnavailable: the engine is not running.
            MemoryInUse: runs and their models have the memory.
            ModelNotLoaded: the model is not loaded.
        """
        processor = self._models.get(request.model, request.config)
        available = self.memory.available_bytes(model_key(request.model, request.config))
        if available is not None:
            available -= loaded_bytes(processor.config)
        job = AblationJob(request, processor, self.max_pool_flows, available)
        self._enqueue_with_model("the ablation", job)
        return job.future

    def train(self, work: TrainingWork | TrainingRequest, listener: TrainingListener) -> None:
        """Start a training and return at once; it does one turn after each step of the pools.

        Args:
            work: training to start or to resume.
            listener: notified of the training, and keeps it, on the engine's thread.

        Raises:
            EngineUnavailable: the engine is not running.
        """
        if isinstance(work, TrainingRequest):
            warnings.warn(
                "TrainingRequest will be removed: pass a TrainingWork, and a listener with a store",
                DeprecationWarning,
                stacklevel=2,
            )
            listener = FolderListener(listener, work.folder)
            work = TrainingWork(work.run_id, work.config)
        listener.assigned(self.name, self.kind)
        self._enqueue(TrainingJob(work, listener, str(self.device), self.memory))

    def stop_training(self, run_id: str) -> bool:
        """Request a training to save a snapshot and end with ``RunPaused``.

        Args:
            run_id: id of the training.

        Returns:
            Whether there is a training with this id.
        """
        return self._jobs.stop_training(run_id)

    def _run_job(self, job: FutureJob[Answer]) -> Future[Answer]:
        self._enqueue(job)
        return job.future

    def _enqueue(self, job: Job) -> None:
        with self._lock:
            self._check_accepting()
            self._jobs.add(job)
            self._lock.notify_all()

    def _enqueue_with_model(self, what: str, job: ModelJob[Any]) -> None:
        """Add a job that uses a loaded model, if there is memory for it."""
        with self._lock:
            self.memory.check_room(what, job.processor, job.bytes, may_wait=False)
            self._enqueue(job)
