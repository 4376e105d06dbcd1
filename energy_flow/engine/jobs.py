"""``Job``: work that the engine's thread does between the steps of the pools, in short turns."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from energy_flow.ablation import DEFAULT_ROWS_AT_ONCE, AblationMeasurements, AblationRun
from energy_flow.engine.capacity import chunk_samples
from energy_flow.engine.failures import as_energy_flow_error
from energy_flow.engine.model_memory import ModelMemory, Reservation
from energy_flow.engine.request import (
    AblationRequest,
    ReplayRequest,
    TrainingListener,
    TrainingWork,
)
from energy_flow.errors import EnergyFlowError, RunPaused
from energy_flow.runtime.device_errors import is_out_of_memory
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.footprint import footprint
from energy_flow.simulation.replay import PathRecorder, Replay, ReplayRun
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.training.start import start_training
from energy_flow.training.trainer import Trainer

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

TURN_SECONDS = 0.02
"""Longest time for which a replay may delay the next step of the pools."""

WAIT_SECONDS = 0.002
"""Wait of a training that finds no memory, so that it does not keep the processor busy."""


class Job(Protocol):
    """Work in turns.

    Attributes:
        failure: what a turn raised, once one has.
    """

    failure: BaseException | None

    def advance(self) -> bool:
        """Do a turn, and return whether more is left; never raises."""
        ...

    def abandon(self, error: EnergyFlowError) -> None:
        """End the work because the engine stops.

        Args:
            error: why.
        """
        ...


class FutureJob(ABC, Generic[Answer]):
    """Work whose result is a future.

    Attributes:
        future: what the work returns or raises.
        failure: what a turn raised, once one has.
    """

    def __init__(self) -> None:
        self.future: Future[Answer] = Future()
        self.failure: BaseException | None = None

    def advance(self) -> bool:
        """Do a turn, and return whether more is left."""
        try:
            return self._advance()
        except BaseException as error:
            self.failure = as_energy_flow_error(error) if is_out_of_memory(error) else error
            self._fail(self.failure)
            return False

    def abandon(self, error: EnergyFlowError) -> None:
        """Let the future raise the error."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        # A future that was cancelled meanwhile takes no error.
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    @abstractmethod
    def _advance(self) -> bool:
        """Do a turn, and return whether more is left; set the result if nothing is."""


