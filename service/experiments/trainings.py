"""Trials that train, one step at a time, between other work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from energy_flow.choices import RunState
from energy_flow.engine import Executor, TrainingWork
from energy_flow.errors import (
    CheckpointError,
    DamagedTrainingError,
    EnergyFlowError,
    RunPaused,
)
from energy_flow.training import TrainConfig
from energy_flow.training.store import (
    DIGESTS,
    MODEL,
    RESTORE,
    ResumableStore,
    TrainingFolder,
)
from energy_flow.training.training_files import CHECKPOINTS
from service.experiments.active_training import ActiveTraining
from service.models.registry import ModelRegistry
from service.problems import DamagedFile, Problem, is_storage_fault
from service.runs.active_runs import ActiveRuns

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What the engine needs of a training.

    Attributes:
        config: Its config, with the paths of its files.
        folder: Folder of its snapshots and curves.
        makes_model: Name of the model that it makes.
    """

    config: TrainConfig
    folder: Path
    makes_model: str


class Trainings:
    """Trainings that are under way. Its methods belong to the event loop.

    One step of a training follows one step of the simulations.

    Args:
        executor: Trains.
        models: Registry that will have the trained models.
        runs: Active runs, in which trainings can be found.
    """

    def __init__(self, executor: Executor, models: ModelRegistry, runs: ActiveRuns) -> None:
        self._executor = executor
        self._models = models
        self._runs = runs
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, training: ActiveTraining, job: TrainingJob) -> None:
        """Start a training, or continue it from its last snapshot.

        Args:
            training: The training.
            job: What the engine needs of it.
        """
        self._runs.register(training)
        training.is_under_way = True
        training.request_stop = partial(self._executor.pause, training.run_id)
        task = asyncio.create_task(self._carry_out(training, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, training: ActiveTraining, job: TrainingJob) -> None:
        error: EnergyFlowError | Problem | None
        try:
            error = await self._train(training, job)
        except DamagedTrainingError as damage:
            file = damage.path.relative_to(job.folder.parents[2]).as_posix()
            error = DamagedFile(file, damage.why, damage.advice)
        except (EnergyFlowError, Problem) as failure:
            error = failure
        except Exception as failure:
            if is_storage_fault(failure):
                training.storage_error = failure
            else:
                ids = {"run_id": training.run_id}
                log.exception("the training of run %s failed", training.run_id, extra=ids)
            error = EnergyFlowError(f"{type(failure).__name__}: {failure}")
        training.is_under_way = False
        training.ended(error)
        await training.wait()
        if training.state is RunState.SUCCEEDED:
            await asyncio.to_thread(_remove_snapshots, job.folder)

    async def _train(
        self, training: ActiveTraining, job: TrainingJob
    ) -> EnergyFlowError | Problem | None:
        """Train until the end, or return why the training was stopped before."""
        store = TrainingFolder(job.folder)
        outcome = TrainingOutcome(training, store, asyncio.get_running_loop())
        try:
            self._executor.train(TrainingWork(training.run_id, job.config), outcome)
        finally:
            # Now the training knows its worker.
            training.started(0.0)
        if training.stop_reason is not None:
            # Requested before the executor had the training.
            self._executor.pause(training.run_id)
        if await outcome.future:
            return training.stop_reason
        name = await asyncio.to_thread(self._store_model, job)
        if name != job.makes_model:
            training.record_other_name(job.makes_model, name)
            ids = {"run_id": training.run_id}
            log.warning("the model of run %s is named %s", training.run_id, name, extra=ids)
        return None

    def _store_model(self, job: TrainingJob) -> str:
        """Give the best model a name, so that it is served, and return the name."""
        best = job.folder / MODEL
        TrainingFolder(job.folder).check_best()
        file = self._models.stored.unfinished_file()
        try:
            with best.open("rb") as opened:
                shutil.copyfileobj(opened, file.file)
            return self._models.put_trained(job.makes_model, file).name
        except (CheckpointError, FileNotFoundError) as error:
            raise DamagedTrainingError(best, str(error), RESTORE) from error
        finally:
            file.close()


class TrainingOutcome:
    """Passes the reports of the executor to the event loop.

    Attributes:
        store: Keeps what the training hands over.
        future: Whether the training was stopped before its end, or the error that ended it.

    Args:
        training: The training.
        store: Keeps what the training hands over.
        loop: The event loop.
    """

    def __init__(
        self, training: ActiveTraining, store: ResumableStore, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.store = store
        self.future: asyncio.Future[bool] = loop.create_future()
        self._training = training
        self._loop = loop

    def assigned(self, worker: str, kind: str) -> None:
        """Record the worker, as :meth:`TrainingListener.assigned`."""
        self._training.assigned(worker, kind)

    def progressed(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Report progress, as :meth:`TrainingListener.progressed`."""
        self._call(self._training.progressed, progress, event)

    def ended(self, error: Exception | None) -> None:
        """Report the end, as :meth:`TrainingListener.ended`."""
        self._call(self._set_outcome, error)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        # A closed loop has no readers.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _set_outcome(self, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None or isinstance(error, RunPaused):
            self.future.set_result(error is not None)
        else:
            self.future.set_exception(error)


def _remove_snapshots(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    # In this order a check of the data directory misses nothing.
    for name in (DIGESTS, MODEL):
        (folder / name).unlink(missing_ok=True)
