"""What a watched experiment looks like: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from energy_flow.client.experiments import ExperimentProgress, RunningTrial, TrialCounts
from service.cli.experiment.view import describe_progress, describe_time_left, describe_trials
from service.cli.input.terminal import print_note

# More bars than this would push the rest off a small terminal.
MOST_BARS = 8
LONGEST_SILENCE_SECONDS = 60.0


@dataclass
class Sight:
    """What is known of an experiment now.

    Attributes:
        connected: whether the server is there to tell.
        running: the trials in work by number; ``labels`` says which they are.
    """

    name: str
    state: str
    trials: TrialCounts
    progress: ExperimentProgress
    connected: bool = True
    running: dict[int, RunningTrial] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)

    @property
    def time_left(self) -> str:
        """As the server reckoned; nothing while it is away, because then it stands still."""
        if not self.connected:
            return "waiting for the server"
        return describe_time_left(self.state, self.progress.seconds_left)


class Display(Protocol):
    """Shows an experiment."""

    def show(self, sight: Sight) -> None:
        """Shows what is known now."""

    def say(self, line: str) -> None:
        """Tells something that stays."""


class Lines:
    """Lines on stderr: whenever the state changes, about every tenth, and at least each minute."""

    def __init__(self) -> None:
        self._told: tuple[str, int] | None = None
        self._told_at = 0.0

    def show(self, sight: Sight) -> None:
        """Prints a line if there is something to say."""
        now = time.monotonic()
        news = (sight.state, int(sight.progress.fraction * 10))
        silent = now - self._told_at > LONGEST_SILENCE_SECONDS
        if news == self._told and not (silent and sight.connected):
            return
        self._told, self._told_at = news, now
        trials = f"trials: {describe_trials(sight.trials)}"
        parts = (describe_progress(sight.progress), trials, sight.time_left)
        print_note(f"{sight.name} {sight.state}: {'; '.join(part for part in parts if part)}")

    def say(self, line: str) -> None:
        """Prints the line."""
        print_note(line)


class CaptionedProgress(Progress):
    """Bars under a line of text.

    Attributes:
        caption: the line.
    """

    caption: str = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The line and the bars."""
        yield Text(self.caption, no_wrap=True, overflow="ellipsis")
        yield self.make_tasks_table(self.tasks)


class Bars:
    """A bar for the experiment and one for each trial in work."""

    def __init__(self, progress: CaptionedProgress) -> None:
        self._progress = progress
        self._whole = progress.add_task("all trials", total=1.0, note="")
        self._trials: dict[int, TaskID] = {}

    def show(self, sight: Sight) -> None:
        """Moves the bars."""
        parts = (f"trials: {describe_trials(sight.trials)}", sight.time_left)
        said = "; ".join(part for part in parts if part)
        self._progress.caption = f"{sight.name} {sight.state}; {said}"
        self._progress.update(
            self._whole,
            completed=sight.progress.fraction,
            note=describe_progress(sight.progress),
        )
        running = dict(sorted(sight.running.items())[:MOST_BARS])
        for number in [number for number in self._trials if number not in running]:
            self._progress.remove_task(self._trials.pop(number))
        for number, trial in running.items():
            note = f"{trial.samples_done:,} of {trial.samples:,}"
            if number not in self._trials:
                label = sight.labels.get(number, f"trial {number}")
                self._trials[number] = self._progress.add_task(
                    label, total=trial.samples, note=note
                )
            self._progress.update(self._trials[number], completed=trial.samples_done, note=note)

    def say(self, line: str) -> None:
        """Prints the line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def display() -> Iterator[Display]:
    """Shows an experiment on stderr until the block ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with CaptionedProgress(*columns, console=console) as progress:
        yield Bars(progress)
