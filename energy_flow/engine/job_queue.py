"""``JobQueue``: the jobs of an engine that have not ended."""

from __future__ import annotations

import logging
import threading
from typing import Any

import torch

from energy_flow.engine.failures import require_device
from energy_flow.engine.jobs import Job, ModelJob, TrainingJob
from energy_flow.errors import EnergyFlowError

logger = logging.getLogger(__name__)


class JobQueue:
    """Jobs that have not ended; any thread may call all methods but :meth:`advance`.

    Args:
        device: the engine's device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._jobs: list[Job] = []

    def add(self, job: Job) -> None:
        """Add a job; it gets its first turn after the current step."""
        with self._lock:
            self._jobs.append(job)

    @property
    def is_empty(self) -> bool:
        """Whether all jobs have ended."""
        with self._lock:
            return not self._jobs

    @property
    def model_jobs(self) -> list[ModelJob[Any]]:
        """Jobs that use a loaded model."""
        with self._lock:
            return [job for job in self._jobs if isinstance(job, ModelJob)]

    def stop_training(self, run_id: str) -> bool:
        """Request a training to save a snapshot and end, and return whether there is one.

        Args:
            run_id: id of the training.
        """
        with self._lock:
            for job in self._jobs:
                if isinstance(job, TrainingJob) and job.work.run_id == run_id:
                    job.stopping = True
                    return True
        return False

    def advance(self) -> bool:
        """Give every job a turn, on the engine's thread, and return whether there were any.

        Raises:
            EngineFailed: a job found that the device is lost.
        """
        with self._lock:
            jobs = tuple(self._jobs)
        for job in jobs:
            if not job.advance():
                with self._lock:
                    self._jobs.remove(job)
            if job.failure is not None:
                require_device(job.failure, self._device)
        return bool(jobs)

    def abandon(self, error: EnergyFlowError) -> None:
        """End all jobs.

        Args:
            error: why.
        """
        with self._lock:
            jobs, self._jobs = self._jobs, []
        for job in jobs:
            try:
                job.abandon(error)
            except BaseException:
                # The others wait for their ends.
                logger.exception("a job could not be ended")
