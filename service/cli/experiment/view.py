"""Experiments and trials in words and tables, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from energy_flow.client import Experiment, Trial
from energy_flow.client.experiments import ExperimentProgress, TrialCounts
from service.cli.input.options import DEFAULT_URL

STATES = ("succeeded", "failed", "cancelled", "running", "paused", "queued")


def experiment_list(experiments: Iterable[Experiment]) -> Table:
    """A row an experiment."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("experiment", "kind", "state", "done", "trials", "failed", "created"):
        table.add_column(column, justify="right" if column in ("done", "failed") else "left")
    for one in experiments:
        table.add_row(
            one.name,
            one.kind,
            one.state,
            f"{one.progress.fraction:.0%}",
            f"{one.trials.ended:,} of {one.trials.total:,}",
            f"{one.trials.failed:,}",
            one.created_at,
        )
    return table


def experiment_table(experiment: Experiment, failed: Iterable[Trial] = ()) -> Table:
    """One experiment.

    Args:
        failed: trials whose reasons are told.
    """
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    model, dataset = experiment.model, experiment.dataset
    table.add_row("experiment", f"{experiment.name} ({experiment.experiment_id})")
    table.add_row("kind", experiment.kind)
    table.add_row("state", experiment.state)
    table.add_row("model", f"{model.name} ({'trained' if model.trained else 'untrained'})")
    table.add_row("dataset", f"{dataset.name}, rows {':'.join(str(row) for row in dataset.rows)}")
    if experiment.fields:
        table.add_row("sweep", ", ".join(experiment.fields))
    table.add_row("seeds", ", ".join(str(seed) for seed in experiment.seeds))
    table.add_row("trials", describe_trials(experiment.trials))
    progress = describe_progress(experiment.progress)
    left = describe_time_left(experiment.state, experiment.progress.seconds_left)
    table.add_row("progress", ", ".join(text for text in (progress, left) if text))
    for label, moment in (
        ("created", experiment.created_at),
        ("started", experiment.started_at),
        ("ended", experiment.ended_at),
    ):
        if moment is not None:
            table.add_row(label, moment)
    for warning in experiment.warnings:
        table.add_row("warning", warning)
    if experiment.problem is not None:
        table.add_row("problem", str(experiment.problem))
    for trial in failed:
        table.add_row("failed", describe_failure(trial))
    return table


def trial_table(trial: Trial) -> Table:
    """One trial."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("trial", str(trial.trial))
    table.add_row("state", trial.state)
    table.add_row("seed", str(trial.seed))
    for name, value in trial.parameters.items():
        table.add_row(name, format_parameter(value))
    if trial.run_id is not None:
        table.add_row("run", trial.run_id)
    table.add_row("samples", f"{trial.samples_done:,} of {trial.samples:,}")
    for label, moment in (("started", trial.started_at), ("ended", trial.ended_at)):
        if moment is not None:
            table.add_row(label, moment)
    for name, value in (trial.metrics or {}).items():
        if isinstance(value, int | float):
            table.add_row(name, format_value(value))
    for warning in trial.warnings:
        table.add_row("warning", warning)
    if trial.problem is not None:
        table.add_row("problem", str(trial.problem))
    return table


def describe_trials(trials: TrialCounts) -> str:
    """How many are in which states, of how many."""
    counts = ((getattr(trials, state), state) for state in STATES)
    told = ", ".join(f"{count:,} {state}" for count, state in counts if count)
    return f"{told} of {trials.total:,}"


def describe_progress(progress: ExperimentProgress) -> str:
    """How much is done."""
    done = f"{progress.samples_done:,} of {progress.samples:,} samples"
    return f"{progress.fraction:.0%}, {done}"


def describe_time_left(state: str, seconds: float | None) -> str:
    """What the server reckons; it says nothing where it cannot know."""
    if state != "running":
        return ""
    return "time left not known" if seconds is None else f"about {format_duration(seconds)} left"


def describe_trial(number: int, parameters: Mapping[str, Any], seed: int) -> str:
    """Which trial it is."""
    named = [f"{name}={format_parameter(value)}" for name, value in parameters.items()]
    return f"trial {number} ({', '.join([*named, f'seed {seed}'])})"


def describe_failure(trial: Trial) -> str:
    """Which trial failed, and why."""
    which = describe_trial(trial.trial, trial.parameters, trial.seed)
    return f"{which}: {trial.problem or 'no reason was given'}"


def format_duration(seconds: float) -> str:
    """A time in its two largest units."""
    whole = max(1, round(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {left} s" if minutes < 10 else f"{minutes} min"
    return f"{left} s"


def format_parameter(value: Any) -> str:
    """A value that a sweep gave a field; near ones are told apart."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_value(value: Any) -> str:
    """A value of a table, short."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(format_value(entry) for entry in value)
    return str(value)


def command(action: str, name: str, url: str) -> str:
    """The command that does something with an experiment."""
    at = "" if url == DEFAULT_URL else f" --url {url}"
    return f"energy-flow experiment {action} {name}{at}"
