"""A run between its submission and its end, as the engine's thread reports it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from energy_flow.choices import EventName, RunState
from energy_flow.engine import EmbeddingSource, WorkListener
from energy_flow.errors import EnergyFlowError
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.ledger import StepMetrics
from service.events import EventLog
from service.problems import Problem
from service.runs.buffered_results import BufferedResults
from service.runs.placement import Placement
from service.store.run_folder import WholeRun
from service.store.run_summary import RunSummary
from service.store.tables import RunRow

if TYPE_CHECKING:
    from service.runs.recorder import RunRecorder

# Seconds between two progress events while no further sample ends.
PROGRESS_SECONDS = 0.25

# A run that answers its caller within this time is stored at its end, which costs less. A longer
# one is stored before, so that it is in the list of runs.
MAX_UNLISTED_SECONDS = 5.0


class Persistence(StrEnum):
    """What happens to a run's results.

    ``ANSWER``: they are returned to the waiting caller only. ``ANSWER_AND_STORE``: they are also
    stored, from the end of the run or after ``MAX_UNLISTED_SECONDS``. ``STORE``: the run was stored
    before it was queued.
    """

    ANSWER = "answer"
    ANSWER_AND_STORE = "answer_and_store"
    STORE = "store"


@dataclass(slots=True)
class PendingRun:
    """What is needed to store a run that has no row yet.

    Attributes:
        row: Its future row.
        embeddings: Embeddings [samples, dim]; ``None`` if they are rows of a dataset.
        sample_keys: Keys [samples] that the caller gave, if any.
        has_folder: Whether its folder has been created.
        whole: All of its results, if they arrived before it had a folder.
    """

    row: RunRow
    embeddings: NDArray[np.float32] | None
    sample_keys: NDArray[np.int64] | None
    has_folder: bool = False
    whole: WholeRun | None = None


class ActiveRun(WorkListener):
    """The state, progress and events of one run; the listener of its work.

    The engine's thread calls the methods from ``started`` to ``ended``; they return at once.

    Attributes:
        run_id: Id of the run.
        samples: Number of samples.
        persistence: What happens to its results.
        results: Results for a waiting caller, until they are released.
        pending: What is needed to store it, while it has no row and is to get one.
        state: ``queued``, ``running``, or the state in which it ended.
        summary: Summary of its chunks so far; only the recorder changes it.
        events: Its events.
        error: The error with which the engine or the server ended it.
        storage_error: The error because of which it could not be stored.
        problem: What a waiting caller gets instead of results.
        context: The context of the task that submitted it.
        abandoned: Whether its caller has disconnected.
        samples_done: Samples that have ended.
        step: Newest step of its flows.
        placement: Its workers.
        embeddings: Its embeddings if they are not in memory, until it has ended.

    Args:
        run_id: Id of the run.
        samples: Number of samples.
        loop: Event loop on which callers wait.
        recorder: Recorder of what happens to it.
        persistence: What happens to its results.
        results: Empty results to fill for a waiting caller.
        pending: What is needed to store it, if it is to be stored later.
    """

    def __init__(
        self,
        run_id: str,
        samples: int,
        loop: asyncio.AbstractEventLoop,
        recorder: RunRecorder,
        persistence: Persistence,
        results: BufferedResults | None = None,
        pending: PendingRun | None = None,
    ) -> None:
        self.run_id = run_id
        self.samples = samples
        self.persistence = persistence
        self.results = results
        self.pending = pending
        self.state = RunState.QUEUED
        self.summary = RunSummary()
        self.events = EventLog(loop)
        self.error: EnergyFlowError | Problem | None = None
        self.storage_error: BaseException | None = None
        self.problem: Problem | None = None
        self.context = copy_context()
        self.abandoned = False
        self.samples_done = 0
        self.step: int | None = None
        self.embeddings: EmbeddingSource | None = None
        self.placement = Placement()
        self.submitted_at = time.perf_counter()
        self.started_at: float | None = None
        self.started_time: float | None = None
        self.ended_at: float | None = None
        self._recorder = recorder
        self._loop = loop
        self._progress_at = 0.0
        self._was_stored_late = False
        self._finalized = asyncio.Event()
        self._add_state_event(None)

    def assigned(self, worker: str, kind: str) -> None:
        """Record which worker gets the run.

        Args:
            worker: Name of the worker.
            kind: Its kind.
        """
        self.placement.assign(worker, kind)

    def started(self, entering_seconds: float) -> None:
        """Record that the engine has started the run.

        Args:
            entering_seconds: Seconds that the first samples took to enter the pool.
        """
        self.started_at = time.perf_counter() - entering_seconds
        self.started_time = time.time() - entering_seconds
        self.placement.start(has_results=self.has_results)
        self.state = RunState.RUNNING
        self._add_state_event(None)
        if self.persistence is Persistence.STORE:
            self._recorder.begin(self)

    def stepped(self, metrics: StepMetrics, done_samples: int) -> None:
        """Record a step of the run's flows.

        Args:
            metrics: Metrics of the step.
            done_samples: Samples that have ended so far.
        """
        self.step = metrics.step
        self.events.append(EventName.STEP, metrics.to_dict)
        now = time.perf_counter()
        if done_samples != self.samples_done or now - self._progress_at > PROGRESS_SECONDS:
            self.samples_done = done_samples
            self._progress_at = now
            self._store_long_run(now)
            self.events.append(EventName.PROGRESS, self.progress())

    def _store_long_run(self, now: float) -> None:
        is_late = self.started_at is not None and now - self.started_at > MAX_UNLISTED_SECONDS
        if (
            is_late
            and self.persistence is Persistence.ANSWER_AND_STORE
            and not self._was_stored_late
        ):
            self._was_stored_late = True
            self._recorder.begin(self)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return embeddings, as :meth:`WorkListener.read`.

        Args:
            start: First row.
            stop: Row behind the last one.
        """
        assert self.embeddings is not None
        return self.embeddings.read(start, stop)

    def accepts(self) -> bool:
        """Return whether another chunk may be started."""
        return self._recorder.keeps_up()

    def chunk(self, first_sample: int, result: SimulationResult) -> None:
        """Record a chunk of ended samples.

        Args:
            first_sample: Row of its first sample.
            result: Its results.
        """
        self.samples_done = max(self.samples_done, first_sample + len(result.samples))
        self._recorder.append(self, first_sample, result)

    def ended(self, error: EnergyFlowError | Problem | None) -> None:
        """Record that the engine has ended the run, or that it cannot start.

        Args:
            error: Why it ended before its last sample, if it did.
        """
        self.ended_at = time.perf_counter()
        self.error = error
        self._recorder.end(self)

    def add_chunk(self, record: Mapping[str, Any], result: SimulationResult) -> None:
        """Add a chunk to the summary, and to the results of a waiting caller.

        Args:
            record: JSON data about the chunk.
            result: Its results.
        """
        self.summary.add(record)
        if self.results is not None:
            self.results.add(result.outputs, result.trace.columns, record["samples"])

    def finalize(self, state: RunState, problem: Problem | None) -> None:
        """Set the state in which the run ended, once everything of it is stored.

        Args:
            state: The state.
            problem: What a waiting caller gets instead of results.
        """
        self.state = state
        self.problem = problem
        self.samples_done = self.summary.samples_done
        self.pending = None
        self.embeddings = None
        self.events.append(EventName.PROGRESS, self.progress())
        self._add_state_event(problem)
        self.events.close()
        try:
            self._loop.call_soon_threadsafe(self._finalized.set)
        except RuntimeError:  # The loop is closed, so nothing waits.
            return

    def release(self) -> None:
        """Free the results; state, progress and events are kept."""
        self.results = None
        self.summary = RunSummary()

    @property
    def has_results(self) -> bool:
        """Whether earlier workers have computed a part of it that is kept."""
        return self.samples_done > 0

    @property
    def is_finalized(self) -> bool:
        """Whether the run has ended and everything of it is stored."""
        return self._finalized.is_set()

    @property
    def final_event_id(self) -> int:
        """Id that the last event of :meth:`finalize` will have."""
        return self.events.last_id + 2

    async def wait(self) -> None:
        """Wait until the run is finalized."""
        await self._finalized.wait()

    def progress(self) -> dict[str, Any]:
        """Return the progress as JSON data."""
        return {
            "samples": self.samples,
            "samples_done": self.samples_done,
            "step": self.step,
            "fraction": self.samples_done / self.samples,
        }

    def timing(self) -> dict[str, Any]:
        """Return the times so far as JSON data."""
        now = time.perf_counter()
        started = self.started_at
        ended = self.ended_at or now
        compute = ended - started if started is not None else 0.0
        flow_steps = self.summary.flow_steps
        return {
            "queue_ms": ((started or ended) - self.submitted_at) * 1e3,
            "compute_ms": compute * 1e3,
            "total_ms": (now - self.submitted_at) * 1e3,
            "flow_steps_per_second": flow_steps / compute if compute > 0 else None,
        }

    def _add_state_event(self, problem: Problem | None) -> None:
        payload: dict[str, Any] = {"run_id": self.run_id, "state": self.state}
        if problem is not None:
            payload["error"] = problem.to_dict()
        self.events.append(EventName.STATE, payload)
