"""Whether this version may continue an experiment: results of two arithmetics are never mixed."""

from __future__ import annotations

from collections.abc import Iterable

from service.problems import Problem
from service.runs.arithmetic import (
    describe_origin,
    describe_version,
    find_arithmetic,
    installed_version,
)
from service.store.tables import ExperimentRow, RunRow


def find_trials_arithmetic(trials: Iterable[RunRow]) -> int:
    """Return the largest arithmetic with which this version computes trials of an experiment.

    It stands for all of them: a number that changes becomes the largest of all.

    Args:
        trials: All trials, also those that have ended.
    """
    return max(find_arithmetic(trial.config, trial.request) for trial in trials)


def find_arithmetic_problem(row: ExperimentRow, own: int) -> Problem | None:
    """Return why this version may not continue an experiment, if it has another arithmetic.

    Args:
        row: The experiment.
        own: The largest arithmetic with which this version computes its trials.

    Returns:
        A 409 with versions and arithmetics of both.
    """
    if row.arithmetic == own:
        return None
    return Problem(
        409,
        f"the experiment cannot continue: it was started by {describe_origin(row)}, and this "
        f"server, {describe_version(installed_version())}, computes with arithmetic {own}; cancel "
        "it, and start it again as a new experiment",
        extra={
            "version": row.version,
            "arithmetic": row.arithmetic,
            "server_version": installed_version(),
            "server_arithmetic": own,
        },
    )
