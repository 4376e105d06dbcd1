"""How runs outside experiments are stored."""

from __future__ import annotations

import logging
import time
from typing import Any

from energy_flow.choices import RunState
from energy_flow.errors import DeadlineExceeded, EngineUnavailable, RunCancelled
from energy_flow.simulation.tally.result import SimulationResult
from service.problems import Problem, is_disk_full, problem_of
from service.runs.active_run import ActiveRun, Persistence
from service.runs.recorder import Ending, RunObserver
from service.store.archive import RunArchive
from service.store.descriptions.run import describe_run
from service.store.fsync_thread import FsyncThread
from service.store.run_ends import RunEnds
from service.store.run_folder import WholeRun
from service.store.run_summary import describe_chunk

log = logging.getLogger(__name__)


class RunStorage:
    """Stores runs in the archive as their persistence asks for.

    Args:
        archive: The archive.
        ends: Ends runs of which something could not be stored.
        fsync_thread: Waits for the disk after a run whose caller does not.
        observer: Counts chunks.
    """

    def __init__(
        self,
        archive: RunArchive,
        ends: RunEnds,
        fsync_thread: FsyncThread,
        observer: RunObserver,
    ) -> None:
        self._archive = archive
        self._ends = ends
        self._fsync_thread = fsync_thread
        self._observer = observer

    def begin(self, run: ActiveRun) -> None:
        """Store that a run is running; as :meth:`Storage.begin`."""
        pending = run.pending
        if pending is None:
            self._archive.catalog.change(
                run.run_id,
                state=RunState.RUNNING,
                started_at=time.time(),
                **run.placement.columns(),
            )
            return
        pending.row.state = RunState.RUNNING
        pending.row.started_at = run.started_time
        for name, value in run.placement.columns().items():
            setattr(pending.row, name, value)
        self._create_folder(run)
        self._archive.catalog.add(pending.row)
        run.pending = None

    def append(self, run: ActiveRun, first_sample: int, result: SimulationResult) -> None:
        """Store the next chunk of a run; as :meth:`Storage.append`."""
        record = describe_chunk(first_sample, result)
        pending = run.pending
        if run.persistence is Persistence.ANSWER:
            pass
        elif pending is not None and not pending.has_folder and len(result.samples) == run.samples:
            pending.whole = WholeRun(
                pending.embeddings, pending.sample_keys, result.outputs, result.trace, record
            )
        else:
            self._create_folder(run)
            self._archive.folder(run.run_id).append(
                first_sample, run.samples, result.outputs, result.trace, record
            )
        run.add_chunk(record, result)
        self._observer.chunk_ended(result)

    def end(self, run: ActiveRun, *, is_stopping: bool) -> Ending:
        """Store how a run ended; as :meth:`Storage.end`."""
        state, problem = _ending(run, is_stopping)
        if run.persistence is Persistence.ANSWER or state is RunState.QUEUED:
            return state, problem
        if run.persistence is Persistence.ANSWER_AND_STORE and (
            run.started_at is None or _is_refused(run)
        ):
            self._remove(run)
            return state, problem
        if run.storage_error is None:
            try:
                self._archive_end(run, state, problem)
            except Exception as error:
                if not is_disk_full(error):
                    log.exception("run %s could not be stored", run.run_id)
                run.storage_error = error
        if run.storage_error is not None:
            return self._end_unstorable(run)
        if run.persistence is Persistence.ANSWER_AND_STORE:
            self._fsync_thread.put(run.run_id)
        return state, problem

    def end_unstored(self, _run: ActiveRun, problem: Problem) -> Ending:
        """Return how a run ended whose end could not be stored; it has failed."""
        return RunState.FAILED, problem

    def _archive_end(self, run: ActiveRun, state: RunState, problem: Problem | None) -> None:
        pending = run.pending
        whole = None if pending is None else pending.whole
        if whole is None:
            self._create_folder(run)
        self._archive.end(
            run.run_id,
            run.summary,
            new_row=None if pending is None else pending.row,
            whole=whole,
            durable=run.persistence is Persistence.STORE,
            **_end_columns(run, state, problem),
        )

    def _end_unstorable(self, run: ActiveRun) -> Ending:
        """Refuse a run whose caller waits; fail another one, which keeps what is stored of it."""
        assert run.storage_error is not None
        problem = problem_of(run.storage_error)
        if run.persistence is Persistence.ANSWER_AND_STORE:
            self._remove(run)
            return RunState.FAILED, problem
        if problem.status == 507:
            problem = Problem(507, "the server's disk is full; samples that had ended are kept")
        columns = _end_columns(run, RunState.FAILED, problem)
        self._ends.end(run.run_id, run.summary, **columns)
        return RunState.FAILED, problem

    def _create_folder(self, run: ActiveRun) -> None:
        pending = run.pending
        if pending is not None and not pending.has_folder:
            folder = self._archive.folder(run.run_id)
            folder.create(
                pending.embeddings,
                pending.sample_keys,
                description=describe_run(pending.row),
                durable=False,
            )
            pending.has_folder = True

    def _remove(self, run: ActiveRun) -> None:
        """Remove everything of a run, whether it has a row or not."""
        # The files first: on a full disk, the removal of the row needs their room.
        self._archive.folder(run.run_id).remove()
        if run.pending is None:
            self._archive.discard(run.run_id)


def _end_columns(run: ActiveRun, state: RunState, problem: Problem | None) -> dict[str, Any]:
    """Return how a run ended, as columns of its row."""
    return {
        "state": state,
        "started_at": run.started_time,
        "error": None if problem is None else problem.to_dict(),
        "timing": run.timing(),
        "last_event_id": run.final_event_id,
        **run.placement.columns(),
    }


def _ending(run: ActiveRun, is_stopping: bool) -> Ending:
    if run.storage_error is not None:
        return RunState.FAILED, problem_of(run.storage_error)
    match run.error:
        case None:
            return RunState.SUCCEEDED, None
        case RunCancelled() if is_stopping or run.abandoned:
            return _interrupted(run)
        case EngineUnavailable():
            return _interrupted(run)
        case RunCancelled():
            return RunState.CANCELLED, problem_of(run.error)
        case error:
            return RunState.FAILED, problem_of(error)


def _interrupted(run: ActiveRun) -> Ending:
    if run.persistence is Persistence.STORE and run.started_at is None:
        message = "the server is stopping; the run stays queued until the next start"
        return RunState.QUEUED, Problem(503, message)
    return RunState.FAILED, Problem(503, "interrupted by a stop of the server; send it again")


def _is_refused(run: ActiveRun) -> bool:
    """Return whether the waiting caller gets a refusal, after which nothing may be left."""
    return (
        run.abandoned
        or run.storage_error is not None
        or isinstance(run.error, DeadlineExceeded | EngineUnavailable)
    )
