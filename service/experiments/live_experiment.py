"""An experiment that has not ended: its state, what is at work, how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from service.events import EventLog
from service.experiments.live_trial import LiveTrial
from service.experiments.pace import Pace
from service.states import ENDED, UNFINISHED, State
from service.store.tables import ExperimentRow, RunRow

# Of a life of the server an experiment has so many ids of events: sound integers in JSON.
IDS_OF_A_LIFE = 10**9

PROGRESS_SECONDS = 0.25


class LiveExperiment:
    """One experiment that has not ended. Belongs to the event loop.

    Attributes:
        row: as it is in the index.
        counts: trials in each state.
        events: of the experiment and its trials.
        waiting: numbers of trials that have to begin or go on; those with chunks first.
        untouched: those among them that never began.
        at_work: trials that were taken up, by number; none while one is being prepared.
        tasks: that carry them out.
        closing: its end, or the end of trials that never began, is being written down.
        failing_fast: a trial has failed, and the others are to be cancelled.
        lock: held while its state changes.
        quiet: set while no trial is at work. ended: set once the experiment has.

    Args:
        trials: all of them, by number.
        ids_before: of events that were told before the server's start.
    """

    def __init__(
        self,
        row: ExperimentRow,
        trials: Iterable[RunRow],
        loop: asyncio.AbstractEventLoop,
        ids_before: int = 0,
    ) -> None:
        self.row = row
        self.counts = dict.fromkeys(State, 0)
        self.waiting: list[int] = []
        self.untouched: set[int] = set()
        self.at_work: dict[int, LiveTrial | None] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.closing = False
        self.failing_fast = False
        self.lock = asyncio.Lock()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.ended = asyncio.Event()
        self.events = EventLog(loop, ids_before=ids_before)
        self._states: dict[int, State] = {}
        self._told_progress = 0.0
        self._pace = Pace(row.samples, by_samples=row.kind == "train")
        for trial in trials:
            self._enter(trial)

    def _enter(self, trial: RunRow) -> None:
        number = number_of(trial)
        step_limit = trial.config["max_steps"] or trial.config["lattice_depth"]
        flow_steps = (trial.metrics or {}).get("flow_steps", 0)
        self._pace.enter(number, step_limit, trial.samples_done, flow_steps)
        self.enter_state(number, State(trial.state))
        if trial.state in ENDED:
            self.failing_fast |= self.row.request["fail_fast"] and trial.state == State.FAILED
            return
        if trial.state == State.QUEUED:
            self.untouched.add(number)
            self.waiting.append(number)
        else:
            touched = len(self.waiting) - len(self.untouched)
            self.waiting.insert(touched, number)

    @property
    def state(self) -> State:
        """Of the experiment."""
        return State(self.row.state)

    @property
    def going(self) -> bool:
        """Whether trials may begin and go on."""
        unfinished = self.state in (State.QUEUED, State.RUNNING)
        return unfinished and not self.row.cancelling and not self.failing_fast

    @property
    def ending(self) -> bool:
        """Whether the trials that are left are to be cancelled."""
        return self.row.cancelling or (self.failing_fast and self.state is State.RUNNING)

    @property
    def room(self) -> int:
        """How many trials may be taken up now."""
        if not (self.going or self.ending):
            return 0
        most: int = self.row.request["max_parallel"]
        return min(most - len(self.at_work), len(self.waiting))

    @property
    def over(self) -> bool:
        """Whether no trial is left."""
        paused = self.state is State.PAUSED and not self.row.cancelling
        return not (self.waiting or self.at_work or self.closing or paused)

    def take_up(self) -> int:
        """The number of the next trial, which is at work from now on."""
        number = self.waiting.pop(0)
        self.at_work[number] = None
        self.quiet.clear()
        return number

    def put_back(self, number: int) -> None:
        """A trial is not at work any more; it waits, unless it has ended."""
        self.look()
        del self.at_work[number]
        if self._states[number] in UNFINISHED:
            self.waiting.insert(0, number)
        if not self.at_work:
            self.quiet.set()

    def take_untouched(self) -> list[int]:
        """The trials that never began, which wait no longer."""
        numbers = sorted(self.untouched)
        self.waiting = [number for number in self.waiting if number not in self.untouched]
        self.untouched.clear()
        return numbers

    @property
    def flow_steps(self) -> int:
        """Done, in all chunks that are kept."""
        return self._pace.flow_steps

    @property
    def samples_done(self) -> int:
        """Of all trials, in chunks that are kept."""
        return self._pace.samples_done

    def state_of(self, number: int) -> State:
        """Of a trial."""
        return self._states[number]

    def samples_of(self, number: int) -> int:
        """Samples of a trial whose chunks are kept."""
        self.look()
        return self._pace.samples_of(number)

    def enter_state(self, number: int, state: State) -> bool:
        """A trial is in a state; says whether that is new."""
        before = self._states.get(number)
        if before is state:
            return False
        if before is not None:
            self.counts[before] -= 1
        self.counts[state] += 1
        self._states[number] = state
        if state in ENDED:
            self.look()
            self._pace.leave(number)
        return before is not None

    def look(self) -> None:
        """Takes in how far the trials at work are."""
        for number, live in self.at_work.items():
            if live is not None:
                self._pace.note(number, live.kept, live.flow_steps)

    def busy(self, is_busy: bool) -> None:
        """Whether trials are at work from now on; time without any is not measured."""
        self._pace.busy(is_busy)

    def trial_counts(self) -> dict[str, int]:
        """Trials, all and in each state."""
        return {"total": self.row.trials} | {str(name): n for name, n in self.counts.items()}

    def progress(self) -> dict[str, Any]:
        """How far it is, and how long the rest will take at the measured rate."""
        self.look()
        samples = self.row.samples * self.row.trials
        done = self.samples_done
        return {
            "samples": samples,
            "samples_done": done,
            "fraction": done / samples,
            "flow_steps": self.flow_steps,
            "seconds_left": self._seconds_left(),
        }

    def tell_progress(self) -> None:
        """Adds a ``progress`` event, unless there was one not long ago."""
        now = time.monotonic()
        if now - self._told_progress < PROGRESS_SECONDS:
            return
        self._told_progress = now
        self.events.append("progress", self._progress_event())

    def tell_state(self) -> None:
        """Adds a ``state`` event."""
        told = {
            "state": self.row.state,
            "trials": self.trial_counts(),
            "progress": self.progress(),
            "error": self.row.error,
        }
        self.events.append("state", told)

    def _progress_event(self) -> Mapping[str, Any]:
        return {
            "trials": self.trial_counts(),
            "progress": self.progress(),
            "running": [
                {"trial": number, "samples_done": live.kept, "samples": live.samples}
                for number, live in sorted(self.at_work.items())
                if live is not None and live.state == State.RUNNING
            ],
        }

    def _seconds_left(self) -> float | None:
        """At the measured rate."""
        if self.state in ENDED:
            return 0.0
        return self._pace.seconds_left() if self.state is State.RUNNING else None


def number_of(trial: RunRow) -> int:
    """A trial's number in its experiment."""
    assert trial.trial is not None
    return trial.trial
