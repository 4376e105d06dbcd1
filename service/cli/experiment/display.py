"""How a watched experiment is shown: as bars on a terminal, as lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from energy_flow.client.experiment_events import RunningTrial
from energy_flow.client.experiments import ExperimentProgress, TrialCounts
from service.cli.experiment.view import describe_progress, describe_time_left, describe_trials
from service.cli.input.terminal import print_note

# More bars than this do not fit on a small terminal.
MAX_BARS = 8
MAX_SILENCE_SECONDS = 60.0


@dataclass
class WatchState:
    """The latest reported state of a watched experiment.

    Attributes:
        name: of the experiment.
        state: of the experiment.
        trials: numbers of trials by state.
        progress: of the experiment.
        is_connected: whether there is a connection to the server.
        running: the trials that are running, by number.
        labels: descriptions of trials, by number.
    """

    name: str
    state: str
    trials: TrialCounts
    progress: ExperimentProgress
    is_connected: bool = True
    running: dict[int, RunningTrial] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)

    @property
    def time_left(self) -> str:
        """The server's estimate, in words; without a connection there is none."""
        if not self.is_connected:
            return "waiting for the server"
        return describe_time_left(self.state, self.progress.seconds_left)


class Display(Protocol):
    """Shows a watched experiment."""

    def show(self, watched: WatchState) -> None:
        """Show the latest state."""

    def note(self, line: str) -> None:
        """Print a line that remains."""


class Lines:
    """Lines on stderr: after each change of state, each tenth of the work and each minute."""

    def __init__(self) -> None:
        self._printed: tuple[str, int] | None = None
        self._printed_at = 0.0

    def show(self, watched: WatchState) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        reached = (watched.state, int(watched.progress.fraction * 10))
        is_silent = now - self._printed_at > MAX_SILENCE_SECONDS
        if reached == self._printed and not (is_silent and watched.is_connected):
            return
        self._printed, self._printed_at = reached, now
        trials = f"trials: {describe_trials(watched.trials)}"
        parts = (describe_progress(watched.progress), trials, watched.time_left)
        print_note(f"{watched.name} {watched.state}: {'; '.join(part for part in parts if part)}")

    def note(self, line: str) -> None:
        """Print the line."""
        print_note(line)


class CaptionedProgress(Progress):
    """Bars under a line of text.

    Attributes:
        caption: the line.
    """

    caption: str = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the line and the bars."""
        yield Text(self.caption, no_wrap=True, overflow="ellipsis")
        yield self.make_tasks_table(self.tasks)


class Bars:
    """A bar for the experiment and one for each trial that is running."""

    def __init__(self, progress: CaptionedProgress) -> None:
        self._progress = progress
        self._whole = progress.add_task("all trials", total=1.0, note="")
        self._trials: dict[int, TaskID] = {}

    def show(self, watched: WatchState) -> None:
        """Update the bars."""
        parts = (f"trials: {describe_trials(watched.trials)}", watched.time_left)
        caption = "; ".join(part for part in parts if part)
        self._progress.caption = f"{watched.name} {watched.state}; {caption}"
        self._progress.update(
            self._whole,
            completed=watched.progress.fraction,
            note=describe_progress(watched.progress),
        )
        running = dict(sorted(watched.running.items())[:MAX_BARS])
        for number in [number for number in self._trials if number not in running]:
            self._progress.remove_task(self._trials.pop(number))
        for number, trial in running.items():
            note = f"{trial.samples_done:,} of {trial.samples:,}"
            if number not in self._trials:
                label = watched.labels.get(number, f"trial {number}")
                self._trials[number] = self._progress.add_task(
                    label, total=trial.samples, note=note
                )
            self._progress.update(self._trials[number], completed=trial.samples_done, note=note)

    def note(self, line: str) -> None:
        """Print the line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def open_display() -> Iterator[Display]:
    """Show an experiment on stderr until the block ends."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    console = Console(stderr=True)
    columns = (
        SpinnerColumn("line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with CaptionedProgress(*columns, console=console) as progress:
        yield Bars(progress)
