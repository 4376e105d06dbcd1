"""Trials that train, carried out on the engine's thread, a step at a time between other work."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from energy_flow.engine import Engine
from energy_flow.errors import EnergyFlowError
from energy_flow.training import TrainConfig
from energy_flow.training.start import from_files
from energy_flow.training.store import CHECKPOINTS, MODEL
from service.experiments.live_training import LiveTraining
from service.models.registry import ModelRegistry
from service.problems import Problem, is_disk_full
from service.runs.active_runs import Runs
from service.states import State

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


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

    def __init__(self, engine: Engine, models: ModelRegistry, runs: Runs, device: str) -> None:
        self._engine = engine
        self._models = models
        self._runs = runs
        self._device = device
        self._tasks: set[asyncio.Task[None]] = set()

    def carry_on(self, live: LiveTraining, work: TrainingWork) -> None:
        """Begins a training, or goes on from its last snapshot."""
        self._runs.know(live)
        live.is_carried = True
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
        trainer = await self._on_device(
            lambda: from_files(
                work.config,
                work.folder,
                resume=True,
                device=self._device,
                memory_limit_bytes=self._engine.memory_limit_bytes,
            )
        )
        while not trainer.ended:
            if live.asked is not None:
                await self._on_device(trainer.save)
                return live.asked
            event = await self._on_device(trainer.advance)
            live.worked(trainer.progress, event)
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

    async def _on_device(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.wrap_future(self._engine.call(work))


def _remove_snapshots(folder: Path) -> None:
    """What only a training that goes on would need."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    (folder / MODEL).unlink(missing_ok=True)
