"""How trials are stored, so that they can continue from their chunks.

The line of a chunk is written once its numbers are on the disk. How a trial ends is stored before
its folder is sealed, so that a crash in between does not change it:

- All chunks are there: it succeeded.
- Its row has an error although it is running: it failed.
- Its experiment was cancelled, or fails fast and another trial failed: it was cancelled.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from energy_flow.choices import RunState
from energy_flow.errors import EngineUnavailable, RunCancelled, RunPaused
from energy_flow.simulation.tally.result import SimulationResult
from service.experiments.active_trial import ActiveTrial, is_complete
from service.problems import Problem, is_disk_full, is_storage_fault, problem_of
from service.runs.active_run import ActiveRun
from service.runs.arithmetic import installed_version
from service.runs.recorder import Ending, RunObserver
from service.runs.worker_kinds import find_mixture_warning
from service.states import transition
from service.store.archive import RunArchive
from service.store.run_ends import RunEnds

log = logging.getLogger(__name__)


class TrialStorage:
    """Stores trials in the archive.

    Args:
        archive: The archive.
        ends: Ends trials of which something could not be stored.
        observer: Counts chunks.
    """

    def __init__(self, archive: RunArchive, ends: RunEnds, observer: RunObserver) -> None:
        self._archive = archive
        self._ends = ends
        self._observer = observer

    def begin(self, run: ActiveRun) -> None:
        """Store that a trial is running; as :meth:`Storage.begin`."""
        trial = _trial(run)
        row = trial.row
        _warn_of_mixture(trial)
        if row.state != RunState.RUNNING:
            row.state = transition(row.state, RunState.RUNNING)
        if row.started_at is None:
            # Another version may have created the experiment.
            row.version = installed_version()
            row.started_at = run.started_time or time.time()
        self._archive.catalog.change(
            run.run_id,
            state=row.state,
            started_at=row.started_at,
            version=row.version,
            error=None,
            warnings=trial.summary.warnings,
            **trial.placement.columns(),
        )

    def append(self, run: ActiveRun, first_sample: int, result: SimulationResult) -> None:
        """Store the next chunk of a trial; as :meth:`Storage.append`."""
        trial = _trial(run)
        if trial.incomplete_chunk is not None:
            return
        if is_complete(result):
            self._append(trial, first_sample, result)
        else:
            # It is stored only if the trial does not continue.
            trial.incomplete_chunk = (first_sample, result)

    def end(self, run: ActiveRun, *, is_stopping: bool) -> Ending:
        """Store how a trial ended or that it is paused; as :meth:`Storage.end`."""
        trial = _trial(run)
        _warn_of_mixture(trial)
        error = trial.storage_error or trial.error
        match error:
            case None:
                self._ensure_running(trial)
                self._seal(trial, RunState.SUCCEEDED, None)
                return RunState.SUCCEEDED, None
            case RunPaused() | EngineUnavailable():
                return RunState(trial.row.state) if is_stopping else self._pause(trial, None), None
            case _ if is_storage_fault(error):
                return self.end_unstored(trial, problem_of(error))
            case RunCancelled():
                state, problem = RunState.CANCELLED, problem_of(error)
            case _:
                self._ensure_running(trial)
                state, problem = RunState.FAILED, problem_of(error)
        self._end_early(trial, state, trial.failure or problem.to_dict())
        return state, problem

    def end_unstored(self, run: ActiveRun, problem: Problem) -> Ending:
        """Pause a trial that could not be stored; as :meth:`Storage.end_unstored`."""
        # The incomplete chunk is removed first: on a full disk, the row needs its room.
        with contextlib.suppress(OSError, Problem):
            self._archive.unfinished(_trial(run).row).rewind()
        return self._pause(_trial(run), problem), problem

    def _append(self, trial: ActiveTrial, first_sample: int, result: SimulationResult) -> None:
        record = trial.describe_chunk(first_sample, result)
        self._archive.folder(trial.run_id).append(
            first_sample, trial.samples, result.outputs, result.trace, record, durable=True
        )
        trial.count_chunk(record, result)
        self._observer.chunk_ended(result)

    def _ensure_running(self, trial: ActiveTrial) -> None:
        """Store that a trial was running which the engine did not have to start."""
        if trial.row.state != RunState.RUNNING:
            self.begin(trial)

    def _pause(self, trial: ActiveTrial, reason: Problem | None) -> RunState:
        """Store that a trial continues later from the chunks that it has."""
        row, summary = trial.row, trial.summary
        if row.state == RunState.RUNNING:
            row.state = transition(row.state, RunState.PAUSED)
        try:
            self._archive.catalog.change(
                trial.run_id,
                state=row.state,
                samples_done=summary.samples_done,
                metrics=summary.metrics,
                trace=summary.trace,
                warnings=summary.warnings,
                timing=trial.timing(),
                error=None if reason is None else reason.to_dict(),
            )
        except Exception:
            # The next start reads the chunks.
            log.exception("the pause of run %s could not be stored", trial.run_id)
        return RunState(row.state)

    def _end_early(self, trial: ActiveTrial, state: RunState, error: Mapping[str, Any]) -> None:
        """End a trial before its last chunk, with the chunks that it has."""
        columns = _end_columns(trial, state, error)
        if trial.unreadable is not None:
            self._ends.end_later(trial.row, trial.unreadable, **columns)
            trial.row.state = state
            return
        if state is RunState.FAILED:
            self._archive.catalog.change(trial.run_id, durable=True, error=error)
        if trial.storage_error is None:
            try:
                if trial.incomplete_chunk is not None:
                    self._append(trial, *trial.incomplete_chunk)
                self._seal(trial, state, error)
            except Exception as second:
                if not is_disk_full(second):
                    log.exception("run %s could not be stored", trial.run_id)
                trial.storage_error = second
        if trial.storage_error is not None:
            self._ends.end(trial.run_id, trial.summary, is_trial=True, **columns)
            trial.row.state = state

    def _seal(self, trial: ActiveTrial, state: RunState, error: Mapping[str, Any] | None) -> None:
        transition(trial.row.state, state)
        columns = _end_columns(trial, state, error)
        self._archive.end(trial.run_id, trial.summary, is_trial=True, **columns)
        trial.row.state = state


def _end_columns(
    trial: ActiveTrial, state: RunState, error: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return how a trial ended, as columns of its row."""
    return {
        "state": state,
        "started_at": trial.row.started_at or trial.started_time,
        "error": error,
        "timing": trial.timing(),
        "last_event_id": trial.final_event_id,
        **trial.placement.columns(),
        # A training can have made a model of another name than it was to make.
        "request": trial.row.request,
    }


def _warn_of_mixture(trial: ActiveTrial) -> None:
    """Warn once of samples that were computed on several kinds of workers."""
    warning, warnings = find_mixture_warning(trial.placement.kinds), trial.summary.warnings
    if warning is not None and warning not in warnings:
        warnings.append(warning)


def _trial(run: ActiveRun) -> ActiveTrial:
    assert isinstance(run, ActiveTrial)
    return run
