"""Trials that train, carried out on the engine's thread, a step at a time between other work."""

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

from energy_flow.engine import Engine, TrainingRequest
from energy_flow.errors import EnergyFlowError, RunPaused
from energy_flow.training import TrainConfig
from energy_flow.training.store import CHECKPOINTS, MODEL
from service.experiments.live_training import LiveTraining
from service.models.registry import ModelRegistry
from service.problems import Problem, is_disk_full
from service.runs.active_runs import Runs
from service.states import State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """What a training needs.

    Attributes:
        config: with its files named. folder: where it is kept.
        makes_model: the name of the model that comes of it.
    """

    config: TrainConfig
    folder: Path
    makes_model: str


class Trainings:
    """Trainings under way. Its methods belong to the event loop.

    A training shares the engine's thread with simulations: one of its steps, then a step of theirs.
    """

    def __init__(self, engine: Engine, models: ModelRegistry, runs: Runs) -> None:
        self._engine = engine
        self._models = models
        self._runs = runs
        self._tasks: set[asyncio.Task[None]] = set()

    def carry_on(self, live: LiveTraining, work: TrainingWork) -> None:
        """Begins a training, or goes on from its last snapshot."""
        self._runs.know(live)
        live.is_carried = True
        live.on_stop = partial(self._engine.stop_training, live.run_id)
        task = asyncio.create_task(self._carry_out(live, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, live: LiveTraining, work: TrainingWork) -> None:
        error: EnergyFlowError | None
        try:
            error = await self._train(live, work)
        except EnergyFlowError as failure:
            error = failure
        except Problem as problem:
            error = EnergyFlowError(problem.detail)
        except Exception as failure:
            if is_disk_full(failure):
                live.storage_error = failure
            else:
                log.exception("the training of run %s broke off", live.run_id)
            error = EnergyFlowError(f"{type(failure).__name__}: {failure}")
        live.is_carried = False
        live.ended(error)
        await live.wait()
        if live.state == State.SUCCEEDED:
            await asyncio.to_thread(_remove_snapshots, work.folder)

    async def _train(self, live: LiveTraining, work: TrainingWork) -> EnergyFlowError | None:
        """Trains until the end; what it was stopped for, if that came before."""
        live.started(0.0)
        outcome = Outcome(live, asyncio.get_running_loop())
        request = TrainingRequest(live.run_id, work.config, work.folder)
        self._engine.train(request, outcome)
        if live.asked is not None:
            # Since before the engine had it.
            self._engine.stop_training(live.run_id)
        if await outcome.future:
            return live.asked
        await asyncio.to_thread(self._keep_model, work)
        return None

    def _keep_model(self, work: TrainingWork) -> None:
        """Names the best model, so that it is served."""
        file = self._models.unfinished_file()
        try:
            with (work.folder / MODEL).open("rb") as best:
                shutil.copyfileobj(best, file.file)
            self._models.put(work.makes_model, file)
        finally:
            file.close()


class Outcome:
    """Passes what the engine reports on to the event loop.

    Attributes:
        future: whether the training was stopped before its end; or what went wrong.
    """

    def __init__(self, live: LiveTraining, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[bool] = loop.create_future()
        self._live = live
        self._loop = loop

    def progressed(self, progress: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Report a turn."""
        self._call(self._live.worked, progress, event)

    def ended(self, error: Exception | None) -> None:
        """Report the end."""
        self._call(self._settle, error)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        # A loop that is closed has no listeners left.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _settle(self, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None or isinstance(error, RunPaused):
            self.future.set_result(error is not None)
        else:
            self.future.set_exception(error)


def _remove_snapshots(folder: Path) -> None:
    """What only a training that goes on would need."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    (folder / MODEL).unlink(missing_ok=True)
