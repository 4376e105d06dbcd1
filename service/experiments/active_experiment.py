"""An experiment that has not ended: its state, its trials and its progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from energy_flow.choices import (
    ENDED_STATES,
    UNFINISHED_STATES,
    EventName,
    ExperimentKind,
    RunState,
)
from service.events import EventLog
from service.experiments.active_trial import ActiveTrial
from service.experiments.arithmetic import find_trials_arithmetic
from service.experiments.progress_estimator import ProgressEstimator
from service.store.tables import ExperimentRow, RunRow

# Least seconds between two progress events.
PROGRESS_SECONDS = 0.25


class ActiveExperiment:
    """One experiment that has not ended. Belongs to the event loop.

    Attributes:
        row: Its row as it is in the index.
        counts: Number of trials in each state.
        events: Events of the experiment and its trials.
        waiting: Numbers of the trials that have to start or continue; those with chunks first.
        never_started: Numbers of those among them that never started.
        active_trials: Trials between :meth:`start_next` and :meth:`requeue` by number; ``None``
            while one is being prepared.
        tasks: Tasks that carry out the trials.
        is_closing: Whether its end, or the end of trials that never started, is being stored.
        has_failed_fast: Whether a trial failed, so that the others are cancelled.
        arithmetic: The largest arithmetic with which this version computes its trials.
        lock: Held while its state changes.
        idle: Set while there are no active trials.
        ended: Set once the experiment has ended.

    Args:
        row: Its row.
        trials: Rows of all its trials, by number.
        loop: The event loop.
        ids_before: Largest event id that may have been used before the server's start.
    """

    def __init__(
        self,
        row: ExperimentRow,
        trials: Sequence[RunRow],
        loop: asyncio.AbstractEventLoop,
        ids_before: int = 0,
    ) -> None:
        self.row = row
        self.counts = dict.fromkeys(RunState, 0)
        self.waiting: list[int] = []
        self.never_started: set[int] = set()
        self.active_trials: dict[int, ActiveTrial | None] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_closing = False
        self.has_failed_fast = False
        self.arithmetic = find_trials_arithmetic(trials)
        self.lock = asyncio.Lock()
        self.idle = asyncio.Event()
        self.idle.set()
        self.ended = asyncio.Event()
        self.events = EventLog(loop, ids_before=ids_before)
        self._states: dict[int, RunState] = {}
        self._progress_at = 0.0
        is_training = row.kind == ExperimentKind.TRAIN
        self._estimator = ProgressEstimator(row.samples, by_samples=is_training)
        for trial in trials:
            self._add_trial(trial)

    def _add_trial(self, trial: RunRow) -> None:
        number = trial_number(trial)
        step_limit = trial.config["max_steps"] or trial.config["lattice_depth"]
        flow_steps = (trial.metrics or {}).get("flow_steps", 0)
        self._estimator.add_trial(number, step_limit, trial.samples_done, flow_steps)
        self.set_trial_state(number, RunState(trial.state))
        if trial.state in ENDED_STATES:
            has_failed = trial.state == RunState.FAILED
            self.has_failed_fast |= self.row.request["fail_fast"] and has_failed
        elif trial.state == RunState.QUEUED:
            self.never_started.add(number)
            self.waiting.append(number)
        else:
            has_chunks = len(self.waiting) - len(self.never_started)
            self.waiting.insert(has_chunks, number)

    @property
    def state(self) -> RunState:
        """State of the experiment."""
        return RunState(self.row.state)

    @property
    def is_running(self) -> bool:
        """Whether its trials may start and continue."""
        is_unfinished = self.state in (RunState.QUEUED, RunState.RUNNING)
        return is_unfinished and not self.row.cancelling and not self.has_failed_fast

    @property
    def is_ending(self) -> bool:
        """Whether the remaining trials are to be cancelled."""
        fails_fast = self.has_failed_fast and self.state is RunState.RUNNING
        return self.row.cancelling or fails_fast

    @property
    def free_slots(self) -> int:
        """Number of trials that may be started now."""
        if not (self.is_running or self.is_ending):
            return 0
        limit: int = self.row.request["max_parallel"]
        return min(limit - len(self.active_trials), len(self.waiting))

    @property
    def is_finished(self) -> bool:
        """Whether all trials have ended, so that there is nothing left to pause or to resume."""
        return not (self.waiting or self.active_trials or self.is_closing)

    def start_next(self) -> int:
        """Make the next waiting trial an active one and return its number."""
        number = self.waiting.pop(0)
        self.active_trials[number] = None
        self.idle.clear()
        return number

    def requeue(self, number: int) -> None:
        """Remove an active trial; it waits again unless it has ended."""
        self.refresh()
        del self.active_trials[number]
        if self._states[number] in UNFINISHED_STATES:
            self.waiting.insert(0, number)
        if not self.active_trials:
            self.idle.set()

    def take_never_started(self) -> list[int]:
        """Remove the trials that never started from the waiting ones and return their numbers."""
        numbers = sorted(self.never_started)
        self.waiting = [number for number in self.waiting if number not in self.never_started]
        self.never_started.clear()
        return numbers

    @property
    def flow_steps(self) -> int:
        """Flow-steps of all stored chunks."""
        return self._estimator.flow_steps

    @property
    def samples_done(self) -> int:
        """Samples of all stored chunks."""
        return self._estimator.samples_done

    def trial_state(self, number: int) -> RunState:
        """Return the state of a trial."""
        return self._states[number]

    def trial_samples(self, number: int) -> int:
        """Return the stored samples of a trial."""
        self.refresh()
        return self._estimator.samples_of(number)

    def set_trial_state(self, number: int, state: RunState) -> bool:
        """Set the state of a trial.

        Args:
            number: Number of the trial.
            state: Its state.

        Returns:
            Whether the trial had another state before.
        """
        before = self._states.get(number)
        if before is state:
            return False
        if before is not None:
            self.counts[before] -= 1
        self.counts[state] += 1
        self._states[number] = state
        if state in ENDED_STATES:
            self.refresh()
            self._estimator.end_trial(number)
        return before is not None

    def refresh(self) -> None:
        """Update the progress of the active trials."""
        for number, trial in self.active_trials.items():
            if trial is not None:
                self._estimator.update(number, trial.stored_samples, trial.flow_steps)

    def set_busy(self, is_busy: bool) -> None:
        """Set whether trials are active; time in which none is active is not measured."""
        self._estimator.set_busy(is_busy)

    def trial_counts(self) -> dict[str, int]:
        """Return the number of all trials and of those in each state."""
        return {"total": self.row.trials} | {str(name): n for name, n in self.counts.items()}

    def progress(self) -> dict[str, Any]:
        """Return the progress as JSON data."""
        self.refresh()
        samples = self.row.samples * self.row.trials
        done = self.samples_done
        return {
            "samples": samples,
            "samples_done": done,
            "fraction": done / samples,
            "flow_steps": self.flow_steps,
            "seconds_left": self._seconds_left(),
        }

    def add_progress_event(self) -> None:
        """Append a ``progress`` event unless the last one is recent."""
        now = time.monotonic()
        if now - self._progress_at < PROGRESS_SECONDS:
            return
        self._progress_at = now
        self.events.append(EventName.PROGRESS, self._describe_progress())

    def add_state_event(self) -> None:
        """Append a ``state`` event."""
        payload = {
            "state": self.row.state,
            "trials": self.trial_counts(),
            "progress": self.progress(),
            "error": self.row.error,
        }
        self.events.append(EventName.STATE, payload)

    def _describe_progress(self) -> Mapping[str, Any]:
        return {
            "trials": self.trial_counts(),
            "progress": self.progress(),
            "running": [
                {"trial": number, "samples_done": trial.stored_samples, "samples": trial.samples}
                for number, trial in sorted(self.active_trials.items())
                if trial is not None and trial.state is RunState.RUNNING
            ],
        }

    def _seconds_left(self) -> float | None:
        if self.state in ENDED_STATES:
            return 0.0
        return self._estimator.seconds_left() if self.state is RunState.RUNNING else None


def trial_number(trial: RunRow) -> int:
    """Return the number of a trial in its experiment."""
    assert trial.trial is not None
    return trial.trial
