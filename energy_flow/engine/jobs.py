"""Work that the engine's thread does between the steps of the pools, a short turn at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from energy_flow.engine.request import ReplayRequest, TrainingListener, TrainingRequest
from energy_flow.errors import EnergyFlowError, RunPaused
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.replay import Replay, Replaying
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.training.start import from_files
from energy_flow.training.trainer import Trainer

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

TURN_SECONDS = 0.02
"""How long a replay may keep the runs in the pools waiting."""


class Job(Protocol):
    """One piece of work."""

    def advance(self) -> bool:
        """Do a turn of the work; return whether more is left. Never raises."""
        ...

    def abandon(self, error: EnergyFlowError) -> None:
        """End the work because the engine stops."""
        ...


class CallJob:
    """A function, called once."""

    def __init__(self, function: Callable[[], Answer]) -> None:
        self._function = function
        self.future: Future[Any] = Future()

    def advance(self) -> bool:
        """Call the function."""
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self._function())
            except BaseException as error:
                self.future.set_exception(error)
        return False

    def abandon(self, error: EnergyFlowError) -> None:
        """Pass the error on to whoever waits."""
        self.future.set_exception(error)


class PreparationJob:
    """The preparation of a model for its first run, a part a turn."""

    def __init__(self, processor: FlowProcessor) -> None:
        self._parts = processor.preparing()
        self.future: Future[None] = Future()

    def advance(self) -> bool:
        """Do the next part."""
        try:
            next(self._parts)
        except StopIteration:
            self.future.set_result(None)
        except BaseException as error:
            self.future.set_exception(error)
        return not self.future.done()

    def abandon(self, error: EnergyFlowError) -> None:
        """Pass the error on to whoever waits."""
        self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """One sample, simulated again.

    Attributes:
        result: as of a run of this sample alone.
    """

    result: SimulationResult
    _replaying: Replaying

    def paths(self) -> Replay:
        """Return the paths of all flows; takes long where there are many."""
        return self._replaying.assembled(self.result.trace)


class ReplayJob:
    """A replay, a few steps a turn."""

    def __init__(self, request: ReplayRequest, processor: FlowProcessor) -> None:
        self._request = request
        self._processor = processor
        self._replaying: Replaying | None = None
        self.future: Future[ReplayOutcome] = Future()

    def advance(self) -> bool:
        """Step for at most ``TURN_SECONDS``, and once at least."""
        try:
            return self._advance()
        except BaseException as error:
            self.future.set_exception(error)
            return False

    def abandon(self, error: EnergyFlowError) -> None:
        """Pass the error on to whoever waits."""
        self.future.set_exception(error)

    def _advance(self) -> bool:
        until = time.perf_counter() + TURN_SECONDS
        if self._replaying is None:
            request = self._request
            self._replaying = Replaying(
                self._processor,
                request.embedding,
                request.config,
                request.seed,
                request.sample_key,
                request.sample,
            )
        while self._replaying.step():
            if time.perf_counter() > until:
                return True
        self.future.set_result(ReplayOutcome(self._replaying.result(), self._replaying))
        return False


class TrainingJob:
    """A training, one optimiser step or one batch of measured rows a turn.

    Args:
        request: of the caller.
        listener: of the caller.
        device: where to train.
        memory_limit_bytes: what the training may need by prediction; no limit if none.

    Attributes:
        stopping: set by any thread: save a snapshot and end.
    """

    def __init__(
        self,
        request: TrainingRequest,
        listener: TrainingListener,
        device: str,
        memory_limit_bytes: int | None,
    ) -> None:
        self.request = request
        self.stopping = False
        self._listener = listener
        self._device = device
        self._memory_limit_bytes = memory_limit_bytes
        self._trainer: Trainer | None = None

    def advance(self) -> bool:
        """Do the next turn, or end."""
        try:
            return self._advance()
        except Exception as error:
            self._end(error)
            return False

    def abandon(self, error: EnergyFlowError) -> None:
        """Report that the engine stopped first; the last snapshot stays."""
        self._end(error)

    def _advance(self) -> bool:
        if self._trainer is None:
            self._trainer = from_files(
                self.request.config,
                self.request.folder,
                resume=True,
                device=self._device,
                memory_limit_bytes=self._memory_limit_bytes,
            )
        elif self.stopping:
            self._trainer.save()
            self._end(RunPaused(f"training {self.request.run_id} was stopped"))
            return False
        else:
            event = self._trainer.advance()
            self._listener.progressed(self._trainer.progress, event)
        if self._trainer.ended:
            self._end(None)
            return False
        return True

    def _end(self, error: Exception | None) -> None:
        self._trainer = None
        try:
            self._listener.ended(error)
        except Exception:
            logger.exception("the listener of training %s failed", self.request.run_id)
