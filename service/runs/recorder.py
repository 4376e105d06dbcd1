"""The recorder: passes what happens to runs to the writer's thread, in order.

Runs and trials are recorded alike; a :class:`Storage` defines how each of them is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from energy_flow.choices import RunState
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.logs import lines_of
from service.problems import Problem, is_disk_full, problem_of
from service.runs.active_run import ActiveRun
from service.store.writer import Writer

log = logging.getLogger(__name__)

Ending = tuple[RunState, Problem | None]
"""The state of a run after the engine has ended it, and what a waiting caller gets, if an error."""


class Storage(Protocol):
    """How runs of one kind are stored; its methods are called on the writer's thread."""

    def begin(self, run: ActiveRun) -> None:
        """Store that a run is running.

        Raises:
            Exception: It could not be stored.
        """

    def append(self, run: ActiveRun, first_sample: int, result: SimulationResult) -> None:
        """Store the next chunk of a run.

        Args:
            run: The run.
            first_sample: Row of the chunk's first sample.
            result: Its results.

        Raises:
            Exception: It could not be stored.
        """

    def end(self, run: ActiveRun, *, is_stopping: bool) -> Ending:
        """Store how a run ended.

        Args:
            run: The run, with its ``error`` or ``storage_error`` if there is one.
            is_stopping: Whether the server is stopping.

        Raises:
            Exception: It could not be stored.
        """
        ...

    def end_unstored(self, run: ActiveRun, problem: Problem) -> Ending:
        """Return how a run ended whose end could not be stored.

        Args:
            run: The run.
            problem: Why :meth:`end` failed.
        """
        ...


class RunObserver(Protocol):
    """Counts what happens to runs; its methods are called on the writer's thread."""

    def chunk_ended(self, result: SimulationResult) -> None:
        """Count a chunk of samples."""

    def run_ended(self, run: ActiveRun, /) -> None:
        """Count a finalized run."""


class RunRecorder:
    """Passes each event of a run to the writer's thread, which stores it.

    Attributes:
        is_stopping: Whether the server is stopping, so that runs end without having been
            cancelled.

    Args:
        storage: How the runs are stored.
        writer: The writer's thread.
        cancel: Ends a run in the engine; called when it could not be stored.
        on_finalized: Called on the writer's thread with each finalized run.
        observer: Counts what happens.
    """

    def __init__(
        self,
        storage: Storage,
        writer: Writer,
        cancel: Callable[[str], object],
        on_finalized: Callable[[ActiveRun], None],
        observer: RunObserver,
    ) -> None:
        self.is_stopping = False
        self._storage = storage
        self._writer = writer
        self._cancel = cancel
        self._on_finalized = on_finalized
        self._observer = observer

    def begin(self, run: ActiveRun) -> None:
        """Record that a run is running."""
        self._writer.put(lambda: self._store(run, lambda: self._storage.begin(run)))

    def keeps_up(self) -> bool:
        """Return whether the writer's thread has room for another chunk."""
        return self._writer.keeps_up

    def append(self, run: ActiveRun, first_sample: int, result: SimulationResult) -> None:
        """Record a chunk of a run.

        Args:
            run: The run.
            first_sample: Row of the chunk's first sample.
            result: Its results.
        """
        size = sum(output.nbytes for output in result.outputs.values()) + result.trace.nbytes

        def append() -> None:
            # Of a run that ended early, chunks in the middle can be missing; the first are stored.
            if first_sample == run.summary.samples_done:
                self._storage.append(run, first_sample, result)

        self._writer.put(lambda: self._store(run, append), size)

    def end(self, run: ActiveRun) -> None:
        """Record that the engine has ended a run."""
        self._writer.put(lambda: self._end(run))

    def _store(self, run: ActiveRun, write: Callable[[], None]) -> None:
        """Write, unless that has failed for this run before; a failure ends the run."""
        if run.storage_error is not None or run.abandoned:
            return
        with lines_of(run.run_id):
            try:
                write()
            except Exception as error:
                if not is_disk_full(error):
                    log.exception("run %s could not be stored", run.run_id)
                run.storage_error = error
                self._cancel(run.run_id)

    def _end(self, run: ActiveRun) -> None:
        with lines_of(run.run_id):
            try:
                state, problem = self._storage.end(run, is_stopping=self.is_stopping)
            except Exception as error:
                if not is_disk_full(error):
                    log.exception("the end of run %s could not be stored", run.run_id)
                state, problem = self._storage.end_unstored(run, problem_of(error))
            run.finalize(state, problem)
            self._observer.run_ended(run)
            log.info("run %s: %s", run.run_id, state)
        self._on_finalized(run)
