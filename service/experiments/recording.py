"""What happens to trials, written down by the writer's thread so that they can go on from it.

A chunk is noted once its numbers are safely on the disk. How a trial is going to end is noted
before its folder is sealed, so that a crash in between changes nothing about it:

- all chunks are there: it has succeeded;
- its row has an error though it is running: it has failed;
- its experiment was cancelled, or fails fast and another trial has failed: it is cancelled.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from energy_flow.errors import EngineUnavailable, RunCancelled, RunPaused
from energy_flow.simulation.tally.result import SimulationResult
from energy_flow.telemetry.logs import lines_of
from service.experiments.live_trial import LiveTrial, all_ended
from service.problems import Problem, is_disk_full, problem_of
from service.runs.active_run import LiveRun
from service.runs.recorder import RunObserver
from service.states import State, changed
from service.store.archive import RunArchive
from service.store.writer import Writer

log = logging.getLogger(__name__)


class TrialRecorder:
    """Hands each event of a trial to the writer's thread, which keeps it in the archive.

    Args:
        cancel: ends a run in the engine; called when it cannot be kept.
        settled: called on the writer's thread when a trial has ended or paused, and what there is
            of it is in its place.
        observer: counts.
    """

    def __init__(
        self,
        archive: RunArchive,
        writer: Writer,
        cancel: Callable[[str], object],
        settled: Callable[[LiveRun], None],
        observer: RunObserver,
    ) -> None:
        self._archive = archive
        self._writer = writer
        self._cancel = cancel
        self._settled = settled
        self._observer = observer
        self.stopping = False

    def begin(self, live: LiveRun) -> None:
        """It goes on, and is to be seen by others."""
        trial = _trial(live)
        self._writer.put(lambda: self._guard(trial, lambda: self._begin(trial)))

    def keeps_up(self) -> bool:
        """Whether it can take more."""
        return self._writer.keeps_up

    def take(self, live: LiveRun, first_sample: int, result: SimulationResult) -> None:
        """Some samples have ended."""
        trial = _trial(live)
        size = sum(output.nbytes for output in result.outputs.values()) + result.trace.nbytes
        self._writer.put(
            lambda: self._guard(trial, lambda: self._take(trial, first_sample, result)), size
        )

    def end(self, live: LiveRun) -> None:
        """The engine is done with it, for now or for good."""
        trial = _trial(live)
        self._writer.put(lambda: self._end_in_its_name(trial))

    def _guard(self, live: LiveTrial, write: Callable[[], None]) -> None:
        """Writes, unless that has already failed for this trial; a failure ends it."""
        if live.storage_error is not None:
            return
        try:
            with lines_of(live.run_id):
                write()
        except Exception as error:
            if not is_disk_full(error):
                log.exception("run %s could not be kept", live.run_id)
            live.storage_error = error
            self._cancel(live.run_id)

    def _begin(self, live: LiveTrial) -> None:
        row = live.row
        if row.state != State.RUNNING:
            row.state = changed(row.state, State.RUNNING)
        row.started_at = row.started_at or live.started_time or time.time()
        self._archive.catalog.change(
            live.run_id, state=row.state, started_at=row.started_at, error=None
        )

    def _be_running(self, live: LiveTrial) -> None:
        """Of a trial that had no more to do when it went on, or was refused, this is not told."""
        if live.row.state != State.RUNNING:
            self._begin(live)

    def _take(self, live: LiveTrial, first_sample: int, result: SimulationResult) -> None:
        if first_sample != live.summary.samples_done or live.broken_off is not None:
            return
        if all_ended(result):
            self._append(live, first_sample, result)
        else:
            # Kept once it is certain that the trial does not go on.
            live.broken_off = (first_sample, result)

    def _append(self, live: LiveTrial, first_sample: int, result: SimulationResult) -> None:
        record = live.record(first_sample, result)
        self._archive.folder(live.run_id).append(
            first_sample, live.samples, result.outputs, result.trace, record, safe=True
        )
        live.add(record, result)
        self._observer.chunk_ended(result)

    def _end_in_its_name(self, live: LiveTrial) -> None:
        with lines_of(live.run_id):
            try:
                state, problem = self._end(live)
            except Exception as error:
                if not is_disk_full(error):
                    log.exception("the end of run %s could not be kept", live.run_id)
                state, problem = self._interrupted(live, problem_of(error))
        live.settle(state, problem)
        self._observer.run_ended(live)
        log.info("run %s: %s", live.run_id, state)
        self._settled(live)

    def _end(self, live: LiveTrial) -> tuple[State, Problem | None]:
        """What becomes of the trial, once that is in its place."""
        error = live.storage_error or live.error
        match error:
            case None:
                self._be_running(live)
                self._seal(live, State.SUCCEEDED, None)
                return State.SUCCEEDED, None
            case RunPaused() | EngineUnavailable():
                return self._interrupted(live, None)
            case _ if is_disk_full(error):
                return self._interrupted(live, problem_of(error))
            case RunCancelled():
                state, problem = State.CANCELLED, problem_of(error)
            case _:
                self._be_running(live)
                state, problem = State.FAILED, problem_of(error)
        self._close(live, state, live.verdict or problem.to_dict())
        return state, problem

    def _interrupted(self, live: LiveTrial, reason: Problem | None) -> tuple[State, Problem | None]:
        """It goes on another time, from the chunks that it has."""
        if self.stopping and reason is None:
            return State(live.row.state), None
        row = live.row
        if reason is not None:
            # Gives the disk back what was half written; the note needs room.
            with contextlib.suppress(OSError):
                self._archive.folder(live.run_id).rewind()
        if row.state == State.RUNNING:
            row.state = changed(row.state, State.PAUSED)
        summary = live.summary
        try:
            self._archive.catalog.change(
                live.run_id,
                state=row.state,
                samples_done=summary.samples_done,
                metrics=summary.metrics,
                trace=summary.trace,
                warnings=summary.warnings,
                timing=live.timing(),
                error=None if reason is None else reason.to_dict(),
            )
        except Exception:
            # The next start finds out from the chunks.
            log.exception("the pause of run %s could not be noted", live.run_id)
        return State(row.state), reason

    def _close(self, live: LiveTrial, state: State, error: Mapping[str, Any]) -> None:
        """Ends it short of its last chunk, with what it has."""
        if state is State.FAILED:
            self._archive.catalog.change(live.run_id, durable=True, error=error)
        if live.storage_error is None:
            try:
                if live.broken_off is not None:
                    self._append(live, *live.broken_off)
                self._seal(live, state, error)
            except Exception as second:
                if not is_disk_full(second):
                    log.exception("run %s could not be kept", live.run_id)
                live.storage_error = second
        if live.storage_error is not None:
            self._archive.empty(live.run_id, error, live.final_event_id, state)
            live.lose()

    def _seal(self, live: LiveTrial, state: State, error: Mapping[str, Any] | None) -> None:
        changed(live.row.state, state)
        self._archive.end(
            live.run_id,
            live.summary,
            is_trial=True,
            state=state,
            started_at=live.row.started_at or live.started_time,
            error=error,
            timing=live.timing(),
            last_event_id=live.final_event_id,
        )
        live.row.state = state


def _trial(live: LiveRun) -> LiveTrial:
    assert isinstance(live, LiveTrial)
    return live
