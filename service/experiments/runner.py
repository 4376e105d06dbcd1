"""All experiments that have not ended: which of their trials run, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from energy_flow.choices import UNFINISHED_STATES, EventName, RunState
from service.events import CAPACITY, EventLog
from service.experiments.active_experiment import (
    PROGRESS_SECONDS,
    ActiveExperiment,
    trial_number,
)
from service.experiments.active_trial import ActiveTrial
from service.experiments.recovery import recover_trials
from service.experiments.store import EVENT_IDS_PER_START, ExperimentStore
from service.experiments.trial_runner import TrialRunner
from service.experiments.views import render_experiment, render_trial
from service.problems import Problem, is_disk_full, problem_of
from service.states import transition
from service.store.archive import RunArchive
from service.store.tables import ExperimentRow

log = logging.getLogger(__name__)

# Active trials of all experiments; more than fill a device would only wait in the engine.
MAX_ACTIVE_TRIALS = 64

# Ended experiments whose events can still be read, until a restart.
MAX_ENDED_LOGS = 16

# Seconds between two attempts to store an end on a full disk.
RETRY_SECONDS = 1.0


class ExperimentRunner:
    """All experiments that have not ended. Its methods belong to the event loop.

    The next trial is always one of the experiment with the fewest active trials.

    Args:
        store: Store of the experiments.
        archive: Archive of the trials.
        trials: Carries out single trials.
        loop: The event loop.
    """

    def __init__(
        self,
        store: ExperimentStore,
        archive: RunArchive,
        trials: TrialRunner,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._store = store
        self._archive = archive
        self._trials = trials
        self._loop = loop
        self._active: dict[str, ActiveExperiment] = {}
        self._ended: OrderedDict[str, EventLog] = OrderedDict()
        self._changed = asyncio.Event()
        self._is_closed = False
        self._scheduling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Continue the experiments that had not ended when the server stopped."""
        for row in await asyncio.to_thread(self._store.list_unfinished):
            self._add(await asyncio.to_thread(self._recover, row))
        self._scheduling = asyncio.create_task(self._schedule())

    async def begin(self, row: ExperimentRow, ids_before: int = 0) -> None:
        """Start a stored experiment, or one whose failed trials start again.

        Args:
            row: Its row.
            ids_before: Largest event id that may have been used before.
        """
        self._add(await asyncio.to_thread(self._load, row, ids_before))
        self._ended.pop(row.experiment_id, None)

    def find(self, experiment_id: str) -> ActiveExperiment | None:
        """Return an experiment that has not ended."""
        return self._active.get(experiment_id)

    def events(self, row: ExperimentRow) -> EventLog:
        """Return the events of an experiment.

        Args:
            row: Its row. An experiment that ended long ago has only its last event.
        """
        active = self._active.get(row.experiment_id)
        if active is not None:
            return active.events
        known = self._ended.get(row.experiment_id)
        if known is not None:
            return known
        last_event = EventLog(self._loop, ids_before=row.last_event_id - 1)
        resource = render_experiment(row, None)
        payload = {name: resource[name] for name in ("state", "trials", "progress", "error")}
        last_event.append(EventName.STATE, payload)
        last_event.close()
        return last_event

    async def change(self, experiment: ActiveExperiment, target: RunState, **columns: Any) -> None:
        """Change the state of an experiment durably.

        Args:
            experiment: The experiment.
            target: Its new state.
            columns: Further values of its row.

        Raises:
            ValueError: The table of transitions has no such change, or the experiment ends.
            OSError: The change could not be stored; nothing has changed.
            sqlalchemy.exc.SQLAlchemyError: Likewise.
        """
        async with experiment.lock:
            if experiment.is_closing:
                raise ValueError("the experiment is about to end")
            await self._change(experiment, target, **columns)

    async def set_columns(self, experiment: ActiveExperiment, **columns: Any) -> None:
        """Set columns of an experiment's row durably."""
        await asyncio.to_thread(self._store.change, experiment.row.experiment_id, **columns)
        for name, value in columns.items():
            setattr(experiment.row, name, value)
        self._changed.set()

    def stop(self) -> None:
        """Start no further chunk; those that have been started end."""
        self._trials.stop()
        for experiment in self._active.values():
            self._pause_trials(experiment)
        self._changed.set()

    async def close(self) -> None:
        """End all tasks and close all events, after the engine and the writer have stopped."""
        self._is_closed = True
        self._changed.set()
        if self._scheduling is not None:
            await self._scheduling
        tasks = [task for experiment in self._active.values() for task in experiment.tasks]
        if tasks:
            await asyncio.wait(tasks)
        for experiment in self._active.values():
            experiment.events.close()

    def _add(self, experiment: ActiveExperiment) -> None:
        self._active[experiment.row.experiment_id] = experiment
        experiment.add_state_event()
        self._changed.set()

    def _load(self, row: ExperimentRow, ids_before: int) -> ActiveExperiment:
        return ActiveExperiment(row, self._store.trials(row.experiment_id), self._loop, ids_before)

    def _recover(self, row: ExperimentRow) -> ActiveExperiment:
        ids_before = row.last_event_id
        last_event_id = ids_before + EVENT_IDS_PER_START
        try:
            self._store.change_on_full_disk(row.experiment_id, last_event_id=last_event_id)
        except Exception as error:
            if not is_disk_full(error):
                raise
            # Readers may see an id twice, but the server starts, and room can be made.
            log.warning("the disk is full; experiment %s keeps its ids of events", row.name)
        trials = recover_trials(self._store, self._archive, row)
        return ActiveExperiment(row, trials, self._loop, ids_before)

    async def _change(self, experiment: ActiveExperiment, target: RunState, **columns: Any) -> None:
        state = transition(experiment.row.state, target)
        await self.set_columns(experiment, state=state, **columns)
        experiment.add_state_event()

    async def _schedule(self) -> None:
        while not self._is_closed:
            self._changed.clear()
            for experiment in list(self._active.values()):
                self._attend(experiment)
            has_active_trials = self._start_trials()
            timeout = PROGRESS_SECONDS if has_active_trials else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout)

    def _attend(self, experiment: ActiveExperiment) -> None:
        """Do what the state of an experiment requires."""
        if experiment.active_trials:
            experiment.add_progress_event()
        if self._trials.is_stopping:
            return
        if experiment.is_ending:
            for trial in experiment.active_trials.values():
                if trial is not None:
                    self._trials.cancel(trial)
            if experiment.never_started and not experiment.is_closing:
                numbers = experiment.take_never_started()
                self._close(experiment, self._cancel_never_started(experiment, numbers))
        elif not experiment.is_running:
            self._pause_trials(experiment)
        # A change that is being stored must not come after the end.
        if experiment.is_finished and not experiment.lock.locked():
            self._close(experiment, self._finish(experiment))

    def _pause_trials(self, experiment: ActiveExperiment) -> None:
        for trial in experiment.active_trials.values():
            if trial is not None:
                self._trials.pause(trial)

    def _start_trials(self) -> bool:
        """Start trials while there is room; return whether any is active."""
        active = sum(len(experiment.active_trials) for experiment in self._active.values())
        while active < MAX_ACTIVE_TRIALS and not self._trials.is_stopping:
            ready = [one for one in self._active.values() if one.free_slots > 0]
            if not ready:
                break
            experiment = min(ready, key=lambda one: len(one.active_trials))
            experiment.set_busy(True)
            self._spawn(experiment, self._carry_out(experiment, experiment.start_next()))
            active += 1
        return active > 0

    def _close(self, experiment: ActiveExperiment, writing: Coroutine[Any, Any, None]) -> None:
        experiment.is_closing = True
        self._spawn(experiment, writing)

    def _spawn(self, experiment: ActiveExperiment, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        experiment.tasks.add(task)
        task.add_done_callback(experiment.tasks.discard)

    async def _carry_out(self, experiment: ActiveExperiment, number: int) -> None:
        """Carry out a trial until it has ended or is paused."""
        try:
            await self._mark_running(experiment)
            row = await asyncio.to_thread(self._store.trial, experiment.row.experiment_id, number)
            may_continue = experiment.is_running or experiment.is_ending
            if row is not None and may_continue and not self._trials.is_stopping:
                trial = await self._trials.run(experiment, row)
                if trial is not None:
                    await self._handle_end(experiment, trial)
                    if trial.state in UNFINISHED_STATES:
                        await self._wait_for_retry(experiment)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("trial %d of experiment %s failed", number, experiment.row.name)
            await self._pause_for(experiment, problem)
            await self._wait_for_retry(experiment)
        finally:
            experiment.requeue(number)
            experiment.set_busy(bool(experiment.active_trials))
            self._changed.set()

    async def _wait_for_retry(self, experiment: ActiveExperiment) -> None:
        """Wait before a trial is taken up again that must end, which no pause prevents."""
        if experiment.is_ending and not self._trials.is_stopping:
            await asyncio.sleep(RETRY_SECONDS)

    async def _mark_running(self, experiment: ActiveExperiment) -> None:
        """Change a queued experiment to running when its first trial starts."""
        async with experiment.lock:
            if experiment.state is RunState.QUEUED and experiment.is_running:
                await self._change(experiment, RunState.RUNNING, started_at=time.time())

    async def _handle_end(self, experiment: ActiveExperiment, trial: ActiveTrial) -> None:
        """Update an experiment after a trial has ended or was paused."""
        experiment.refresh()
        if experiment.set_trial_state(trial.number, trial.state):
            row = await asyncio.to_thread(
                self._store.trial, experiment.row.experiment_id, trial.number
            )
            if row is not None:
                experiment.events.append(EventName.TRIAL, render_trial(row, experiment))
        if trial.state is RunState.FAILED and experiment.row.request["fail_fast"]:
            experiment.has_failed_fast = True
        # Queued, if its rows could not be read.
        if trial.problem is not None and trial.state in (RunState.PAUSED, RunState.QUEUED):
            await self._pause_for(experiment, trial.problem)

    async def _pause_for(self, experiment: ActiveExperiment, problem: Problem) -> None:
        """Pause an experiment that cannot continue; a caller can resume it."""
        is_unfinished = experiment.state in (RunState.QUEUED, RunState.RUNNING)
        if not is_unfinished or self._trials.is_stopping:
            return
        try:
            await self.change(experiment, RunState.PAUSED, error=problem.to_dict())
        except Exception:
            # On a full disk, for example. The next start meets the problem again.
            name = experiment.row.name
            log.exception("the pause of experiment %s could not be stored", name)
            experiment.row.state, experiment.row.error = RunState.PAUSED, problem.to_dict()
            experiment.add_state_event()

    async def _cancel_never_started(self, experiment: ActiveExperiment, numbers: list[int]) -> None:
        experiment_id = experiment.row.experiment_id
        if not await self._retry(lambda: self._store.cancel_queued(experiment_id, numbers)):
            return
        events = await asyncio.to_thread(self._render_cancelled, experiment_id, numbers)
        for number in numbers:
            if experiment.set_trial_state(number, RunState.CANCELLED) and number in events:
                experiment.events.append(EventName.TRIAL, events[number])
        experiment.is_closing = False
        self._changed.set()

    def _render_cancelled(self, experiment_id: str, numbers: list[int]) -> dict[int, Any]:
        """Return the events of cancelled trials by number, as many as an event log holds."""
        first, last = numbers[-CAPACITY:][0], numbers[-1]
        rows = self._store.trials(experiment_id, first=first, states=[RunState.CANCELLED])
        return {
            trial_number(row): render_trial(row, None) for row in rows if trial_number(row) <= last
        }

    async def _finish(self, experiment: ActiveExperiment) -> None:
        """End an experiment whose trials have all ended."""
        failed = experiment.counts[RunState.FAILED]
        if experiment.row.cancelling:
            target = RunState.CANCELLED
        else:
            target = RunState.FAILED if failed else RunState.SUCCEEDED
        row = experiment.row
        error = await asyncio.to_thread(self._describe_failure, row) if failed else None
        columns: dict[str, Any] = {
            "state": transition(row.state, target),
            "ended_at": time.time(),
            "counts": {str(state): count for state, count in experiment.counts.items()},
            "samples_done": experiment.samples_done,
            "flow_steps": experiment.flow_steps,
            "error": error,
            # Of the state event below.
            "last_event_id": experiment.events.last_id + 1,
        }
        if not await self._retry(lambda: self._store.change(row.experiment_id, **columns)):
            return
        for name, value in columns.items():
            setattr(row, name, value)
        self._active.pop(row.experiment_id, None)
        self._ended[row.experiment_id] = experiment.events
        while len(self._ended) > MAX_ENDED_LOGS:
            self._ended.popitem(last=False)
        experiment.add_state_event()
        experiment.events.close()
        experiment.ended.set()
        log.info("experiment %s: %s", row.name, row.state)

    def _describe_failure(self, row: ExperimentRow) -> dict[str, Any]:
        trials = self._store.trials(row.experiment_id, states=[RunState.FAILED])
        first = trials[0].error or {}
        message = f"{len(trials)} of {row.trials} trials failed; trial {trial_number(trials[0])}: "
        problem = Problem(first.get("status", 500), message + first.get("detail", ""))
        return problem.to_dict()

    async def _retry(self, write: Callable[[], None]) -> bool:
        """Write until it succeeds; return false if the server stops before."""
        while not self._trials.is_stopping:
            try:
                await asyncio.to_thread(write)
            except Exception as error:
                log.error("the end of an experiment could not be stored yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return True
        return False