class CallJob(FutureJob[Any]):
    """One call of a function.

    Args:
        function: called once.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self._function = function

    def _advance(self) -> bool:
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(self._function())
        return False


class ModelJob(FutureJob[Answer]):
    """Work that uses a loaded model.

    Attributes:
        processor: the model.
        bytes: predicted memory of the work, without the model.

    Args:
        processor: the model.
        bytes: predicted memory of the work, without the model.
    """

    def __init__(self, processor: FlowProcessor, bytes: int) -> None:
        super().__init__()
        self.processor = processor
        self.bytes = bytes


class PreparationJob(FutureJob[None]):
    """The preparation of a model for its first run, one part in a turn.

    Args:
        processor: model to prepare.
    """

    def __init__(self, processor: FlowProcessor) -> None:
        super().__init__()
        self._parts = processor.prepare_in_parts()

    def _advance(self) -> bool:
        for _ in self._parts:
            return True
        self.future.set_result(None)
        return False


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """One sample, simulated again. It can be pickled, and needs neither model nor device.

    Attributes:
        result: result of a run of this sample alone.
        kind: kind of the worker that has simulated it.
    """

    result: SimulationResult
    kind: str
    _recorder: PathRecorder

    def paths(self) -> Replay:
        """Return the paths of all flows; takes long for many flows."""
        return self._recorder.assemble(self.result.trace)


class ReplayJob(ModelJob[ReplayOutcome]):
    """A replay: in a turn at least one step, and more within ``TURN_SECONDS``.

    Args:
        request: sample to simulate.
        processor: model of the request.
        kind: kind of the worker.
    """

    def __init__(self, request: ReplayRequest, processor: FlowProcessor, kind: str) -> None:
        one = footprint(request.config, 1, device=processor.device)
        super().__init__(processor, one.state + one.trace + one.workspace)
        self._request = request
        self._kind = kind
        self._replay_run: ReplayRun | None = None

    def _advance(self) -> bool:
        until = time.perf_counter() + TURN_SECONDS
        if self._replay_run is None:
            request = self._request
            self._replay_run = ReplayRun(
                self.processor,
                request.embedding,
                request.config,
                request.seed,
                request.sample_key,
                request.sample,
            )
        while self._replay_run.step():
            if time.perf_counter() > until:
                return True
        run = self._replay_run
        self.future.set_result(ReplayOutcome(run.result(), self._kind, run.recorder))
        return False


class AblationJob(ModelJob[AblationMeasurements]):
    """An ablation: in a turn at least one step, and more within ``TURN_SECONDS``.

    Args:
        request: what to measure.
        processor: model of the request.
        max_pool_flows: active flows up to which the pools admit samples.
        memory_limit_bytes: largest predicted memory, without the model; no limit if none.
    """

    def __init__(
        self,
        request: AblationRequest,
        processor: FlowProcessor,
        max_pool_flows: int,
        memory_limit_bytes: int | None,
    ) -> None:
        device = processor.device
        rows = chunk_samples(request.config, max_pool_flows, memory_limit_bytes, device)
        rows = min(rows, DEFAULT_ROWS_AT_ONCE)
        predicted = footprint(request.config, rows, device=device)
        super().__init__(processor, predicted.samples + predicted.workspace)
        self._request = request
        self._run = AblationRun(
            processor,
            request.pairs,
            config=request.config,
            rows_at_once=rows,
            resamples=request.resamples,
        )

    def _advance(self) -> bool:
        if self.future.cancelled():
            return False
        until = time.perf_counter() + TURN_SECONDS
        while self._run.advance():
            if time.perf_counter() > until:
                self._request.on_turn(self._run)
                return True
        self._request.on_turn(self._run)
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(self._run.measurements())
        return False


class TrainingJob:
    """A training, one optimiser step or one batch of validation rows in a turn.

    Args:
        work: training to start or to resume.
        listener: notified of the training, and keeps it.
        device: where to train.
        memory: the memory that it shares with models and runs.

    Attributes:
        work: as given.
        stopping: set by any thread to save a snapshot and end.
        failure: what a turn raised, once one has.
    """

    def __init__(
        self,
        work: TrainingWork,
        listener: TrainingListener,
        device: str,
        memory: ModelMemory,
    ) -> None:
        self.work = work
        self.stopping = False
        self.failure: BaseException | None = None
        self._listener = listener
        self._device = device
        self._memory = memory
        self._reservation: Reservation | None = None
        self._trainer: Trainer | None = None

    def advance(self) -> bool:
        """Do the next turn, or end."""
        try:
            return self._advance()
        except BaseException as error:
            self.failure = error
            # Listeners of trainings know exceptions of their data and config by their types.
            if isinstance(error, Exception) and not is_out_of_memory(error):
                self._end(error)
            else:
                self._end(as_energy_flow_error(error))
            return False

    def abandon(self, error: EnergyFlowError) -> None:
        """End the training with its last snapshot."""
        self._end(error)

    def _advance(self) -> bool:
        if self._trainer is None:
            self._trainer = start_training(
                self.work.config,
                self._listener.store,
                device=self._device,
                memory_limit_bytes=self._memory.available_bytes(),
            )
        elif self.stopping:
            self._trainer.save()
            self._end(RunPaused(f"training {self.work.run_id} was stopped"))
            return False
        elif self._reservation is None:
            self._reservation = self._memory.reserve(self._trainer.predicted.total)
            if self._reservation is None:
                # Runs or other trainings have the memory.
                time.sleep(WAIT_SECONDS)
        else:
            event = self._trainer.advance()
            self._listener.progressed(self._trainer.progress, event)
        if self._trainer.ended:
            self._end(None)
            return False
        return True

    def _end(self, error: Exception | None) -> None:
        self._trainer = None
        if self._reservation is not None:
            self._memory.release(self._reservation)
            self._reservation = None
        try:
            self._listener.ended(error)
        except BaseException:
            logger.exception("the listener of training %s failed", self.work.run_id)
