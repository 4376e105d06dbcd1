"""Experiments and trials as texts and tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from energy_flow.choices import ENDED_STATES, RunState
from service.cli.execute.outcome import describe_labels, describe_model, describe_version
from service.cli.input.options import DEFAULT_URL
from service.cli.input.terminal import columns_table, properties_table

if TYPE_CHECKING:
    from rich.table import Table

    from energy_flow.client import Experiment, Trial
    from energy_flow.client.experiments import ExperimentProgress, TrialCounts

STATES = (*ENDED_STATES, RunState.RUNNING, RunState.PAUSED, RunState.QUEUED)


def experiment_list(experiments: Iterable[Experiment]) -> Table:
    """Return a table with a row for each experiment."""
    columns = ("experiment", "kind", "state", "done", "trials", "failed", "created", "tags")
    table = columns_table(columns, left=set(columns) - {"done", "failed"})
    for one in experiments:
        table.add_row(
            one.name,
            one.kind,
            one.state,
            f"{one.progress.fraction:.0%}",
            f"{one.trials.ended:,} of {one.trials.total:,}",
            f"{one.trials.failed:,}",
            one.created_at,
            ", ".join(one.tags),
        )
    return table


def experiment_table(experiment: Experiment, failed: Iterable[Trial] = ()) -> Table:
    """Return the properties of an experiment.

    Args:
        experiment: the experiment.
        failed: trials whose failures are listed.
    """
    model, dataset = experiment.model, experiment.dataset
    progress = describe_progress(experiment.progress)
    left = describe_time_left(experiment.state, experiment.progress.seconds_left)
    rows = [
        ("experiment", f"{experiment.name} ({experiment.experiment_id})"),
        *describe_labels(None, experiment.tags, experiment.note),
        ("kind", experiment.kind),
        ("state", experiment.state),
        ("model", describe_model(model.name, model.trained)),
        ("version", describe_version(experiment.version, experiment.arithmetic)),
        ("dataset", f"{dataset.name}, rows {':'.join(str(row) for row in dataset.rows)}"),
    ]
    if experiment.fields:
        rows.append(("sweep", ", ".join(experiment.fields)))
    rows += [
        ("seeds", ", ".join(str(seed) for seed in experiment.seeds)),
        ("trials", describe_trials(experiment.trials)),
        ("progress", ", ".join(text for text in (progress, left) if text)),
        *_moments(
            created=experiment.created_at, started=experiment.started_at, ended=experiment.ended_at
        ),
        *(("warning", warning) for warning in experiment.warnings),
    ]
    if experiment.problem is not None:
        rows.append(("problem", str(experiment.problem)))
    rows += [("failed", describe_failure(trial)) for trial in failed]
    return properties_table(rows)


def trial_table(trial: Trial) -> Table:
    """Return the properties of a trial."""
    rows = [
        ("trial", str(trial.trial)),
        ("state", trial.state),
        ("seed", str(trial.seed)),
        *((name, format_parameter(value)) for name, value in trial.parameters.items()),
    ]
    if trial.run_id is not None:
        rows.append(("run", trial.run_id))
    rows += [
        ("samples", f"{trial.samples_done:,} of {trial.samples:,}"),
        *_moments(started=trial.started_at, ended=trial.ended_at),
        *(
            (name, format_value(value))
            for name, value in (trial.metrics or {}).items()
            if isinstance(value, int | float)
        ),
        *(("warning", warning) for warning in trial.warnings),
    ]
    if trial.problem is not None:
        rows.append(("problem", str(trial.problem)))
    return properties_table(rows)


def _moments(**moments: str | None) -> list[tuple[str, str]]:
    return [(label, moment) for label, moment in moments.items() if moment is not None]


def describe_trials(trials: TrialCounts) -> str:
    """Return the number of trials in each state."""
    counts = ((getattr(trials, state), state) for state in STATES)
    text = ", ".join(f"{count:,} {state}" for count, state in counts if count)
    return f"{text} of {trials.total:,}"


def describe_progress(progress: ExperimentProgress) -> str:
    """Return how much is done."""
    done = f"{progress.samples_done:,} of {progress.samples:,} samples"
    return f"{progress.fraction:.0%}, {done}"


def describe_time_left(state: str, seconds: float | None) -> str:
    """Return the server's estimate of the time left, in words; empty unless it is running."""
    if state != RunState.RUNNING:
        return ""
    return "time left not known" if seconds is None else f"about {format_duration(seconds)} left"


def describe_trial(number: int, parameters: Mapping[str, Any], seed: int) -> str:
    """Return number, parameters and seed of a trial."""
    named = [f"{name}={format_parameter(value)}" for name, value in parameters.items()]
    return f"trial {number} ({', '.join([*named, f'seed {seed}'])})"


def describe_failure(trial: Trial) -> str:
    """Return which trial failed, and why."""
    which = describe_trial(trial.trial, trial.parameters, trial.seed)
    return f"{which}: {trial.problem or 'the server gave no reason'}"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
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
    """Return the value of a swept field, with enough digits to distinguish similar values."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_value(value: Any) -> str:
    """Return the value of a table in few characters."""
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
    """Return the command line that does something with an experiment.

    Args:
        action: the subcommand.
        name: name of the experiment.
        url: address of the server.
    """
    at = "" if url == DEFAULT_URL else f" --url {url}"
    return f"energy-flow experiment {action} {name}{at}"
