"""What happens to runs, written down by the writer's thread in the order in which it happened."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from energy_flow.errors import DeadlineExceeded, EngineUnavailable, RunCancelled
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.logs import lines_of
from service.problems import Problem, is_disk_full, problem_of
from service.runs.active_run import Keeping, LiveRun
from service.store.archive import RunArchive
from service.store.run_folder import WholeRun
from service.store.safety import SafetyThread
from service.store.writer import Writer

log = logging.getLogger(__name__)


class RunObserver(Protocol):
    """Counts what happens to runs; called on the writer's thread."""

    def chunk_ended(self, result: SimulationResult) -> None:
        """Samples of a run have ended."""

    def run_ended(self, live: LiveRun) -> None:
        """A run has ended and is in its place."""


class ArchiveRecorder:
    """Hands each event of a run to the writer's thread, which keeps it in the archive.

    Args:
        cancel: ends a run in the engine; called when it cannot be kept.
        settled: called on the writer's thread when a run has ended and is in its place.
        observer: counts.
    """

    def __init__(
        self,
        archive: RunArchive,
        writer: Writer,
        safety: SafetyThread,
        cancel: Callable[[str], object],
        settled: Callable[[LiveRun], None],
        observer: RunObserver,
    ) -> None:
        self._archive = archive
        self._writer = writer
        self._safety = safety
        self._cancel = cancel
        self._settled = settled
        self._observer = observer
        self.stopping = False

    def begin(self, live: LiveRun) -> None:
        """It goes on, and is to be seen by others."""
        self._writer.put(lambda: self._guard(live, lambda: self._begin(live)))

    def keeps_up(self) -> bool:
        """Whether it can take more."""
        return self._writer.keeps_up

    def take(self, live: LiveRun, first_sample: int, result: SimulationResult) -> None:
        """Some samples have ended."""
        size = sum(output.nbytes for output in result.outputs.values()) + result.trace.nbytes
        self._writer.put(
            lambda: self._guard(live, lambda: self._take(live, first_sample, result)), size
        )

    def end(self, live: LiveRun) -> None:
        """The engine is done with it."""
        self._writer.put(lambda: self._end_in_its_name(live))

    def _guard(self, live: LiveRun, write: Callable[[], None]) -> None:
        """Writes, unless that has already failed for this run; a failure ends it."""
        if live.storage_error is not None or live.withdrawn:
            return
        try:
            with lines_of(live.run_id):
                write()
        except Exception as error:
            if not is_disk_full(error):
                told = {"run_id": live.run_id}
                log.exception("run %s could not be kept", live.run_id, extra=told)
            live.storage_error = error
            self._cancel(live.run_id)

    def _begin(self, live: LiveRun) -> None:
        unsaved = live.unsaved
        if unsaved is None:
            self._archive.catalog.change(live.run_id, state="running", started_at=time.time())
            return
        self._make_folder(live)
        unsaved.row.state = "running"
        unsaved.row.started_at = live.started_time
        self._archive.catalog.add(unsaved.row)
        live.unsaved = None

    def _make_folder(self, live: LiveRun) -> None:
        unsaved = live.unsaved
        if unsaved is not None and not unsaved.has_folder:
            folder = self._archive.folder(live.run_id)
            folder.create(unsaved.embeddings, unsaved.sample_keys, safe=False)
            unsaved.has_folder = True

    def _take(self, live: LiveRun, first_sample: int, result: SimulationResult) -> None:
        if first_sample != live.summary.samples_done:
            # Of a run that broke off, samples in the middle may be missing; the first are kept.
            return
        record = live.sum_up(first_sample, result)
        self._observer.chunk_ended(result)
        if live.keeping is Keeping.ANSWER:
            return
        unsaved = live.unsaved
        if unsaved is not None and not unsaved.has_folder and len(result.samples) == live.samples:
            unsaved.whole = WholeRun(
                unsaved.embeddings, unsaved.sample_keys, result.outputs, result.trace, record
            )
            return
        self._make_folder(live)
        self._archive.folder(live.run_id).append(
            first_sample, live.samples, result.outputs, result.trace, record
        )

    def _end_in_its_name(self, live: LiveRun) -> None:
        with lines_of(live.run_id):
            self._end(live)

    def _end(self, live: LiveRun) -> None:
        state, problem = self._outcome(live)
        try:
            if live.keeping is not Keeping.ANSWER:
                state, problem = self._keep(live, state, problem)
        except Exception as error:
            log.exception("the end of run %s could not be kept", live.run_id)
            state, problem = "failed", problem_of(error)
        live.settle(state, problem)
        self._observer.run_ended(live)
        log.info("run %s: %s", live.run_id, state)
        self._settled(live)

    def _outcome(self, live: LiveRun) -> tuple[str, Problem | None]:
        """How the run ended, and what a caller who waits for it is told instead of results."""
        if live.storage_error is not None:
            return "failed", problem_of(live.storage_error)
        match live.error:
            case None:
                return "succeeded", None
            case RunCancelled() if self.stopping or live.withdrawn:
                return self._stopped(live)
            case EngineUnavailable():
                return self._stopped(live)
            case RunCancelled():
                return "cancelled", problem_of(live.error)
            case error:
                return "failed", problem_of(error)

    def _stopped(self, live: LiveRun) -> tuple[str, Problem]:
        if live.keeping is Keeping.STORE and live.started_at is None:
            return "queued", Problem(503, "the server stops; the run goes on after its restart")
        return "failed", Problem(503, "interrupted by the server's stop")

    def _keep(
        self, live: LiveRun, state: str, problem: Problem | None
    ) -> tuple[str, Problem | None]:
        """Writes the end down, and removes what a refused request left."""
        if state == "queued":
            return state, problem
        for_caller = live.keeping is Keeping.ANSWER_AND_STORE
        if for_caller and (live.started_at is None or _is_refusal(live)):
            self._remove(live)
            return state, problem
        if live.storage_error is None:
            try:
                unsaved = live.unsaved
                whole = None if unsaved is None else unsaved.whole
                if whole is None:
                    self._make_folder(live)
                self._archive.end(
                    live.run_id,
                    live.summary,
                    unsaved=None if unsaved is None else unsaved.row,
                    whole=whole,
                    safe=not for_caller,
                    state=state,
                    started_at=live.started_time,
                    error=None if problem is None else problem.to_dict(),
                    timing=live.timing(),
                    last_event_id=live.final_event_id,
                )
            except Exception as error:
                if not is_disk_full(error):
                    log.exception("run %s could not be kept", live.run_id)
                live.storage_error = error
                state, problem = "failed", problem_of(error)
        if live.storage_error is not None:
            assert problem is not None
            if for_caller:
                self._remove(live)
            else:
                self._archive.empty(live.run_id, problem.to_dict(), live.final_event_id)
            return state, problem
        if for_caller:
            self._safety.put(live.run_id)
        return state, problem

    def _remove(self, live: LiveRun) -> None:
        """Leaves nothing of a run, whether it has a row or not."""
        # The files first: on a full disk, removing the row needs the room that they had.
        self._archive.folder(live.run_id).remove()
        if live.unsaved is None:
            self._archive.discard(live.run_id)


def _is_refusal(live: LiveRun) -> bool:
    """Whether the waiting caller was refused, after which nothing may be left of the request."""
    return (
        live.withdrawn
        or live.storage_error is not None
        or isinstance(live.error, DeadlineExceeded | EngineUnavailable)
    )
